/**
 * Overlay: what every backend shares. It lays the writes that are not on disk yet over those that are.
 *
 * A write goes staged (in its batch) -> pending (committed, visible) -> flushing (part of the one write that is being
 * synced) -> on disk. Commits that come while a write is being synced are merged into the next one, so a row that is
 * overwritten meanwhile reaches the disk once. When a write fails, the store is closed for writing, and reads show
 * what is on disk.
 *
 * A conflict is found by looking again: a batch may be committed when each value that it has read is still the one
 * that a new batch would read. So nothing has to be kept about batches that are open or were dropped.
 */
import { equal, type Bytes } from '../bytes.ts';
import { BotError, isBotError } from '../errors.ts';
import { checkKey, rangeOf, type KeyRange } from './keys.ts';
import { rejection, type Reading } from './reading.ts';
import { collect, merge, type Pending, type Row, type RowCursor } from './scan.ts';
import type { Batch, ScanOptions, Store } from './store.ts';
import { ValueCache } from './value-cache.ts';

/** Where rows are durable. */
export interface Disk {
  /** @throws BotError `STORE_DAMAGED` */
  get(key: string): Bytes | undefined;
  /** All or nothing, durable once resolved; null deletes. Never called again before it has settled, or once it failed. */
  write(rows: Pending): Promise<void>;
  /** The rows in `range` as of the call, at most `limit`. */
  rows(range: KeyRange, limit: number): RowCursor;
  /**
   * Removes what no row has any more from the beginning of a range, as in `Store.compact`.
   * @param touch writes rows as they are, once more
   */
  compact(range: KeyRange, touch: (keys: readonly string[]) => Promise<void>): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface OverlayOptions {
  /** Bytes of opened values kept for reading again. */
  readonly cacheBytes: number;
  /** Waited for before each write, so that the commits of one turn go together. */
  readonly pause: () => Promise<void>;
}

/** What a batch has read. */
interface Reads {
  values: Map<string, Bytes | undefined> | undefined;
  /** Number of commits that had been applied at the first read. */
  since: number;
}

/** The commits that one write makes durable. */
interface Group {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: BotError) => void;
}

const NOTHING: Pending = new Map();
const DONE: Promise<void> = Promise.resolve();

export class OverlayStore implements Store {
  readonly #disk: Disk;
  readonly #options: OverlayOptions;
  readonly #cache: ValueCache;
  #pending = new Map<string, Bytes | null>();
  #flushing: Pending = NOTHING;
  /** Of `#pending`; there is one exactly when that is not empty. */
  #group: Group | undefined;
  #flusher: Promise<void> | undefined;
  #failure: BotError | undefined;
  #commits = 0;
  #closed: Promise<void> | undefined;

  constructor(disk: Disk, options: OverlayOptions) {
    this.#disk = disk;
    this.#options = options;
    this.#cache = new ValueCache(options.cacheBytes);
  }

  batch(): Batch {
    return new OverlayBatch(this);
  }

