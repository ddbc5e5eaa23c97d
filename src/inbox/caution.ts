/**
 * Caution: what shows that a run did not end by itself, and which rows may be why.
 *
 * A handler can take the whole process with it: by `process.exit`, an error thrown in a timer, all memory used. No
 * failed attempt is written then, and the same row would do it again at every start. So a fact stands in the store from
 * the start of a run to its clean end (two writes for a run, none for a message). Who finds it there has the rows that
 * are in the inbox now called one at a time, each call counted on disk before it begins (`withCall`).
 */
import type { Platform } from '../platform.ts';
import type { Store } from '../store/store.ts';
import { facts, inboxRows } from '../store/tables.ts';

/** Value: `{ since }`, ms. Writer: the dispatcher. */
const FACT = 'dispatching';

export class Caution {
  readonly #store: Store;
  readonly #platform: Platform;
  /** Number of the last row that the ended run can have called; none is 0. */
  #last = 0;

  constructor(store: Store, platform: Platform) {
    this.#store = store;
    this.#platform = platform;
  }

  /** Notes that a run has begun. @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED` */
  async begin(): Promise<void> {
    const batch = this.#store.batch();
    this.#last = 0;
    if ((await facts.get(batch, FACT)) === undefined) {
      facts.put(batch, FACT, { since: this.#platform.clock.now() });
      await batch.commit();
      return;
    }
    let rows = 0;
    const prefix = inboxRows.key();
    for await (const [key] of this.#store.scan(prefix)) {
      this.#last = Number(key.slice(prefix.length));
      rows++;
    }
    if (rows > 0) {
      this.#platform.log.warn({ rows }, 'the last run ended without a stop: its messages run one at a time');
    }
  }

  /** Whether the row was there when a run ended that nobody had stopped. */
  covers(id: number): boolean {
    return id <= this.#last;
  }

  /** Notes that the run has ended as it should, unless rows are left that it was careful with. @throws BotError `STORE_WRITE_FAILED` */
  async end(): Promise<void> {
    const prefix = inboxRows.key();
    for await (const [key] of this.#store.scan(prefix, { limit: 1 })) {
      if (this.covers(Number(key.slice(prefix.length)))) return;
    }
    const batch = this.#store.batch();
    facts.delete(batch, FACT);
    await batch.commit();
  }
}
