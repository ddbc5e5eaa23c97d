/**
 * Stamps: timestamps of our messages, ms since 1970. Each is given once, since it names a message on the wire.
 */
import type { Clock } from '../platform.ts';
import type { Store } from '../store/store.ts';
import { facts, outboxRows } from '../store/tables.ts';

/** How far a clock may have been set back. */
const AHEAD_MS = 24 * 3_600_000;

export class Stamps {
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Looks at what waits and at what was sent last: a clock that was set back must not give a timestamp again. */
  async open(store: Store): Promise<void> {
    if (this.#last > 0) return;
    const sent = await facts.get(store.batch(), 'lastStamp');
    // One that is further ahead than this was given by a clock that was wrong: the times of now are free.
    const known = typeof sent === 'number' && sent < this.#clock.now() + AHEAD_MS;
    let last = known ? sent : 1;
    for await (const [, row] of outboxRows.scan(store)) last = Math.max(last, row.timestamp);
    this.#last = Math.max(this.#last, last);
  }

  /** The time now, or the next ms that was not given yet. */
  readonly next = (): number => {
    this.#last = Math.max(this.#last + 1, this.#clock.now());
    return this.#last;
  };
}
