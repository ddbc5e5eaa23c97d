/**
 * Create: a new store in a folder that has none. The header is the last thing written, so a store exists whole or not
 * at all; it is never written over another one, and once it is there nothing is taken away again.
 */
import { rm, stat } from 'node:fs/promises';
import { toHex } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import { asWriteFailure, makeFolder, syncFolder } from './files.ts';
import { beginDb, hasStore, notAFolder, openNew, placeDb } from './folder.ts';
import { addHeader, FORMAT, type Header, type ScryptParameters } from './header.ts';
import { closeDb, LevelDisk } from './level-disk.ts';
import type { Pending } from './scan.ts';
import type { Sealer } from './seal.ts';
import { newDataKey, protect, sealerOf, type Secret } from './secret.ts';

const ID_SIZE = 16;

/** A path that is a file is no damaged store. @throws BotError `STORE_WRITE_FAILED` */
async function checkPlace(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found !== undefined && !found.isDirectory()) throw notAFolder(folder);
}

/** Writes the first rows of a store; what it rejects with ends the making. */
export type Fill = (write: (rows: Pending) => Promise<void>) => Promise<void>;

/**
 * Makes a store, unless there is one: what is there already is not touched, and nor is what another process makes
 * meanwhile. One that fails before its header is written takes its rows away again.
 * @param fill rows that the store has from the beginning
 * @returns `exists`: there is a header or a database, and nothing was made
 * @throws BotError `PASSPHRASE_NEEDED`; `STORE_LOCKED` another process is making one; `STORE_WRITE_FAILED`; what `fill`
 *   throws
 */
export async function makeStore(
  folder: string,
  secret: Secret | undefined,
  parts: { random: Random; scrypt: ScryptParameters },
  fill?: Fill,
): Promise<'made' | 'exists'> {
  if (secret === undefined)
    throw new BotError('PASSPHRASE_NEEDED', 'a new store needs a passphrase or a key file');
  await checkPlace(folder);
  const id = toHex(parts.random.bytes(ID_SIZE));
  const dataKey = newDataKey(secret, parts.random);
  try {
    const header: Header = {
      format: FORMAT,
      id,
      db: 'db',
      protection: await protect(dataKey, secret, id, parts),
    };
    await makeFolder(folder);
    if (!(await makeRows(folder, header, sealerOf(dataKey, parts.random), fill))) return 'exists';
    await placeDb(folder, header);
    return 'made';
  } catch (cause) {
    throw asWriteFailure(cause, `no store could be made in ${folder}`);
  } finally {
    dataKey?.fill(0);
  }
}

/**
 * Writes rows and header. The lock of `new/` is held from before the look for a store until the header is there, so that
 * of two processes that make one, one sees what the other has made.
 * @returns false when there is a store
 */
async function makeRows(
  folder: string,
  header: Header,
  sealer: Sealer,
  fill: Fill | undefined,
): Promise<boolean> {
  const db = await openNew(folder);
  try {
    // What is in `new/` may be the database of this store, which a process that was stopped has not put in place.
    if (await hasStore(folder)) return false;
    let isMade = false;
    try {
      await beginDb(db, header.id, sealer);
      const disk = new LevelDisk(db, sealer);
      await fill?.((rows) => disk.write(rows));
      await syncFolder(db.location);
      isMade = await addHeader(folder, header);
    } finally {
      if (!isMade) await rm(db.location, { recursive: true, force: true }).catch(() => undefined);
    }
    return isMade;
  } finally {
    await closeDb(db);
  }
}
