/**
 * Bell: lets somebody wait until a condition holds, checked again at each ring.
 */
import type { Clock } from '../platform.ts';

export class Bell {
  readonly #waiting = new Set<() => void>();

  ring(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** @returns false when `waitMs` went by first */
  async until(holds: () => boolean, clock: Clock, waitMs: number): Promise<boolean> {
    if (holds()) return true;
    if (waitMs <= 0) return false;
    const done = new AbortController();
    let check: () => void = () => undefined;
    const held = new Promise<true>((resolve) => {
      check = () => {
        if (holds()) resolve(true);
      };
      this.#waiting.add(check);
    });
    const late = clock.sleep(waitMs, done.signal).then(
      () => false,
      () => false,
    );
    const result = await Promise.race([held, late]);
    this.#waiting.delete(check);
    done.abort();
    return result;
  }
}
