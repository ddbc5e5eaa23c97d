/**
 * Folder: a store's folder opened, locked and unlocked, and the databases in it made, filled and put in place.
 *
 * A database is made in `new/`, the header names it, and then it is renamed to that name: a process that is stopped
 * between the last two steps leaves them to the next opening.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8, toUtf8, type Bytes } from '../bytes.ts';
import { BotError, isBotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import { asWriteFailure, FolderGuard, isMissing, moveFolder, shut, syncFolder } from './files.ts';
import { CLOSED_FILE } from './closing.ts';
import { checkDb, examined } from './db-check.ts';
import { HEADER_FILE, readHeader, writeHeader, type Header } from './header.ts';
import { closeDb, LevelDisk, openDb, type LevelDb } from './level-disk.ts';
import { sealerOf, unlock, type Secret } from './secret.ts';
import type { Sealer } from './seal.ts';

/** An open store, its lock held. Whoever has it closes `db`. */
export interface OpenFolder {
  readonly folder: string;
  readonly header: Header;
  readonly db: LevelDb;
  /** Undefined: plain. */
  readonly dataKey: Uint8Array | undefined;
}

export const NEW_DB = 'new';
/** The store's id, so that a database that lost its rows, or is another store's, is noticed. Never shows in a scan. */
export const ID_KEY = '\u0000id';

const DB_NAME = /^db(-[0-9]{1,9})?$/;
const ATTEMPTS = 3;

/**
 * Takes the lock of the store in `folder`, unlocks it, removes what an interrupted change left behind, and shuts the
 * folder to others.
 * @throws BotError `NOT_LINKED`; `PASSPHRASE_NEEDED`; `PASSPHRASE_WRONG`; `STORE_LOCKED`; `STORE_DAMAGED`; `STORE_NEWER`;
 *   `STORE_WRITE_FAILED`
 */
export async function openFolder(
  folder: string,
  secret: Secret | undefined,
  random: Random,
): Promise<OpenFolder> {
  const { header: found, db } = await lock(folder);
  try {
    const dataKey = await unlock(found.protection, secret, found.id);
    if (isCurrent(found)) checkId(db, found.id, sealerOf(dataKey, random));
    await removeLeftovers(folder, found);
    const header = await rememberClosing(folder, found);
    await shut(folder, HEADER_FILE);
    await new FolderGuard(db.location).protect();
    return { folder, header, db, dataKey };
  } catch (cause) {
    await closeDb(db);
    throw asWriteFailure(cause, 'the store could not be tidied up');
  }
}

/** False while a migration is due or under way. */
export function isCurrent(header: Header): boolean {
  return header.format > 1 && header.migration === undefined;
}

/** True when there is a header or a database, readable or not: nothing may be made in their place. */
export async function hasStore(folder: string): Promise<boolean> {
  return (await namesIn(folder)).some((name) => name === HEADER_FILE || DB_NAME.test(name));
}

/** True when there are rows, whether or not there is a header. */
export async function hasDatabase(folder: string): Promise<boolean> {
  return (await namesIn(folder)).some((name) => DB_NAME.test(name));
}

/**
 * Opens the database in `new/` and takes its lock; what is in it may be of another store that is not put in place yet.
 * @throws BotError `STORE_LOCKED` another process is making one; `STORE_WRITE_FAILED`
 */
export async function openNew(folder: string): Promise<LevelDb> {
  const place = join(folder, NEW_DB);
  return openDb(place, { create: true }).catch(async (error: unknown) => {
    if (!isBotError(error, 'STORE_DAMAGED')) throw error;
    await rm(place, { recursive: true, force: true }); // half made by a process that was stopped
    return openDb(place, { create: true });
  });
}

/** Makes an open database one that holds the store's id and nothing else. */
export async function beginDb(db: LevelDb, id: string, sealer: Sealer): Promise<void> {
  await db.clear();
  await new LevelDisk(db, sealer).write(new Map([[ID_KEY, fromUtf8(id)]]));
  await new FolderGuard(db.location).protect();
}

