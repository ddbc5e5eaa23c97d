/**
 * Level disk: sealed rows in one LevelDB folder.
 *
 * The options keep an open store small, since a process may hold many: LevelDB keeps up to two write buffers, the
 * block cache, and the index and filter of each table that is open.
 */
import { Level } from 'level';
import type { Bytes } from '../bytes.ts';
import { BotError, isBotError } from '../errors.ts';
import { noteClosing } from './closing.ts';
import { compactPiece, type Compactable } from './compaction.ts';
import type { KeyRange } from './keys.ts';
import type { Disk } from './overlay.ts';
import { FolderGuard } from './files.ts';
import type { Pending, Row, RowCursor } from './scan.ts';
import type { Sealer } from './seal.ts';

export type LevelDb = Level<string, Uint8Array> & Compactable;

const WRITE_BUFFER_BYTES = 512 * 1024;
const OPTIONS = {
  keyEncoding: 'utf8',
  valueEncoding: 'view',
  cacheSize: 256 * 1024,
  writeBufferSize: WRITE_BUFFER_BYTES,
  // Opening goes through the list of tables, so a large store has fewer and larger ones than LevelDB's 2 MiB would make.
  maxFileSize: 16 * 1024 * 1024,
  // Tables that are open: about 20 KiB each for index and filter. With fewer, a store of a million rows opens one per read.
  maxOpenFiles: 1000,
  // Sealed values do not get smaller, and an index that is not compressed can be read to check a table (table-check.ts).
  compression: false,
} as const;
const PAGE_BYTES = 64 * 1024;
const NOT_OURS_TO_WRITE = /No space left|Read-only file system|Permission denied|Too many open files|quota/i;

/**
 * Opens the database in `folder` and takes its lock.
 * @throws BotError `STORE_LOCKED`; `STORE_DAMAGED`; `STORE_WRITE_FAILED` when the disk is full or not ours to write
 */
export async function openDb(folder: string, options: { create: boolean }): Promise<LevelDb> {
  const db = new Level<string, Uint8Array>(folder, OPTIONS) as LevelDb;
  try {
    await db.open({ createIfMissing: options.create, passive: false });
    return db;
  } catch (error) {
    throw openError(error);
  }
}

/** Closes a database whose writes have all succeeded, and notes what is there now. */
export async function closeDb(db: LevelDb): Promise<void> {
  try {
    // Without the note the next opening takes the files for those of a process that was stopped.
    await noteClosing(db.location).catch(() => undefined);
  } finally {
    await db.close();
  }
}

/** Rows of an open database, sealed by `sealer`. */
export class LevelDisk implements Disk {
  readonly #db: LevelDb;
  readonly #sealer: Sealer;
  readonly #guard: FolderGuard;
  readonly #pieceBytes: number | undefined;
  #unguardedBytes = 0;
  #failed = false;
  /** Scans that are going on. */
  #cursors = 0;
  #compacting: Promise<unknown> = Promise.resolve();

  /** @param pieceBytes what one compaction takes on; tests take less */
  constructor(db: LevelDb, sealer: Sealer, pieceBytes?: number) {
    this.#db = db;
    this.#sealer = sealer;
    this.#pieceBytes = pieceBytes;
    this.#guard = new FolderGuard(db.location);
  }

  get(key: string): Bytes | undefined {
    let sealed: Uint8Array | undefined;
    try {
      // No thread hop: a row is most often in the write buffer or in the page cache.
      sealed = this.#db.getSync(key);
    } catch (cause) {
      throw readError(cause);
    }
    return sealed === undefined ? undefined : this.#sealer.open(key, sealed as Bytes);
  }

  async write(rows: Pending): Promise<void> {
    // A chained batch costs a fifth of an array of operations.
    const batch = this.#db.batch();
    for (const [key, value] of rows) {
      if (value === null) {
        batch.del(key);
        continue;
      }
      const sealed = this.#sealer.seal(key, value);
      batch.put(key, sealed);
      this.#unguardedBytes += sealed.length;
    }
    await batch.write({ sync: true }).catch((error: unknown) => {
      this.#failed = true;
      throw error;
    });
    // LevelDB makes a new file about once a write buffer, with the mode that the process has for new files.
    if (this.#unguardedBytes < WRITE_BUFFER_BYTES) return;
    this.#unguardedBytes = 0;
    // The rows are durable whether or not this works, and the folder is shut to others anyway.
    await this.#guard.protect().catch(() => undefined);
  }

  rows(range: KeyRange, limit: number): RowCursor {
    // An iterator shows the rows as they were when it was made.
    const iterator = this.#db.iterator({
      ...(range.exclusive ? { gt: range.from } : { gte: range.from }),
      ...(range.below === undefined ? {} : { lt: range.below }),
      limit: Number.isFinite(limit) ? limit : -1,
      highWaterMarkBytes: PAGE_BYTES,
    });
    this.#cursors++;
    let isOpen = true;
    return {
      next: async (count) => {
        let page: [string, Uint8Array][];
        try {
          page = await iterator.nextv(count);
        } catch (cause) {
          throw readError(cause);
        }
        return page.map(([key, sealed]): Row => [key, this.#sealer.open(key, sealed as Bytes)]);
      },
      close: async () => {
        await iterator.close();
        if (isOpen) this.#cursors--;
        isOpen = false;
      },
    };
  }

  /** Not while a scan goes on: LevelDB keeps what that can see, and the files that it reads. */
  async compact(
    range: KeyRange,
    touch: (keys: readonly string[]) => Promise<void>,
  ): Promise<string | undefined> {
    if (this.#cursors > 0) return range.from;
    const piece = compactPiece(this.#db, range, touch, this.#pieceBytes);
    this.#compacting = piece.catch(() => undefined);
    try {
      return await piece;
    } catch (cause) {
      if (isBotError(cause)) throw cause;
      // The folder could not be looked at, for want of a descriptor for one: nothing is damaged, and it is tried again.
      if (cause instanceof Error && 'syscall' in cause) return range.from;
      throw readError(cause);
    } finally {
      await this.#guard.protect().catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    try {
      await this.#compacting;
      await this.#guard.protect();
    } finally {
      // What a failed write has left in the log is no damage.
      await (this.#failed ? this.#db.close() : closeDb(this.#db));
    }
  }
}

/** A failed opening as a coded error; abstract-level wraps the reason once. */
function openError(error: unknown): BotError {
  const cause = codeOf(error) === 'LEVEL_DATABASE_NOT_OPEN' ? ((error as Error).cause ?? error) : error;
  if (codeOf(cause) === 'LEVEL_LOCKED')
    return new BotError('STORE_LOCKED', 'this store is in use', { cause });
  return NOT_OURS_TO_WRITE.test(String(cause))
    ? new BotError('STORE_WRITE_FAILED', 'the store cannot be opened for writing', { cause })
    : new BotError('STORE_DAMAGED', 'the database of the store cannot be read', { cause });
}

function readError(cause: unknown): BotError {
  const code = codeOf(cause);
  return code === 'LEVEL_DATABASE_NOT_OPEN' || code === 'LEVEL_ITERATOR_NOT_OPEN'
    ? new BotError('STORE_CLOSED', 'the store was closed while it was read', { cause })
    : new BotError('STORE_DAMAGED', 'the database of the store cannot be read', { cause });
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
