/**
 * Backup: one encrypted file with all of an account that may be brought up elsewhere (see `kept-tables.ts`, and
 * `volatile-tags.ts` for messages).
 *
 * One scan is one moment: what is committed meanwhile is not in it, and nobody has to wait. The file grows under another
 * name and is renamed when it is whole and on the medium.
 */
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Aci } from '../address.ts';
import { fromUtf8, toHex, toUtf8 } from '../bytes.ts';
import { BotError, describe } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { isMissing, syncFolder } from '../store/files.ts';
import type { ScryptParameters } from '../store/header.ts';
import { SCRYPT } from '../store/secret.ts';
import type { Store } from '../store/store.ts';
import { account as accountCell } from '../store/tables.ts';
import { ChunkWriter } from './chunks.ts';
import { encodeHeader, MAGIC, newHeader } from './header.ts';
import { isKept } from './kept-tables.ts';
import { newKey } from './key.ts';
import { encodeRow } from './rows.ts';
import { isVolatile, volatileTags } from './volatile-tags.ts';

/** What a backup is of. */
export interface Backup {
  /** As it was given. */
  readonly file: string;
  /** ms since 1970 */
  readonly createdAt: number;
  readonly aci: Aci;
  /** What plugins have to say of a backup of theirs, each a sentence or two; absent where they have nothing to say. */
  readonly notes?: readonly string[];
}

export interface BackupParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Of the file; it has nothing to do with the store's. */
  readonly passphrase: string;
  /** Cost of the passphrase's key; tests take less. */
  readonly scrypt?: ScryptParameters;
}

const FILE_MODE = 0o600;
/** Row of a plugin's state: what the operator is told who backs it up, as text. */
const NOTE = /^state\/[^/]+\/backup-note$/;

/**
 * Writes a backup. A file of that name is replaced only if it is a backup.
 * @throws BotError `NOT_LINKED`; `PASSPHRASE_NEEDED` it is empty; `USAGE` there is another file of that name;
 *   `BACKUP_FAILED`; those of the store; the signal's reason
 */
export async function writeBackup(file: string, parts: BackupParts, signal: AbortSignal): Promise<Backup> {
  const { store, platform, passphrase, scrypt = SCRYPT } = parts;
  const row = await accountCell.get(store.batch());
  if (row === undefined) throw new BotError('NOT_LINKED', 'there is no account to back up');
  await checkReplaces(file);
  const { key, ...locked } = await newKey(passphrase, scrypt, platform.random);
  const notes: string[] = [];
  const draft = `${file}.${toHex(platform.random.bytes(4))}.part`;
  try {
    const createdAt = platform.clock.now();
    const rows = store.scan('');
    const header = encodeHeader(newHeader({ createdAt, aci: row.aci, ...locked }));
    const handle = await open(draft, 'wx', FILE_MODE);
    try {
      await handle.chmod(FILE_MODE);
      await handle.writeFile(header);
      const chunks = new ChunkWriter({ key, header }, (bytes) => handle.writeFile(bytes));
      const tags = await volatileTags(store);
      for await (const [name, value] of rows) {
        signal.throwIfAborted();
        if (NOTE.test(name)) notes.push(toUtf8(value));
        if (isKept(name) && !(await isVolatile(tags, name, value)))
          await chunks.push(encodeRow([name, value]));
      }
      await chunks.end();
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
    await syncFolder(dirname(file));
    return { file, createdAt, aci: row.aci, ...(notes.length > 0 && { notes }) };
  } catch (cause) {
    await rm(draft, { force: true });
    signal.throwIfAborted();
    if (cause instanceof BotError) throw cause;
    throw new BotError('BACKUP_FAILED', `the backup could not be written to ${file}: ${describe(cause)}`, {
      cause,
    });
  } finally {
    key.fill(0);
  }
}

/** A slip must not put a backup in place of something else. @throws BotError `USAGE` */
async function checkReplaces(file: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (cause) {
    if (isMissing(cause)) return;
    throw new BotError('BACKUP_FAILED', `the backup cannot be written to ${file}`, { cause });
  }
  try {
    const start = Buffer.alloc(MAGIC.length);
    const { bytesRead } = await handle.read(start, 0, start.length, 0);
    if (bytesRead === start.length && start.equals(fromUtf8(MAGIC))) return;
  } catch (cause) {
    throw new BotError('BACKUP_FAILED', `the backup cannot be written to ${file}`, { cause }); // a folder
  } finally {
    await handle.close();
  }
  throw new BotError('USAGE', `${file} exists and is not a backup`, { next: 'Give another file name.' });
}
