/**
 * Level store: the store contract on LevelDB, encrypted at rest.
 *
 *   DIR/countersign.json        header: format, protection, which folder holds the rows
 *   DIR/db/                     LevelDB: keys as text, values sealed; `closed.json`: what it had when it was closed
 *   DIR/new/                    a database that is being made; nothing counts on it before the header names it
 *   DIR/backup-format-1-TIME/   the store as it was before a migration
 *
 * The folder that the header names is the store. A database without a header, or a header without its database, is
 * damage: nothing is made in its place.
 */
import { systemPlatform, type Platform } from '../platform.ts';
import { makeStore } from './create.ts';
import { asWriteFailure } from './files.ts';
import { hasDatabase, headerLost, isCurrent, notLinked, openFolder } from './folder.ts';
import { readHeader, type Protection, type ScryptParameters } from './header.ts';
import { LevelDisk } from './level-disk.ts';
import { migrate } from './migrate.ts';
import { OverlayStore } from './overlay.ts';
import { SCRYPT, sealerOf, type Secret } from './secret.ts';
import type { Store } from './store.ts';

export { rekey } from './rekey.ts';
export type { Secret } from './secret.ts';

export interface LevelOptions {
  /** Undefined where none is at hand; a plain store needs none. */
  readonly secret: Secret | undefined;
  /** Makes a store where there is none. */
  readonly create?: boolean;
  readonly platform?: Platform;
  /** Cost of a new passphrase's key; tests take less. */
  readonly scrypt?: ScryptParameters;
  /** Bytes of opened values that are kept for reading again. */
  readonly cacheBytes?: number;
}

export interface StoreInfo {
  readonly exists: boolean;
  readonly protection?: Protection['kind'];
  readonly format?: number;
}

const CACHE_BYTES = 512 * 1024;

/**
 * Opens one account's store. An older format is migrated in place, after a copy.
 * @throws BotError `NOT_LINKED` there is no store and `create` was not asked for; `PASSPHRASE_NEEDED`;
 *   `PASSPHRASE_WRONG`; `STORE_LOCKED`; `STORE_DAMAGED`; `STORE_NEWER`; `STORE_WRITE_FAILED`
 */
export async function openLevel(folder: string, options: LevelOptions): Promise<Store> {
  const platform = options.platform ?? systemPlatform();
  if ((await readHeader(folder)) === undefined) {
    if (await hasDatabase(folder)) throw headerLost();
    if (options.create !== true) throw notLinked(folder);
    await makeStore(folder, options.secret, { random: platform.random, scrypt: options.scrypt ?? SCRYPT });
  }
  const opened = await openFolder(folder, options.secret, platform.random);
  try {
    if (!isCurrent(opened.header)) await migrate(opened, platform);
    const disk = new LevelDisk(opened.db, sealerOf(opened.dataKey, platform.random));
    return new OverlayStore(disk, { cacheBytes: options.cacheBytes ?? CACHE_BYTES, pause: nextTurn });
  } catch (cause) {
    await opened.db.close();
    throw asWriteFailure(cause, 'the store could not be migrated');
  } finally {
    opened.dataKey?.fill(0);
  }
}

/** Resolves in the next turn of the event loop. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * What can be known of a store without opening it.
 * @throws BotError `STORE_DAMAGED`; `STORE_NEWER`
 */
export async function storeInfo(folder: string): Promise<StoreInfo> {
  const header = await readHeader(folder);
  if (header !== undefined)
    return { exists: true, protection: header.protection.kind, format: header.format };
  if (await hasDatabase(folder)) throw headerLost();
  return { exists: false };
}
