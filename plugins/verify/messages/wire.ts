/**
 * Wire: fixed-order fields, big-endian, as frames, payloads and rows write them. `lv` is a 2-byte length and that many
 * bytes, `lv4` the same with 4.
 *
 * A reader that meets a field it cannot take is spent: what it gives from then on means nothing, and `isDone` is false.
 * So a decoder reads all its fields, and asks once, at the end. Bytes that are read are views.
 * Spec: verification brief, section 3.2.
 */
import { concatBytes } from '@noble/curves/utils.js';
import type { Bytes } from '../../../src/index.ts';

/** The last time that JavaScript can tell, in ms since 1970. */
const MAX_TIME = 8_640_000_000_000_000;
const NONE: Bytes = new Uint8Array(0);

export function concat(...parts: readonly Uint8Array[]): Bytes {
  return concatBytes(...parts);
}

/** Of public bytes: takes a time that depends on them. */
export function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return compare(a, b) === 0;
}

/** The order of byte strings, as that of service ids is defined. @returns below 0, 0, above 0 */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function u8(value: number): Bytes {
  return Uint8Array.of(value);
}

export function u16(value: number): Bytes {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

export function u32(value: number): Bytes {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** ms since 1970, 8 bytes. */
export function time(ms: number): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(ms));
  return bytes;
}

/** @throws RangeError above 65,535 bytes */
export function lv(bytes: Uint8Array): Bytes {
  if (bytes.length > 0xffff) throw new RangeError('a field is longer than its length can say');
  return concat(u16(bytes.length), bytes);
}

export function lv4(bytes: Uint8Array): Bytes {
  return concat(u32(bytes.length), bytes);
}

export class Reader {
  readonly #bytes: Bytes;
  readonly #view: DataView;
  #at = 0;
  #isSpent = false;

  constructor(bytes: Uint8Array) {
    // One copy, so that nothing read from it changes with the caller's buffer, or keeps a larger one alive.
    this.#bytes = new Uint8Array(bytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** All bytes were read, and each field was one that the format knows. */
  get isDone(): boolean {
    return !this.#isSpent && this.#at === this.#bytes.length;
  }

  get isSpent(): boolean {
    return this.#isSpent;
  }

  /** Refuses what the caller found to be wrong. */
  require(condition: boolean): void {
    if (!condition) this.#isSpent = true;
  }

  bytes(length: number): Bytes {
    const start = this.#at;
    if (this.#isSpent || start + length > this.#bytes.length) {
      this.#isSpent = true;
      return NONE;
    }
    this.#at = start + length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** The bytes ahead, as many of these as there are, without reading them. */
  peek(length: number): Bytes {
    return this.#bytes.subarray(this.#at, this.#at + length);
  }

  u8(): number {
    return this.bytes(1)[0] ?? 0;
  }

  u16(): number {
    const start = this.#at;
    return this.bytes(2).length === 0 ? 0 : this.#view.getUint16(start);
  }

  u32(): number {
    const start = this.#at;
    return this.bytes(4).length === 0 ? 0 : this.#view.getUint32(start);
  }

  /** ms since 1970, up to the last time that there is. */
  time(): number {
    const start = this.#at;
    if (this.bytes(8).length === 0) return 0;
    const value = this.#view.getBigUint64(start);
    this.require(value <= BigInt(MAX_TIME));
    return this.#isSpent ? 0 : Number(value);
  }

  /** A byte that is one of these. */
  oneOf<T extends number>(...known: readonly [T, ...T[]]): T {
    const value = this.u8();
    const found = known.find((one) => one === value);
    this.require(found !== undefined);
    return found ?? known[0];
  }

  /** @param length what the field must have; any where absent */
  lv(length?: number): Bytes {
    const actual = this.u16();
    this.require(length === undefined || actual === length);
    return this.bytes(actual);
  }

  lv4(): Bytes {
    return this.bytes(this.u32());
  }
}
