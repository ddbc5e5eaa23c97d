/**
 * Reader: a backup opened with its passphrase, gone through once before anything is done with it.
 */
import { isBotError } from '../errors.ts';
import type { Staging } from '../store/store.ts';
import { account as accountCell } from '../store/tables.ts';
import { readChunks, type ChunkKey, type Source } from './chunks.ts';
import { damaged, decodeHeader, MAX_HEADER_BYTES, type BackupHeader } from './header.ts';
import { keyOf } from './key.ts';
import { decodeRows, type Row } from './rows.ts';

export interface BackupReader {
  readonly header: BackupHeader;
  /** All rows, in key order. @throws BotError `BACKUP_DAMAGED` the file has been changed since it was opened */
  rows(): AsyncIterable<Row>;
  /** Overwrites the key. */
  close(): void;
}

/** What can be known without the passphrase. @throws BotError `BACKUP_DAMAGED`, `BACKUP_NEWER` */
export async function readBackupHeader(source: Source): Promise<BackupHeader> {
  return (await headerOf(source)).header;
}

/**
 * Opens a backup and reads it to its end: it is whole, in order, and nothing in it was written by anybody else.
 * @throws BotError `PASSPHRASE_NEEDED` it is empty; `PASSPHRASE_WRONG`; `BACKUP_DAMAGED`; `BACKUP_NEWER`
 */
export async function openBackup(source: Source, passphrase: string): Promise<BackupReader> {
  const { header, bytes } = await headerOf(source);
  const key: ChunkKey = { key: await keyOf(header, passphrase), header: bytes };
  const rows = (): AsyncIterable<Row> => decodeRows(readChunks(source, bytes.length, key));
  try {
    let isAccount = false;
    for await (const row of rows()) isAccount ||= await isAccountOf(row, header);
    if (!isAccount) throw damaged('the account that the backup names is not in it');
  } catch (error) {
    key.key.fill(0);
    throw error;
  }
  return {
    header,
    rows,
    close: () => {
      key.key.fill(0);
    },
  };
}

async function headerOf(source: Source): Promise<ReturnType<typeof decodeHeader>> {
  return decodeHeader(await source.read(0, Math.min(source.size, MAX_HEADER_BYTES)));
}

async function isAccountOf([key, value]: Row, header: BackupHeader): Promise<boolean> {
  const only: Staging = {
    get: (name) => Promise.resolve(name === key ? value : undefined),
    put: () => undefined,
    delete: () => undefined,
  };
  try {
    return (await accountCell.get(only))?.aci === header.aci;
  } catch (cause) {
    if (isBotError(cause, 'STORE_DAMAGED')) throw damaged('the account row is not readable', cause);
    throw cause;
  }
}
