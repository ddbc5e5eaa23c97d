/**
 * Rekey: another passphrase or key file for a store that exists, or plain made protected and the reverse.
 *
 * Between passphrase and key file only the wrapping of the data key changes: one header in place of another. To and
 * from plain every value is written anew, into a second database; the header that names it is the one step that counts.
 * A store that was plain may leave traces on the medium: files are removed, not overwritten.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemPlatform, type Platform } from '../platform.ts';
import { copyRows } from './copy.ts';
import { asWriteFailure } from './files.ts';
import { finishDb, isCurrent, makeDb, openFolder, placeDb, type OpenFolder } from './folder.ts';
import { writeHeader, type Header, type ScryptParameters } from './header.ts';
import { closeDb } from './level-disk.ts';
import { migrate } from './migrate.ts';
import { newDataKey, protect, SCRYPT, sealerOf, type Secret } from './secret.ts';

export interface RekeyOptions {
  readonly platform?: Platform;
  readonly scrypt?: ScryptParameters;
  /** Told before each step that writes; a test ends the process there. */
  readonly onStep?: (step: string) => void;
}

/**
 * Changes what unlocks the store in `folder`. Stopped in the middle, the store opens with the old secret or with the
 * new one, and has all its rows.
 * @throws BotError `NOT_LINKED`; `PASSPHRASE_NEEDED`; `PASSPHRASE_WRONG` (of `old`); `STORE_LOCKED`; `STORE_DAMAGED`;
 *   `STORE_NEWER`; `STORE_WRITE_FAILED`
 */
export async function rekey(
  folder: string,
  old: Secret,
  next: Secret,
  options: RekeyOptions = {},
): Promise<void> {
  const platform = options.platform ?? systemPlatform();
  let opened = await openFolder(folder, old, platform.random);
  try {
    if (!isCurrent(opened.header)) opened = await migrate(opened, platform);
    await change(opened, next, platform, options);
  } catch (cause) {
    throw asWriteFailure(cause, 'the protection of the store could not be changed');
  } finally {
    // A migration that failed may have left half a write in the log.
    await (isCurrent(opened.header) ? closeDb(opened.db) : opened.db.close());
    opened.dataKey?.fill(0);
  }
}

async function change(
  opened: OpenFolder,
  next: Secret,
  platform: Platform,
  options: RekeyOptions,
): Promise<void> {
  const { folder, header, db } = opened;
  const { random } = platform;
  const step = options.onStep ?? (() => undefined);
  const parts = { random, scrypt: options.scrypt ?? SCRYPT };
  if (opened.dataKey === undefined && next.kind === 'plain') return;

  if (opened.dataKey !== undefined && next.kind !== 'plain') {
    const protection = await protect(opened.dataKey, next, header.id, parts);
    step('header');
    await writeHeader(folder, { ...header, protection });
    return;
  }

  const dataKey = newDataKey(next, random);
  const protection = await protect(dataKey, next, header.id, parts);
  const changed: Header = { ...header, db: nextName(header.db), protection };
  const sealer = sealerOf(dataKey, random);
  step('make');
  const made = await makeDb(folder, header.id, sealer);
  try {
    step('copy');
    await copyRows({ db, sealer: sealerOf(opened.dataKey, random) }, { db: made, sealer });
  } finally {
    await finishDb(made);
  }
  step('header');
  await writeHeader(folder, changed);
  step('place');
  await placeDb(folder, changed);
  step('remove');
  await db.close();
  await rm(join(folder, header.db), { recursive: true, force: true });
}

/** db, db-2, db-3 ... */
function nextName(name: string): string {
  const number = Number(name.split('-')[1] ?? 1);
  return `db-${String(number + 1)}`;
}
