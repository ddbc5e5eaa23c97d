/**
 * Backup file: what stands where.
 *
 *   countersign backup \n
 *   {"format","store","createdAt","aci","scrypt","salt","proof","check"} \n    one line of JSON
 *   chunk, chunk, ... last chunk                                               see `chunks.ts`; in them the rows, see `rows.ts`
 *
 * The two lines can be read by anybody, and are bound to every chunk. The key is scrypt (RFC 7914) of the passphrase and
 * of a salt of this file alone. `proof` tells a wrong passphrase, and `check`, a sum over the other fields, that it is not
 * the header that is damaged.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { isAci, type Aci } from '../address.ts';
import { fromUtf8, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { FORMAT as STORE_FORMAT, scryptParameters, type ScryptParameters } from '../store/header.ts';

/** The format that this version writes. */
const FORMAT = 1;
export const MAGIC = 'countersign backup\n';
/** Both lines together are not longer. */
export const MAX_HEADER_BYTES = 2048;
export const SALT_BYTES = 32;

const schema = z.strictObject({
  format: z.int().min(1).max(FORMAT),
  /** Format of the store whose rows these are. */
  store: z.int().min(1).max(STORE_FORMAT),
  /** ms */
  createdAt: z.int().min(0),
  aci: z.string().refine((text): text is Aci => isAci(text)),
  scrypt: scryptParameters,
  salt: z.base64().length(44),
  proof: z.base64().length(24),
});

export interface BackupHeader {
  readonly format: number;
  readonly store: number;
  /** ms since 1970: the backup holds what was committed until then. */
  readonly createdAt: number;
  readonly aci: Aci;
  readonly scrypt: ScryptParameters;
  /** Base64, 32 bytes. */
  readonly salt: string;
  /** Base64, 16 bytes: an empty chunk under the file's key. */
  readonly proof: string;
}

/** A header as it was read, with its bytes: they are bound to each chunk. */
export interface ReadHeader {
  readonly header: BackupHeader;
  readonly bytes: Bytes;
}

export function newHeader(parts: Omit<BackupHeader, 'format' | 'store'>): BackupHeader {
  return { format: FORMAT, store: STORE_FORMAT, ...parts };
}

export function encodeHeader(header: BackupHeader): Bytes {
  const { format, store, createdAt, aci, scrypt, salt, proof } = header;
  const fields = { format, store, createdAt, aci, scrypt, salt, proof };
  return fromUtf8(`${MAGIC}${JSON.stringify({ ...fields, check: checkOf(fields) })}\n`);
}

/**
 * Reads the two lines at the beginning of `start`, what follows them is ignored.
 * @throws BotError `BACKUP_DAMAGED`, `BACKUP_NEWER`
 */
export function decodeHeader(start: Bytes): ReadHeader {
  const text = Buffer.from(start.subarray(0, MAX_HEADER_BYTES)).toString('latin1');
  const end = text.indexOf('\n', MAGIC.length);
  if (!text.startsWith(MAGIC)) throw damaged('this is not a backup');
  if (end < 0) throw damaged('the header of the backup is cut');
  const { check, ...fields } = parseObject(text.slice(MAGIC.length, end));
  if (isAbove(fields['format'], FORMAT) || isAbove(fields['store'], STORE_FORMAT)) {
    throw new BotError('BACKUP_NEWER', 'the backup has a format that this version does not know');
  }
  const parsed = schema.safeParse(fields);
  if (!parsed.success || check !== checkOf(fields)) throw damaged('the header is not what was written');
  return { header: parsed.data, bytes: start.slice(0, end + 1) };
}

export function damaged(message: string, cause?: unknown): BotError {
  return new BotError('BACKUP_DAMAGED', message, { cause });
}

function isAbove(value: unknown, known: number): boolean {
  return typeof value === 'number' && value > known;
}

/** SHA-256 over the fields in the order in which they stand. */
function checkOf(fields: object): string {
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 32);
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch (cause) {
    throw damaged('the header is not what was written', cause);
  }
  throw damaged('the header is not what was written');
}
