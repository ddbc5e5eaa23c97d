/**
 * Caution: what shows that a run did not end by itself, and which rows may be why.
 *
 * A handler can take the whole process with it: by `process.exit`, an error thrown in a timer, all memory used. No
 * failed attempt is written then, and the same row would do it again at every start. So a fact stands in the store from
 * the start of a run to its clean end (two writes for a run, none for a message). Who finds it there has the rows that
 * are in the inbox now called one at a time, each call counted on disk before it begins (`withCall`). A process that was
 * killed from outside leaves the same, and is told from one that is known to have ended from within by its weight.
 */
import type { Platform } from '../platform.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Store } from '../store/store.ts';
import { facts, inboxRows } from '../store/tables.ts';
import { PROVEN, SUSPECTED } from './progress.ts';

/** Value: `Running`. Writer: the dispatcher, and who knows how a run has ended. */
const FACT = 'dispatching';

interface Running {
  /** ms */
  readonly since: number;
  /** It ended from within. */
  readonly within?: boolean;
}

export class Caution {
  readonly #store: Store;
  readonly #platform: Platform;
  /** Number of the last row that the ended run can have called; none is 0. */
  #last = 0;
  #weight = SUSPECTED;

  constructor(store: Store, platform: Platform) {
    this.#store = store;
    this.#platform = platform;
  }

  /** Of a call that the process does not outlive. */
  get weight(): number {
    return this.#weight;
  }

  /** Notes that a run has begun. @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED` */
  async begin(): Promise<void> {
    const batch = this.#store.batch();
    const before = (await facts.get(batch, FACT)) as Running | undefined;
    this.#last = 0;
    this.#weight = before?.within === true ? PROVEN : SUSPECTED;
    if (before === undefined || before.within === true) {
      facts.put(batch, FACT, { since: this.#platform.clock.now() } satisfies Running);
      await batch.commit();
    }
    if (before !== undefined) await this.#takeIn();
  }

  /** Whether the row was there when a run ended that nobody had stopped. */
  covers(id: number): boolean {
    return id <= this.#last;
  }

  /**
   * Notes that the run has ended as it should, unless rows are left that it was careful with.
   * @throws BotError `STORE_WRITE_FAILED`
   */
  async end(): Promise<void> {
    const prefix = inboxRows.key();
    for await (const [key] of this.#store.scan(prefix, { limit: 1 })) {
      if (this.covers(Number(key.slice(prefix.length)))) return;
    }
    const batch = this.#store.batch();
    facts.delete(batch, FACT);
    await batch.commit();
  }

  /** Notes that the run is ending by an error from within. @throws BotError `STORE_WRITE_FAILED` */
  die(): Promise<void> {
    return noteEndFromWithin(this.#store);
  }

  async #takeIn(): Promise<void> {
    const prefix = inboxRows.key();
    let rows = 0;
    for await (const [key] of this.#store.scan(prefix)) {
      this.#last = Number(key.slice(prefix.length));
      rows++;
    }
    if (rows === 0) return;
    this.#platform.log.warn({ rows }, 'the last run ended without a stop: its messages run one at a time');
  }
}

/** A run that did not stop is known to have been ended by its own code. Nothing changes where it did stop. */
export async function noteEndFromWithin(store: Store): Promise<void> {
  await writeAgainOnConflict(store, async (batch) => {
    const running = (await facts.get(batch, FACT)) as Running | undefined;
    if (running !== undefined) facts.put(batch, FACT, { ...running, within: true } satisfies Running);
  });
}
