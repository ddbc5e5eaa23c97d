/**
 * Bell: lets somebody wait until a condition holds, checked again at each ring.
 */
import type { Clock } from '../platform.ts';

export class Bell {
  readonly #waiting = new Set<() => void>();
  readonly #timers = new Set<AbortController>();
  #isClosed = false;

  ring(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Nobody waits any longer. */
  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) timer.abort();
  }

  /** @returns false when `waitMs` went by first, or the bell was closed */
  async until(holds: () => boolean, clock: Clock, waitMs: number): Promise<boolean> {
    if (holds()) return true;
    if (waitMs <= 0 || this.#isClosed) return false;
    const timer = new AbortController();
    this.#timers.add(timer);
    let check: () => void = () => undefined;
    const held = new Promise<true>((resolve) => {
      check = () => {
        if (holds()) resolve(true);
      };
      this.#waiting.add(check);
    });
    const late = clock.sleep(waitMs, timer.signal).then(
      () => false,
      () => false,
    );
    const result = await Promise.race([held, late]);
    this.#waiting.delete(check);
    this.#timers.delete(timer);
    timer.abort();
    return result;
  }
}
