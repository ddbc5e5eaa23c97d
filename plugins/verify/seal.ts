/**
 * Sealing of payloads: ciphertext | tag.
 *
 * AES-256-CTR with a counter that starts at zero, then HMAC-SHA-256 over `len8(head) | head | ciphertext`, 32 bytes. It
 * commits: no ciphertext is valid under two keys. Each key seals one message, so the fixed start is safe, and a seal
 * refuses to be used twice (V-10). The plaintext is padded with 80, 00... to the next multiple of 256 bytes.
 * The cipher is WebCrypto's, which a bot and a page both have.
 * Spec: verification brief, section 3.5.
 */
import type { Bytes } from '../../src/index.ts';
import { mac } from './keys.ts';
import { concat } from './messages/wire.ts';

/** Compares in constant time; lengths are not secret. */
export type IsEqual = (a: Uint8Array, b: Uint8Array) => boolean;

const BLOCK = 256;
const TAG_BYTES = 32;
const KEY_BYTES = 32;
const COUNTER_BYTES = 16;
const PADDING = 0x80;

/** One key for one message, in one direction. */
export class Seal {
  readonly #keys: Bytes;
  readonly #isEqual: IsEqual;
  #isUsed = false;

  /** @param keys 64 bytes, cipher key | MAC key; overwritten when used */
  constructor(keys: Bytes, isEqual: IsEqual) {
    if (keys.length !== 2 * KEY_BYTES) throw new RangeError('the keys of a seal are 64 bytes');
    this.#keys = keys;
    this.#isEqual = isEqual;
  }

  /**
   * @param head what is authenticated with it
   * @throws Error when it was used before
   */
  async seal(head: Uint8Array, plaintext: Uint8Array): Promise<Bytes> {
    const { cipherKey, macKey } = this.#use();
    const ciphertext = await crypt(cipherKey, pad(plaintext));
    const sealed = concat(ciphertext, tag(macKey, head, ciphertext));
    macKey.fill(0);
    return sealed;
  }

  /**
   * @returns undefined when it was not sealed so: other keys, another head, other padding, one bit changed
   * @throws Error when it was used before
   */
  async open(head: Uint8Array, sealed: Uint8Array): Promise<Bytes | undefined> {
    const { cipherKey, macKey } = this.#use();
    const length = sealed.length - TAG_BYTES;
    const ciphertext = sealed.subarray(0, Math.max(0, length));
    const isSealed = length > 0 && this.#isEqual(tag(macKey, head, ciphertext), sealed.subarray(length));
    macKey.fill(0);
    return isSealed ? unpad(await crypt(cipherKey, ciphertext)) : undefined;
  }

  #use(): { cipherKey: Bytes; macKey: Bytes } {
    if (this.#isUsed) throw new Error('a seal is used once');
    this.#isUsed = true;
    const cipherKey = this.#keys.slice(0, KEY_BYTES);
    const macKey = this.#keys.slice(KEY_BYTES);
    this.#keys.fill(0);
    return { cipherKey, macKey };
  }
}

/** To the next multiple of 256 bytes; always adds at least one. */
export function pad(plaintext: Uint8Array): Bytes {
  const padded = new Uint8Array((Math.floor(plaintext.length / BLOCK) + 1) * BLOCK);
  padded.set(plaintext);
  padded[plaintext.length] = PADDING;
  return padded;
}

/** @returns a view; undefined when the padding is not the one that `pad` adds */
export function unpad(padded: Bytes): Bytes | undefined {
  const length = padded.findLastIndex((byte) => byte !== 0);
  const isPadded = padded[length] === PADDING && padded.length === (Math.floor(length / BLOCK) + 1) * BLOCK;
  return isPadded ? padded.subarray(0, length) : undefined;
}

function tag(key: Uint8Array, head: Uint8Array, ciphertext: Uint8Array): Bytes {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setUint32(4, head.length);
  return mac(key, concat(length, head, ciphertext));
}

/** Seals and opens alike. Overwrites the key. */
async function crypt(key: Bytes, data: Uint8Array): Promise<Bytes> {
  const { subtle } = globalThis.crypto;
  const imported = await subtle.importKey('raw', key, 'AES-CTR', false, ['encrypt']);
  key.fill(0);
  const counter = new Uint8Array(COUNTER_BYTES);
  return new Uint8Array(
    await subtle.encrypt({ name: 'AES-CTR', counter, length: 128 }, imported, new Uint8Array(data)),
  );
}
