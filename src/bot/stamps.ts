/**
 * Stamps: timestamps of our messages, ms since 1970. Each is given once, since it names a message on the wire.
 */
import type { Clock } from '../platform.ts';
import type { Store } from '../store/store.ts';
import { outboxRows } from '../store/tables.ts';

export class Stamps {
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Looks at the rows that wait: a clock that was set back must not give the timestamp of one of them again. */
  async open(store: Store): Promise<void> {
    if (this.#last > 0) return;
    let last = 1;
    for await (const [, row] of outboxRows.scan(store)) last = Math.max(last, row.timestamp);
    this.#last = Math.max(this.#last, last);
  }

  /** The time now, or the next ms that was not given yet. */
  readonly next = (): number => {
    this.#last = Math.max(this.#last + 1, this.#clock.now());
    return this.#last;
  };
}
