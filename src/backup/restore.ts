/**
 * Restore: a backup made a store again, in a folder that has none.
 *
 * The file is read to its end before anything is written. Then the store is made as every new one is: its header comes last,
 * so a restore that is stopped leaves no store behind, and one that fails no folder. A store that another process makes
 * meanwhile is left alone. What the device must do before it speaks to anybody is left in the store (`fresh-start.ts`).
 */
import { readdir, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { makeStore } from '../store/create.ts';
import { asWriteFailure, isMissing, makeSteps } from '../store/files.ts';
import { NEW_DB } from '../store/folder.ts';
import { HEADER_FILE, type ScryptParameters } from '../store/header.ts';
import { SCRYPT, type Secret } from '../store/secret.ts';
import type { Staging } from '../store/store.ts';
import type { Backup } from './backup.ts';
import { FreshRows } from './fresh-start.ts';
import { isKept } from './kept-tables.ts';
import { openBackup, readBackupHeader, type BackupReader } from './reader.ts';
import { withSource } from './source.ts';

export interface RestoreParts {
  readonly platform: Platform;
  /** Of the file. */
  readonly passphrase: string;
  /** Of the store to be made. */
  readonly secret: Secret;
  /** Cost of the new store's passphrase; tests take less. */
  readonly scrypt?: ScryptParameters;
}

/** Rows that are written at once, and bytes. */
const PAGE_ROWS = 256;
const PAGE_BYTES = 1024 * 1024;
/** What a folder may hold and still be empty: a store whose making was interrupted, and what some file systems put in. */
const NOTHING = new Set([NEW_DB, `${HEADER_FILE}.new`, 'lost+found']);

/** What a backup says of itself. @throws BotError `USAGE` it cannot be read; `BACKUP_DAMAGED`; `BACKUP_NEWER` */
export async function describeBackup(file: string): Promise<Backup> {
  const { createdAt, aci } = await withSource(file, readBackupHeader);
  return { file, createdAt, aci };
}

/**
 * Makes the store of a backup in `folder`.
 * @throws BotError `FOLDER_NOT_EMPTY`; `USAGE` the file cannot be read; `PASSPHRASE_NEEDED`; `PASSPHRASE_WRONG`;
 *   `BACKUP_DAMAGED`; `BACKUP_NEWER`; `STORE_LOCKED`; `STORE_WRITE_FAILED`; the signal's reason
 */
export async function restoreBackup(
  file: string,
  folder: string,
  parts: RestoreParts,
  signal: AbortSignal,
): Promise<Backup> {
  await checkEmpty(folder);
  return withSource(file, async (source) => {
    const backup = await openBackup(source, parts.passphrase);
    try {
      signal.throwIfAborted();
      await makeRestored(folder, backup, parts, signal);
    } finally {
      backup.close();
    }
    const { createdAt, aci } = backup.header;
    return { file, createdAt, aci };
  });
}

/** @throws BotError `FOLDER_NOT_EMPTY` there is something in it, or it is no folder; `STORE_WRITE_FAILED` it cannot be read */
export async function checkEmpty(folder: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    if (isMissing(cause)) return;
    const isFile = (cause as NodeJS.ErrnoException).code === 'ENOTDIR';
    throw isFile
      ? new BotError('FOLDER_NOT_EMPTY', `${folder} is a file`, { cause })
      : new BotError('STORE_WRITE_FAILED', `the folder cannot be read: ${folder}`, { cause });
  }
  const found = names.find((name) => !NOTHING.has(name));
  if (found !== undefined)
    throw new BotError('FOLDER_NOT_EMPTY', `there is something in ${folder}: ${found}`);
}

async function makeRestored(
  folder: string,
  backup: BackupReader,
  parts: RestoreParts,
  signal: AbortSignal,
): Promise<void> {
  const { platform, secret, scrypt = SCRYPT } = parts;
  const made = await makeSteps(folder).catch((cause: unknown) => {
    throw asWriteFailure(cause, `no store could be made in ${folder}`);
  });
  let outcome: 'made' | 'exists';
  try {
    outcome = await makeStore(folder, secret, { random: platform.random, scrypt }, async (write) => {
      const page = new Page(write);
      const fresh = new FreshRows(platform, backup.header.createdAt);
      for await (const [key, value] of backup.rows()) {
        signal.throwIfAborted();
        // Asked again: a version that kept more may have written the file.
        if (!isKept(key)) continue;
        await fresh.follow(page.staging, key, value);
        await page.put(key, value);
      }
      fresh.end(page.staging);
      await page.write();
    });
  } catch (error) {
    await removeFolders(folder, made);
    signal.throwIfAborted();
    throw error;
  }
  if (outcome === 'exists')
    throw new BotError('FOLDER_NOT_EMPTY', `another process has made a store in ${folder} meanwhile`);
}

/**
 * Takes away the folders that were made, from `folder` up to `made`, the first that was not there. Those that something is
 * in stay: `makeStore` has removed what it began, and all else is another process's.
 */
async function removeFolders(folder: string, made: string | undefined): Promise<void> {
  if (made === undefined) return;
  try {
    for (let at = folder; at.length >= made.length; at = dirname(at)) await rmdir(at);
  } catch {
    // Somebody has put something in.
  }
}

/** Rows gathered, written a page at a time. */
class Page {
  readonly #write: (rows: ReadonlyMap<string, Bytes>) => Promise<void>;
  #rows = new Map<string, Bytes>();
  #bytes = 0;

  constructor(write: (rows: ReadonlyMap<string, Bytes>) => Promise<void>) {
    this.#write = write;
  }

  /** The page as tables write to it. */
  readonly staging: Staging = {
    get: (key) => Promise.resolve(this.#rows.get(key)),
    put: (key, value) => {
      this.#rows.set(key, value);
    },
    delete: (key) => {
      this.#rows.delete(key);
    },
  };

  async put(key: string, value: Bytes): Promise<void> {
    this.#rows.set(key, value);
    this.#bytes += value.length;
    if (this.#rows.size >= PAGE_ROWS || this.#bytes >= PAGE_BYTES) await this.write();
  }

  async write(): Promise<void> {
    await this.#write(this.#rows);
    this.#rows = new Map();
    this.#bytes = 0;
  }
}
