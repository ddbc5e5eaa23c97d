/**
 * Bytes: the encodings that the wire and the store use, and comparison in constant time.
 */
import { timingSafeEqual } from 'node:crypto';
import { Reader } from 'protobufjs/minimal.js';
import { BotError } from './errors.ts';

/** Bytes backed by a plain buffer of their own, as libsignal takes them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A 64-bit integer as the generated code hands it out. */
export interface Long64 {
  readonly low: number;
  readonly high: number;
}

/** A generated protobuf class, as far as reading needs it. */
export interface Decodable<T> {
  decode(reader: Reader | Uint8Array, length?: number): T;
}

export const EMPTY: Bytes = new Uint8Array(0);

const ENCODER = new TextEncoder();
const UTF8 = new TextDecoder('utf-8', { fatal: true });
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Standard alphabet, padded. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/**
 * Standard alphabet, padding optional (servers leave it out at times).
 * @throws BotError `CONTENT_INVALID` on any other character
 */
export function fromBase64(text: string): Bytes {
  if (!BASE64.test(text)) throw new BotError('CONTENT_INVALID', 'this is not base64');
  return copy(Buffer.from(text, 'base64'));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** @throws BotError `CONTENT_INVALID` when the text is not pairs of hex digits */
export function fromHex(text: string): Bytes {
  if (!/^([0-9a-fA-F]{2})*$/.test(text)) throw new BotError('CONTENT_INVALID', 'this is not hex');
  return copy(Buffer.from(text, 'hex'));
}

export function fromUtf8(text: string): Bytes {
  return ENCODER.encode(text);
}

/** @throws BotError `CONTENT_INVALID` when the bytes are not UTF-8 */
export function toUtf8(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    throw new BotError('CONTENT_INVALID', 'these bytes are not UTF-8', { cause });
  }
}

/** A copy in a buffer of its own: what came from a pool or a larger frame must not be kept alive by a view. */
export function copy(bytes: Uint8Array): Bytes {
  return new Uint8Array(bytes);
}

/** The same bytes typed for libsignal; copies only where the view's buffer is shared memory. */
export function own(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Bytes) : copy(bytes);
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  return copy(Buffer.concat(parts));
}

/** Compares in constant time; lengths are not secret. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** An unsigned 64-bit integer without loss. */
export function toBigInt(value: Long64 | number): bigint {
  if (typeof value === 'number') return BigInt(value);
  return (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0);
}

/** The inverse of `toBigInt`, in the shape the generated code encodes. */
export function fromBigInt(value: bigint): Long64 & { unsigned: boolean } {
  return {
    low: Number(BigInt.asIntN(32, value)),
    high: Number(BigInt.asIntN(32, value >> 32n)),
    unsigned: true,
  };
}

/**
 * A time in ms since 1970 out of a 64-bit field.
 * @throws BotError `CONTENT_INVALID` above 8,640,000,000,000,000, the last time a server takes (5.1)
 */
export function toTime(value: Long64 | number): number {
  const time = typeof value === 'number' ? value : (value.high >>> 0) * 0x1_0000_0000 + (value.low >>> 0);
  if (!Number.isSafeInteger(time) || time < 0 || time > 8_640_000_000_000_000) {
    throw new BotError('CONTENT_INVALID', 'a timestamp is out of range');
  }
  return time;
}

/**
 * Reads one protobuf message and keeps the fields it does not know, so that they survive being written again.
 * @param what names the message in the error
 * @throws BotError `CONTENT_INVALID`
 */
export function decodeProto<T>(type: Decodable<T>, bytes: Uint8Array, what: string): T {
  try {
    const reader = Reader.create(bytes);
    reader.discardUnknown = false;
    return type.decode(reader);
  } catch (cause) {
    throw new BotError('CONTENT_INVALID', `${what} is not well-formed`, { cause });
  }
}
