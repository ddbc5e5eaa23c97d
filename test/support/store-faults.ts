/**
 * Faults: a store that counts, fails or crashes at a chosen commit, for walks over every place where a process can
 * stop.
 *
 *   const store = new FaultyStore(await openOrMake(folder, PLAIN), { at: 3, kind: 'crash-after' });
 *   ... the scenario, which ends with an error ...
 *   await store.inner.close();   then open the folder again and look
 *
 * Run once without a fault to learn `store.commits`, then once for each commit and kind.
 */
import { BotError } from '../../src/errors.ts';
import type { Bytes } from '../../src/bytes.ts';
import type { Batch, ScanOptions, Store } from '../../src/store/store.ts';

/**
 * `fail`: the commit and all later ones reject `STORE_WRITE_FAILED`, nothing of it is written; reads go on.
 * `crash-before`: the process is gone just before the commit: nothing of it is written, and every call of the store,
 *   this commit included, rejects from now on.
 * `crash-after`: the same just after the rows were durable, so the caller does not learn that they are.
 */
export type FaultKind = 'fail' | 'crash-before' | 'crash-after';

export const FAULT_KINDS: readonly FaultKind[] = ['fail', 'crash-before', 'crash-after'];

export interface Fault {
  /** 1 is the first commit that writes something. */
  readonly at: number;
  readonly kind: FaultKind;
}

/** What every call of a crashed store rejects with. */
export class Crash extends Error {
  override readonly name = 'Crash';
  constructor() {
    super('the process is gone (a test said so)');
  }
}

export class FaultyStore implements Store {
  readonly inner: Store;
  #fault: Fault | undefined;
  readonly #onCrash: () => void;
  #commits = 0;
  #gets = 0;
  #scans = 0;
  #state: 'sound' | 'failed' | 'crashed' = 'sound';

  /** @param onCrash told when the fault strikes, so that a scenario can be ended */
  constructor(inner: Store, fault?: Fault, onCrash: () => void = () => undefined) {
    this.inner = inner;
    this.#fault = fault;
    this.#onCrash = onCrash;
  }

  /** Orders a fault, its place counted from here. */
  arm({ at, kind }: Fault): void {
    this.#fault = { at: this.#commits + at, kind };
  }

  /** Commits with at least one write that were begun. */
  get commits(): number {
    return this.#commits;
  }

  get gets(): number {
    return this.#gets;
  }

  get scans(): number {
    return this.#scans;
  }

  /** True once the fault has struck. */
  get struck(): boolean {
    return this.#state !== 'sound';
  }

  batch(): Batch {
    const inner = this.inner.batch();
    let writes = 0;
    return {
      get: async (key: string): Promise<Bytes | undefined> => {
        this.assertAlive();
        this.#gets++;
        return inner.get(key);
      },
      put: (key: string, value: Bytes): void => {
        writes++;
        inner.put(key, value);
      },
      delete: (key: string): void => {
        writes++;
        inner.delete(key);
      },
      commit: () => (writes === 0 ? inner.commit() : this.#commit(inner)),
    };
  }

  async *scan(prefix: string, options?: ScanOptions): AsyncIterable<readonly [key: string, value: Bytes]> {
    this.assertAlive();
    this.#scans++;
    for await (const row of this.inner.scan(prefix, options)) {
      this.assertAlive();
      yield row;
    }
  }

  async compact(prefix: string, from?: string): Promise<string | undefined> {
    this.assertAlive();
    return this.inner.compact(prefix, from);
  }

  /** A crashed store is not closed by its user, but by the test, through `inner`. */
  async close(): Promise<void> {
    this.assertAlive();
    await this.inner.close();
  }

  /** The process is gone, whatever it was doing. */
  crash(): void {
    this.#state = 'crashed';
  }

  assertAlive(): void {
    if (this.#state === 'crashed') throw new Crash();
  }

  async #commit(inner: Batch): Promise<void> {
    this.assertAlive();
    if (this.#state === 'failed') throw writeFailed();
    this.#commits++;
    if (this.#fault?.at !== this.#commits) {
      await inner.commit();
      // What became durable in the same moment as the crash is not learnt by a process that is gone.
      this.assertAlive();
      return;
    }
    const { kind } = this.#fault;
    this.#state = kind === 'fail' ? 'failed' : 'crashed';
    // Also where it is refused: the process is gone, and somebody waits to hear of it.
    if (kind === 'crash-after') await inner.commit().catch(() => undefined);
    this.#onCrash();
    throw kind === 'fail' ? writeFailed() : new Crash();
  }
}

function writeFailed(): BotError {
  return new BotError('STORE_WRITE_FAILED', 'the store could not be written (a test said so)');
}
