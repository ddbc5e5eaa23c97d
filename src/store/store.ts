/**
 * Store: one account's ordered key/value slice, and the batch through which alone it changes.
 *
 * A commit is atomic and durable, and it is refused when a key that the batch read has been changed since, so that a
 * forgotten lane is an error and not a lost ratchet step. Its writes are seen by later batches and scans from the
 * moment `commit()` is called; the promise resolves when they are on disk. So the next message can be opened while this
 * one is being synced, and commits that wait are written as one. When a write fails, every later commit fails too:
 * what was seen but never became durable must not be built upon.
 *
 * Keys are text, ordered by UTF-8 bytes; they are not encrypted, values are.
 */
import type { Bytes } from '../bytes.ts';
import type { Reading } from './reading.ts';

export interface Batch {
  /**
   * The value as this batch sees it: its own writes first. The bytes are shared; do not change them. Failures are
   * rejections, never thrown at once.
   * @throws BotError `STORE_DAMAGED`; `STORE_CLOSED`
   */
  get(key: string): Reading<Bytes | undefined>;
  put(key: string, value: Bytes): void;
  delete(key: string): void;
  /**
   * Resolves when all writes are durable; a batch without writes resolves at once. A batch is spent by its commit.
   * A conflict is found before anything becomes visible, and rejects within one turn of the event loop.
   * @throws BotError `STORE_CONFLICT` nothing was written; `STORE_WRITE_FAILED` the store is closed for writing;
   *   `STORE_CLOSED` the commit began after `close()`
   */
  commit(): Promise<void>;
}

/** A batch in the hands of who reads and writes rows, while somebody else commits. */
export type Staging = Omit<Batch, 'commit'>;

export interface ScanOptions {
  /** Starts behind this key. */
  after?: string;
  /** At most so many. */
  limit?: number;
}

export interface Store {
  batch(): Batch;
  /**
   * The rows whose key begins with `prefix`, in key order, as of the call: later commits do not show.
   * @throws BotError `STORE_DAMAGED`; `STORE_CLOSED`
   */
  scan(prefix: string, options?: ScanOptions): AsyncIterable<readonly [key: string, value: Bytes]>;
  /**
   * Has what was deleted or overwritten under `prefix` leave the disk, a piece at a time; what is there stays readable and
   * writable meanwhile, and `close()` waits for the piece in hand, a second or two.
   * @param from where to go on; the beginning when absent
   * @returns where the next piece begins; undefined when it was the last. The same place again when a scan, or a read, was in the
   *   way, or the disk is nearly full: it is to be tried again a little later
   * @throws BotError `STORE_WRITE_FAILED`; `STORE_CLOSED`
   */
  compact(prefix: string, from?: string): Promise<string | undefined>;
  /** Waits for the commits under way and frees the lock. Commits begun later are refused. */
  close(): Promise<void>;
}
