/**
 * Pace: one of a kind for each name within a minute, and twenty names, so that nobody has us fill the outbox or the
 * operator's screen. Kept in memory: after a restart there may be one more.
 */
const MINUTE_MS = 60_000;
const NAMES = 20;

export class Pace {
  /** When, ms, oldest first. */
  readonly #times = new Map<string, number>();

  isDue(name: string, now: number): boolean {
    for (const [other, time] of this.#times)
      if (time <= now - MINUTE_MS || time > now) this.#times.delete(other);
    return !this.#times.has(name) && this.#times.size < NAMES;
  }

  note(name: string, now: number): void {
    this.#times.delete(name);
    this.#times.set(name, now);
  }
}
