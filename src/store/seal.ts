/**
 * Seal: a value as it stands on disk. The first byte names the layout.
 *
 *   0 | value                                      a plain store
 *   1 | nonce 12 | ciphertext | tag 16             format 1: AES-256-GCM, nothing else authenticated
 *   2 | nonce 12 | ciphertext | tag 16             AES-256-GCM with the row's key (UTF-8) as associated data
 *
 * Nonces are random. With 96 bits, at most 2^32 values may be sealed under one data key (NIST SP 800-38D, 8.3): a
 * thousand messages a second for about two weeks without a pause, and years at a bot's pace.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';

/** Turns values into what is stored under a key, and back. */
export interface Sealer {
  seal(key: string, value: Bytes): Uint8Array;
  /** @throws BotError `STORE_DAMAGED` naming the key */
  open(key: string, sealed: Bytes): Bytes;
}

const LAYOUT_PLAIN = 0;
const LAYOUT_UNBOUND = 1;
const LAYOUT_BOUND = 2;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const CIPHER = 'aes-256-gcm';
const NONCES_AT_ONCE = 256;

/** Values as they are, behind the layout byte. */
export const plainSealer: Sealer = {
  seal: (_key, value) => {
    const sealed = Buffer.allocUnsafe(1 + value.length);
    sealed[0] = LAYOUT_PLAIN;
    sealed.set(value, 1);
    return sealed;
  },
  open: (key, sealed) => {
    if (sealed[0] !== LAYOUT_PLAIN) throw damaged(key);
    return new Uint8Array(sealed.buffer, sealed.byteOffset + 1, sealed.length - 1);
  },
};

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
