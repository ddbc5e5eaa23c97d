/**
 * Header: `countersign.json`, the one file beside the database. It says which format the store has, which folder holds
 * the rows, and how the data key is wrapped. It is replaced in one step, and that step is what makes a new store, a new
 * passphrase or a migration take effect.
 *
 * A check sum tells a damaged header from a wrong passphrase.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BotError } from '../errors.ts';
import { addFile, isMissing, replaceFile } from './files.ts';

/** The format that this version writes. Format 1: values are not bound to their keys. */
export const FORMAT = 2;
export const HEADER_FILE = 'countersign.json';

const MAX_SCRYPT_BYTES = 512 * 1024 * 1024;
const base64 = z.base64().max(256);

export const scryptParameters = z
  .strictObject({
    /** Cost, a power of two. */
    n: z.int().min(2).max(0x1000000),
    r: z.int().min(1).max(64),
    p: z.int().min(1).max(64),
  })
  .refine(({ n, r, p }) => (n & (n - 1)) === 0 && 128 * r * (n + p) <= MAX_SCRYPT_BYTES);

const protection = z.discriminatedUnion('kind', [
  /** `wrapped`: nonce 12 | encrypted data key 32 | tag 16. */
  z.strictObject({ kind: z.literal('passphrase'), scrypt: scryptParameters, salt: base64, wrapped: base64 }),
  z.strictObject({ kind: z.literal('key-file'), salt: base64, wrapped: base64 }),
  z.strictObject({ kind: z.literal('plain') }),
]);

const header = z.strictObject({
  format: z.int().min(1).max(FORMAT),
  /** 16 bytes in hex; also in the database, so that a header and a database that do not belong together are noticed. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  /** The folder of the rows. */
  db: z.string().regex(/^db(-[0-9]{1,9})?$/),
  protection,
  /** The folder of rows in which a closing was noted: from then on the note must be there (closing.ts). */
  closed: z
    .string()
    .regex(/^db(-[0-9]{1,9})?$/)
    .optional(),
  /** A migration that is under way: where from, and the folder that the copy is in. */
  migration: z
    .strictObject({ from: z.int().min(1), backup: z.string().regex(/^backup-format-[0-9]+-[0-9]+$/) })
    .optional(),
});

export type ScryptParameters = z.infer<typeof scryptParameters>;
export type Protection = z.infer<typeof protection>;
export type Header = z.infer<typeof header>;

/**
 * Reads the header of a store.
 * @returns undefined when there is none
 * @throws BotError `STORE_DAMAGED`; `STORE_NEWER`
 */
export async function readHeader(folder: string): Promise<Header | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, HEADER_FILE), 'utf8');
  } catch (cause) {
    if (isMissing(cause) || (cause as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw new BotError('STORE_DAMAGED', `${HEADER_FILE} cannot be read`, { cause });
  }
  return parseHeader(text);
}

/** @throws BotError `STORE_DAMAGED`; `STORE_NEWER` */
export function parseHeader(text: string): Header {
  const { check, ...rest } = parseObject(text);
  if (typeof rest['format'] === 'number' && rest['format'] > FORMAT) {
    throw new BotError(
      'STORE_NEWER',
      `the store has format ${String(rest['format'])}, this version knows up to ${String(FORMAT)}`,
    );
  }
  const parsed = header.safeParse(rest);
  if (!parsed.success || check !== checkOf(rest)) throw damagedHeader();
  return parsed.data;
}

/** The text of a header file. */
export function formatHeader(value: Header): string {
  return `${JSON.stringify({ ...value, check: checkOf(value) }, undefined, 2)}\n`;
}

/** Puts a header in place of the one that is there, in one step. */
export async function writeHeader(folder: string, value: Header): Promise<void> {
  await replaceFile(join(folder, HEADER_FILE), formatHeader(value));
}

/** Writes the header of a new store. @returns false when there is a header: another process has made a store */
export async function addHeader(folder: string, value: Header): Promise<boolean> {
  return addFile(join(folder, HEADER_FILE), formatHeader(value));
}

/** SHA-256 over the fields in the order in which they stand. */
function checkOf(fields: object): string {
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 32);
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (cause) {
    throw damagedHeader(cause);
  }
  throw damagedHeader();
}

function damagedHeader(cause?: unknown): BotError {
  return new BotError('STORE_DAMAGED', `${HEADER_FILE} is not what was written`, { cause });
}
