/** A clock that only moves when a test says so. */
import type { Clock } from '../platform.ts';

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

export class ManualClock implements Clock {
  #now: number;
  /** What the time of day was set on by. */
  #setMs = 0;
  #sleepers: Sleeper[] = [];

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now + this.#setMs;
  }

  elapsed(): number {
    return this.#now;
  }

  /** Sets the time of day on, or back by less than 0. No time passes, and nobody wakes. */
  set(byMs: number): void {
    this.#setMs += byMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason as Error);
      };
      const sleeper: Sleeper = {
        until: this.#now + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** Moves time on and wakes the sleepers in the order of their times, letting each run before the next wakes. */
  async advance(ms: number): Promise<void> {
    const target = this.#now + ms;
    for (;;) {
      const next = this.#sleepers
        .filter((sleeper) => sleeper.until <= target)
        .sort((a, b) => a.until - b.until)
        .at(0);
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.until);
      next.wake();
      await settle();
    }
    this.#now = target;
    await settle();
  }

  /** How many sleep. */
  get sleeping(): number {
    return this.#sleepers.length;
  }
}

/** Lets everything that can run without time passing run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
