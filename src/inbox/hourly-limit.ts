/**
 * Hourly limit: how often something is done for one name within an hour. Kept in memory: after a restart a few more.
 */
const HOUR_MS = 3_600_000;
/** Names that are remembered at most. */
const NAMES = 10_000;

export class HourlyLimit {
  readonly #most: number;
  readonly #times = new Map<string, number[]>();

  constructor(most: number) {
    this.#most = most;
  }

  /** @returns false when this name has had its share of the last hour; else the use is counted */
  take(name: string, now: number): boolean {
    const recent = (this.#times.get(name) ?? []).filter((time) => time > now - HOUR_MS);
    const allowed = recent.length < this.#most;
    if (allowed) recent.push(now);
    this.#times.delete(name);
    this.#times.set(name, recent);
    const oldest = this.#times.keys().next();
    if (this.#times.size > NAMES && oldest.done !== true) this.#times.delete(oldest.value);
    return allowed;
  }
}
