/**
 * Create: a new store in a folder that has none. The header is the last thing written, so a store exists whole or not
 * at all.
 */
import { stat } from 'node:fs/promises';
import { toHex } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import { asWriteFailure, makeFolder } from './files.ts';
import { finishDb, makeDb, placeDb } from './folder.ts';
import { FORMAT, writeHeader, type Header, type ScryptParameters } from './header.ts';
import { LevelDisk } from './level-disk.ts';
import type { Pending } from './scan.ts';
import { newDataKey, protect, sealerOf, type Secret } from './secret.ts';

const ID_SIZE = 16;

/** A path that is a file is no damaged store. @throws BotError `STORE_WRITE_FAILED` */
export async function checkPlace(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found === undefined || found.isDirectory()) return;
  throw new BotError('STORE_WRITE_FAILED', `${folder} is a file`, {
    next: 'Name a folder, or a place where one can be made.',
  });
}

/** Writes the first rows of a store; what it rejects with ends the making. */
export type Fill = (write: (rows: Pending) => Promise<void>) => Promise<void>;

/**
 * @param fill rows that the store has from the beginning
 * @throws BotError `PASSPHRASE_NEEDED`; `STORE_LOCKED`; `STORE_WRITE_FAILED`; what `fill` throws
 */
export async function makeStore(
  folder: string,
  secret: Secret | undefined,
  parts: { random: Random; scrypt: ScryptParameters },
  fill?: Fill,
): Promise<void> {
  if (secret === undefined)
    throw new BotError('PASSPHRASE_NEEDED', 'a new store needs a passphrase or a key file');
  await checkPlace(folder);
  const id = toHex(parts.random.bytes(ID_SIZE));
  const dataKey = newDataKey(secret, parts.random);
  const header: Header = {
    format: FORMAT,
    id,
    db: 'db',
    protection: await protect(dataKey, secret, id, parts),
  };
  try {
    await makeFolder(folder);
    const sealer = sealerOf(dataKey, parts.random);
    const db = await makeDb(folder, id, sealer);
    try {
      const disk = new LevelDisk(db, sealer);
      await fill?.((rows) => disk.write(rows));
    } finally {
      await finishDb(db);
    }
    await writeHeader(folder, header);
    await placeDb(folder, header);
  } catch (cause) {
    throw asWriteFailure(cause, `no store could be made in ${folder}`);
  } finally {
    dataKey?.fill(0);
  }
}
