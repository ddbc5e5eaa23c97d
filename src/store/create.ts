/**
 * Create: a new store in a folder that has none. The header is the last thing written, so a store exists whole or not
 * at all.
 */
import { toHex } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import { asWriteFailure, makeFolder } from './files.ts';
import { finishDb, makeDb, placeDb } from './folder.ts';
import { FORMAT, writeHeader, type Header, type ScryptParameters } from './header.ts';
import { newDataKey, protect, sealerOf, type Secret } from './secret.ts';

const ID_SIZE = 16;

/** @throws BotError `PASSPHRASE_NEEDED`; `STORE_LOCKED`; `STORE_WRITE_FAILED` */
export async function makeStore(
  folder: string,
  secret: Secret | undefined,
  parts: { random: Random; scrypt: ScryptParameters },
): Promise<void> {
  if (secret === undefined)
    throw new BotError('PASSPHRASE_NEEDED', 'a new store needs a passphrase or a key file');
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
    await finishDb(await makeDb(folder, id, sealerOf(dataKey, parts.random)));
    await writeHeader(folder, header);
    await placeDb(folder, header);
  } catch (cause) {
    throw asWriteFailure(cause, `no store could be made in ${folder}`);
  } finally {
    dataKey?.fill(0);
  }
}
