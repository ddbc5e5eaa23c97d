/**
 * Seal: a value as it stands on disk. The first byte names the layout.
 *
 *   0 | value                                      a plain store, as versions before the first release wrote it
 *   1 | nonce 12 | ciphertext | tag 16             format 1: AES-256-GCM, nothing else authenticated
 *   2 | nonce 12 | ciphertext | tag 16             AES-256-GCM with the row's key (UTF-8) as associated data
 *   3 | check 4 | value                            a plain store: CRC-32C of the row's key (UTF-8) and the value, LE
 *
 * The check of layout 3 tells of damage, and of nothing that somebody does on purpose.
 *
 * Nonces are random. With 96 bits, at most 2^32 values may be sealed under one data key (NIST SP 800-38D, 8.3): a
 * thousand messages a second for about two weeks without a pause, and years at a bot's pace.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import { crc32c, crc32cOfText } from './crc32c.ts';

/** Turns values into what is stored under a key, and back. */
export interface Sealer {
  seal(key: string, value: Bytes): Uint8Array;
  /** @throws BotError `STORE_DAMAGED` naming the key */
  open(key: string, sealed: Bytes): Bytes;
}

const LAYOUT_UNCHECKED = 0;
const LAYOUT_UNBOUND = 1;
const LAYOUT_BOUND = 2;
const LAYOUT_CHECKED = 3;
const CHECKED_HEADER = 5;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const CIPHER = 'aes-256-gcm';
const NONCES_AT_ONCE = 256;

/** Values as they are, behind the layout byte and a check. */
export const plainSealer: Sealer = {
  seal: (key, value) => {
    const sealed = Buffer.allocUnsafe(CHECKED_HEADER + value.length);
    sealed[0] = LAYOUT_CHECKED;
    sealed.writeUInt32LE(checkOf(key, value), 1);
    sealed.set(value, CHECKED_HEADER);
    return sealed;
  },
  open: (key, sealed) => {
    if (sealed[0] === LAYOUT_UNCHECKED) return behind(sealed, 1);
    if (sealed[0] !== LAYOUT_CHECKED || sealed.length < CHECKED_HEADER) throw damaged(key);
    const value = behind(sealed, CHECKED_HEADER);
    const check = new DataView(sealed.buffer, sealed.byteOffset).getUint32(1, true);
    if (check !== checkOf(key, value)) throw damaged(key);
    return value;
  },
};

/** A view; LevelDB gives buffers, and values are no more than bytes. */
function behind(sealed: Bytes, header: number): Bytes {
  return new Uint8Array(sealed.buffer, sealed.byteOffset + header, sealed.length - header);
}

function checkOf(key: string, value: Uint8Array): number {
  return crc32c(value, crc32cOfText(key));
}

/** AES-256-GCM under one data key of 32 bytes. */
export class AesSealer implements Sealer {
  readonly #key: KeyObject;
  readonly #random: Random;
  #nonces: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(dataKey: Uint8Array, random: Random) {
    this.#key = createSecretKey(dataKey);
    this.#random = random;
  }

  seal(key: string, value: Bytes): Uint8Array {
    const nonce = this.#nonce();
    const cipher = createCipheriv(CIPHER, this.#key, nonce);
    cipher.setAAD(Buffer.from(key));
    const ciphertext = cipher.update(value);
    cipher.final();
    const sealed = Buffer.allocUnsafe(1 + NONCE_SIZE + value.length + TAG_SIZE);
    sealed[0] = LAYOUT_BOUND;
    sealed.set(nonce, 1);
    sealed.set(ciphertext, 1 + NONCE_SIZE);
    sealed.set(cipher.getAuthTag(), 1 + NONCE_SIZE + value.length);
    return sealed;
  }

  open(key: string, sealed: Bytes): Bytes {
    if (sealed[0] !== LAYOUT_BOUND) throw damaged(key);
    return this.#decrypt(key, sealed);
  }

  /** A value of format 1, or one that is already in today's layout. Only the migration reads it so. */
  openOld(key: string, sealed: Bytes): Bytes {
    return sealed[0] === LAYOUT_UNBOUND ? this.#decrypt(key, sealed) : this.open(key, sealed);
  }

  #decrypt(key: string, sealed: Bytes): Bytes {
    const end = sealed.length - TAG_SIZE;
    if (end < 1 + NONCE_SIZE) throw damaged(key);
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, sealed.subarray(1, 1 + NONCE_SIZE), {
        authTagLength: TAG_SIZE,
      });
      if (sealed[0] === LAYOUT_BOUND) decipher.setAAD(Buffer.from(key));
      decipher.setAuthTag(sealed.subarray(end));
      const value = decipher.update(sealed.subarray(1 + NONCE_SIZE, end));
      decipher.final();
      return new Uint8Array(value.buffer, value.byteOffset, value.length);
    } catch (cause) {
      throw damaged(key, cause);
    }
  }

  #nonce(): Uint8Array {
    if (this.#position === this.#nonces.length) {
      this.#nonces = this.#random.bytes(NONCES_AT_ONCE * NONCE_SIZE);
      this.#position = 0;
    }
    const nonce = this.#nonces.subarray(this.#position, this.#position + NONCE_SIZE);
    this.#position += NONCE_SIZE;
    return nonce;
  }
}

function damaged(key: string, cause?: unknown): BotError {
  return new BotError('STORE_DAMAGED', `a row of the store is not what was written: ${key}`, { cause });
}