  scan(prefix: string, { after, limit = Infinity }: ScanOptions = {}): AsyncIterable<Row> {
    this.#assertOpen();
    const range = rangeOf(prefix, after);
    const pending = collect([this.#flushing, this.#pending], range);
    return merge(pending, this.#disk.rows(range, limit + pending.length), limit);
  }

  async compact(prefix: string, from?: string): Promise<string | undefined> {
    this.#assertOpen();
    const range = rangeOf(prefix, undefined);
    return this.#disk.compact({ ...range, from: from ?? range.from }, (keys) => this.#touch(keys));
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#flusher;
      await this.#disk.close();
    })();
    return this.#closed;
  }

  /** Commits applied so far. */
  get commits(): number {
    return this.#commits;
  }

  /** The value that a new batch sees. */
  read(key: string): Bytes | undefined {
    this.#assertOpen();
    const fresh = this.#unwritten(key);
    if (fresh !== undefined) return fresh ?? undefined;
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const stored = this.#disk.get(key);
    if (stored !== undefined) this.#cache.set(key, stored);
    return stored;
  }

  /** Makes `writes` visible and queues them, unless what was read has changed. */
  apply(writes: Pending, reads: Reads): Promise<void> {
    if (writes.size === 0) return DONE;
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    try {
      this.#assertOpen();
      this.#assertUnchanged(reads);
    } catch (error) {
      return rejection(error);
    }
    this.#commits++;
    for (const [key, value] of writes) this.#pending.set(key, value);
    const group = (this.#group ??= newGroup());
    this.#flusher ??= this.#flush();
    return group.done;
  }

  /** Read and applied in one go, so nothing can come between. A row that is damaged stays as it is. */
  #touch(keys: readonly string[]): Promise<void> {
    const rows = new Map<string, Bytes | null>();
    for (const key of keys) {
      try {
        rows.set(key, this.read(key) ?? null);
      } catch (error) {
        if (!isBotError(error, 'STORE_DAMAGED')) return rejection(error);
      }
    }
    return this.apply(rows, { values: undefined, since: this.#commits });
  }

  #assertUnchanged(reads: Reads): void {
    if (reads.since === this.#commits) return;
    for (const [key, value] of reads.values ?? []) {
      const now = this.read(key);
      if (now === value || (now !== undefined && value !== undefined && equal(now, value))) continue;
      throw new BotError('STORE_CONFLICT', `a row was changed after a batch had read it: ${key}`);
    }
  }

  #unwritten(key: string): Bytes | null | undefined {
    const pending = this.#pending.get(key);
    return pending === undefined ? this.#flushing.get(key) : pending;
  }

  /** Writes until nothing is pending. Never rejects: a failure goes to the commits that it concerns. */
  async #flush(): Promise<void> {
    while (this.#group !== undefined) {
      await this.#options.pause();
      const group = this.#group;
      this.#flushing = this.#pending;
      this.#pending = new Map();
      this.#group = undefined;
      try {
        await this.#disk.write(this.#flushing);
      } catch (cause) {
        this.#fail(group, cause);
        break;
      }
      this.#refresh(this.#flushing);
      this.#flushing = NOTHING;
      group.resolve();
    }
    this.#flusher = undefined;
  }

  /** What is cached follows the disk; what is not read is not cached. */
  #refresh(rows: Pending): void {
    for (const [key, value] of rows) {
      if (value === null) this.#cache.delete(key);
      else if (this.#cache.has(key)) this.#cache.set(key, value);
    }
  }

  #fail(group: Group, cause: unknown): void {
    const failure = new BotError('STORE_WRITE_FAILED', 'the store could not be written', { cause });
    this.#failure = failure;
    group.reject(failure);
    this.#group?.reject(failure);
    this.#group = undefined;
    this.#pending = new Map();
    this.#flushing = NOTHING;
    this.#cache.clear();
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw closedError();
  }
}

class OverlayBatch implements Batch {
  readonly #store: OverlayStore;
  readonly #reads: Reads = { values: undefined, since: 0 };
  // Made when needed: most batches only read, or only write.
  #writes: Map<string, Bytes | null> | undefined;
  #spent = false;

  constructor(store: OverlayStore) {
    this.#store = store;
  }

  get(key: string): Reading<Bytes | undefined> {
    try {
      this.#assertUsable();
      const own = this.#writes?.get(key);
      if (own !== undefined) return own ?? undefined;
      const value = this.#store.read(key);
      if (this.#reads.values === undefined) {
        this.#reads.values = new Map();
        this.#reads.since = this.#store.commits;
      }
      // The first reading counts: what was decided by it must still hold.
      if (!this.#reads.values.has(key)) this.#reads.values.set(key, value);
      return value;
    } catch (error) {
      return rejection(error);
    }
  }

  put(key: string, value: Bytes): void {
    this.#assertUsable();
    checkKey(key);
    (this.#writes ??= new Map()).set(key, value);
  }

  delete(key: string): void {
    this.#assertUsable();
    checkKey(key);
    (this.#writes ??= new Map()).set(key, null);
  }

  commit(): Promise<void> {
    if (this.#spent) return Promise.reject(spentError());
    this.#spent = true;
    return this.#store.apply(this.#writes ?? NOTHING, this.#reads);
  }

  #assertUsable(): void {
    if (this.#spent) throw spentError();
  }
}

function newGroup(): Group {
  let resolve: () => void = () => undefined;
  let reject: (error: BotError) => void = () => undefined;
  const done = new Promise<void>((onDone, onError) => {
    resolve = onDone;
    reject = onError;
  });
  return { done, resolve, reject };
}

function closedError(): BotError {
  return new BotError('STORE_CLOSED', 'the store is closed');
}

function spentError(): BotError {
  return new BotError('USAGE', 'a batch is spent by its commit');
}