/**
 * Makes a database in `new/` that holds the store's id; whoever calls it has the lock of the store.
 * @throws BotError `STORE_LOCKED` another process is making one; `STORE_WRITE_FAILED`
 */
export async function makeDb(folder: string, id: string, sealer: Sealer): Promise<LevelDb> {
  const db = await openNew(folder);
  try {
    await beginDb(db, id, sealer);
  } catch (error) {
    await db.close();
    throw error;
  }
  return db;
}

/** Closes a database made by `makeDb`, so that all of it is durable. */
export async function finishDb(db: LevelDb): Promise<void> {
  await closeDb(db);
  await syncFolder(db.location);
}

/** Gives the database in `new/` the name that the header has for it. */
export async function placeDb(folder: string, header: Header): Promise<void> {
  try {
    await moveFolder(join(folder, NEW_DB), join(folder, header.db));
  } catch (error) {
    // Another process that opened the store may have done it.
    if (!isMissing(error) || !(await namesIn(folder)).includes(header.db)) throw error;
  }
}

export function headerLost(): BotError {
  return new BotError('STORE_DAMAGED', 'the store has its database but no countersign.json');
}

export function notAFolder(path: string): BotError {
  return new BotError('STORE_WRITE_FAILED', `${path} is a file`, {
    next: 'Name a folder, or a place where one can be made.',
  });
}

export function notLinked(folder: string): BotError {
  return new BotError('NOT_LINKED', `there is no store in ${folder}`);
}

/** Opens the database that the header names; the header is the same before and after. */
async function lock(folder: string): Promise<{ header: Header; db: LevelDb }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const header = await readHeader(folder);
    if (header === undefined) throw (await hasDatabase(folder)) ? headerLost() : notLinked(folder);
    await checkFiles(folder, header);
    const db = await openDb(join(folder, header.db), { create: false });
    const now = await readHeader(folder).catch(() => undefined);
    if (JSON.stringify(now) === JSON.stringify(header)) return { header, db };
    await db.close(); // another process changed the protection before we had the lock
  }
  throw new BotError('STORE_LOCKED', 'another process keeps changing this store');
}

/**
 * LevelDB would make an empty folder where there is none, and takes what is left of a log for all of it.
 * @throws BotError `STORE_DAMAGED`; `STORE_LOCKED`
 */
async function checkFiles(folder: string, header: Header): Promise<void> {
  const names = await namesIn(folder);
  if (!names.includes(header.db) && names.includes(NEW_DB)) await placeDb(folder, header);
  await checkDb(examined(folder, header));
}

function checkId(db: LevelDb, id: string, sealer: Sealer): void {
  const found = new LevelDisk(db, sealer).get(ID_KEY);
  if (found === undefined || idOf(found) !== id) {
    throw new BotError('STORE_DAMAGED', 'the database is not the one that belongs to countersign.json');
  }
}

function idOf(bytes: Bytes): string | undefined {
  try {
    return toUtf8(bytes);
  } catch {
    return undefined;
  }
}

/** Has the header say, once and for all, that the database has a note of its closing. @returns the header as it is now */
async function rememberClosing(folder: string, header: Header): Promise<Header> {
  const { db } = header;
  if (header.closed === db || !isCurrent(header)) return header;
  if (!(await namesIn(join(folder, db))).includes(CLOSED_FILE)) return header;
  const changed: Header = { ...header, closed: db };
  await writeHeader(folder, changed);
  return changed;
}

/** Databases that the header does not name, and drafts. */
async function removeLeftovers(folder: string, header: Header): Promise<void> {
  for (const name of await namesIn(folder)) {
    const isLeftover =
      (DB_NAME.test(name) && name !== header.db) || name === NEW_DB || name.endsWith('.part');
    if (isLeftover) await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') throw notAFolder(folder);
    throw new BotError('STORE_DAMAGED', `the folder cannot be read: ${folder}`, { cause: error });
  }
}
