/**
 * Secret: from what the operator holds (a passphrase, a key file) to the data key that seals the rows.
 *
 * The data key is random and never changes with the secret; it is wrapped with AES-256-GCM under a key that scrypt
 * (RFC 7914) makes of the passphrase, or HKDF-SHA-256 (RFC 5869) of the key file.
 */
import { createCipheriv, createDecipheriv, hkdfSync, scrypt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fromBase64, toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import type { Protection, ScryptParameters } from './header.ts';
import { AesSealer, plainSealer, type Sealer } from './seal.ts';

/** What unlocks a store. `plain`: its values are not encrypted. */
export type Secret =
  | { readonly kind: 'passphrase'; readonly passphrase: string }
  /** A file with at least 32 random bytes, as they are or in base64. */
  | { readonly kind: 'key-file'; readonly file: string }
  | { readonly kind: 'plain' };

/** About half a second and 128 MiB. */
export const SCRYPT: ScryptParameters = { n: 2 ** 17, r: 8, p: 1 };

const KEY_SIZE = 32;
const SALT_SIZE = 16;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const INFO = 'countersign store key file';
const CIPHER = 'aes-256-gcm';

/** A new data key, or none for a plain store. */
export function newDataKey(secret: Secret, random: Random): Uint8Array | undefined {
  return secret.kind === 'plain' ? undefined : random.bytes(KEY_SIZE);
}

export function sealerOf(dataKey: Uint8Array | undefined, random: Random): Sealer {
  return dataKey === undefined ? plainSealer : new AesSealer(dataKey, random);
}

/**
 * Wraps a data key for a header.
 * @param id of the store; bound to the wrapping
 * @throws BotError `PASSPHRASE_NEEDED` the passphrase is empty, or the key file cannot be used
 */
export async function protect(
  dataKey: Uint8Array | undefined,
  secret: Secret,
  id: string,
  parts: { random: Random; scrypt: ScryptParameters },
): Promise<Protection> {
  if (secret.kind === 'plain' || dataKey === undefined) return { kind: 'plain' };
  const salt = parts.random.bytes(SALT_SIZE);
  if (secret.kind === 'key-file') {
    const key = await keyFileKey(secret.file, salt);
    return { kind: 'key-file', salt: toBase64(salt), wrapped: wrap(dataKey, key, id, parts.random) };
  }
  const key = await passphraseKey(secret.passphrase, salt, parts.scrypt);
  return {
    kind: 'passphrase',
    scrypt: parts.scrypt,
    salt: toBase64(salt),
    wrapped: wrap(dataKey, key, id, parts.random),
  };
}

/**
 * The data key of a store; undefined for a plain one, whatever secret is given.
 * @throws BotError `PASSPHRASE_NEEDED`; `PASSPHRASE_WRONG`
 */
export async function unlock(
  protection: Protection,
  secret: Secret | undefined,
  id: string,
): Promise<Uint8Array | undefined> {
  if (protection.kind === 'plain') return undefined;
  if (secret?.kind !== protection.kind) {
    const what = protection.kind === 'passphrase' ? 'a passphrase' : 'a key file';
    throw new BotError('PASSPHRASE_NEEDED', `this store is protected by ${what}`);
  }
  const salt = fromBase64(protection.salt);
  if (secret.kind === 'key-file') return unwrap(protection.wrapped, await keyFileKey(secret.file, salt), id);
  const parameters = protection.kind === 'passphrase' ? protection.scrypt : SCRYPT;
  return unwrap(protection.wrapped, await passphraseKey(secret.passphrase, salt, parameters), id);
}

/**
 * 32 bytes.
 * @throws BotError `PASSPHRASE_NEEDED` it is empty
 */
export async function passphraseKey(
  passphrase: string,
  salt: Uint8Array,
  { n, r, p }: ScryptParameters,
): Promise<Uint8Array> {
  if (passphrase === '') throw new BotError('PASSPHRASE_NEEDED', 'the passphrase is empty');
  const maxmem = 128 * r * (n + p + 2);
  return new Promise((resolve, reject) => {
    // The same passphrase typed on another system may be composed differently.
    scrypt(passphrase.normalize('NFC'), salt, KEY_SIZE, { N: n, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

async function keyFileKey(file: string, salt: Uint8Array): Promise<Uint8Array> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw unusableKeyFile('cannot be read', cause);
  }
  const text = bytes.toString('latin1').trim();
  const decoded = /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : undefined;
  const secret = decoded !== undefined && decoded.length >= KEY_SIZE ? decoded : bytes;
  if (secret.length < KEY_SIZE) throw unusableKeyFile('holds less than 32 bytes');
  return new Uint8Array(hkdfSync('sha256', secret, salt, INFO, KEY_SIZE));
}

function unusableKeyFile(why: string, cause?: unknown): BotError {
  return new BotError('PASSPHRASE_NEEDED', `the key file ${why}`, {
    cause,
    next: 'Give a readable file with at least 32 random bytes: head -c 32 /dev/urandom | base64 > FILE',
  });
}

/** Spends `key`. Layout: nonce 12 | ciphertext 32 | tag 16, in base64. */
function wrap(dataKey: Uint8Array, key: Uint8Array, id: string, random: Random): string {
  const nonce = random.bytes(NONCE_SIZE);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(id));
  const ciphertext = Buffer.concat([cipher.update(dataKey), cipher.final()]);
  key.fill(0);
  return toBase64(Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]));
}

/** Spends `key`. */
function unwrap(wrapped: string, key: Uint8Array, id: string): Uint8Array {
  const bytes = fromBase64(wrapped);
  if (bytes.length !== NONCE_SIZE + KEY_SIZE + TAG_SIZE) {
    throw new BotError('STORE_DAMAGED', 'the wrapped key of the store has a wrong length');
  }
  const end = NONCE_SIZE + KEY_SIZE;
  try {
    const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_SIZE), {
      authTagLength: TAG_SIZE,
    });
    decipher.setAAD(Buffer.from(id)).setAuthTag(bytes.subarray(end));
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_SIZE, end)), decipher.final()]);
  } catch (cause) {
    throw new BotError('PASSPHRASE_WRONG', 'the passphrase or key file does not open this store', { cause });
  } finally {
    key.fill(0);
  }
}
