/**
 * Pace: one of a kind for each name within a minute, so that nobody has us fill the outbox or the operator's screen; and
 * twenty names of contacts whom nobody knows, who have no end. Those whom people know are counted apart, and have no
 * common bound: no crowd silences what is said of them. Kept in memory: after a restart there may be one more.
 */
const MINUTE_MS = 60_000;
const UNKNOWN_NAMES = 20;

/** Whom something is about. */
export interface Paced {
  readonly name: string;
  readonly isKnown: boolean;
}

export class Pace {
  /** When, ms, oldest first. */
  readonly #known = new Map<string, number>();
  readonly #unknown = new Map<string, number>();

  isDue({ name, isKnown }: Paced, now: number): boolean {
    const times = this.#timesOf(isKnown);
    for (const [other, time] of times) if (time <= now - MINUTE_MS || time > now) times.delete(other);
    return !times.has(name) && (isKnown || times.size < UNKNOWN_NAMES);
  }

  note({ name, isKnown }: Paced, now: number): void {
    const times = this.#timesOf(isKnown);
    times.delete(name);
    times.set(name, now);
  }

  #timesOf(isKnown: boolean): Map<string, number> {
    return isKnown ? this.#known : this.#unknown;
  }
}
