/**
 * Alarm: one timer for many times. It rings at the earliest that was set; who wants a later one sets it again then.
 */
import type { Clock } from '../platform.ts';

export class Alarm {
  readonly #clock: Clock;
  readonly #onRing: () => void;
  #at = Infinity;
  #sleeping: AbortController | undefined;

  /** @param onRing does not throw */
  constructor(clock: Clock, onRing: () => void) {
    this.#clock = clock;
    this.#onRing = onRing;
  }

  /** @param at ms since 1970; nothing happens when it will ring before that anyway */
  set(at: number): void {
    if (at >= this.#at) return;
    this.stop();
    const sleeping = new AbortController();
    this.#at = at;
    this.#sleeping = sleeping;
    this.#clock.sleep(Math.max(0, at - this.#clock.now()), sleeping.signal).then(
      () => {
        if (this.#sleeping !== sleeping) return;
        this.#at = Infinity;
        this.#sleeping = undefined;
        this.#onRing();
      },
      () => undefined, // stopped
    );
  }

  stop(): void {
    this.#at = Infinity;
    this.#sleeping?.abort();
    this.#sleeping = undefined;
  }
}
