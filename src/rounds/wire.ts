/**
 * Wire: the fields of frames and rows of a ceremony, big-endian, in fixed order. `lv` is a length of 2 bytes and that
 * many bytes, `lv4` the same with 4.
 *
 * A reader that meets a field it cannot take throws; so a decoder that has come to its end has read a whole record.
 */
import { concat, copy, fromUtf8, toUtf8, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';

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

/** @throws RangeError above 65,535 bytes */
export function lv(bytes: Uint8Array): Bytes {
  if (bytes.length > 0xffff) throw new RangeError('a field is longer than its length can say');
  return concat(u16(bytes.length), bytes);
}

export function lv4(bytes: Uint8Array): Bytes {
  return concat(u32(bytes.length), bytes);
}

/** UTF-8 as `lv`. */
export function text(value: string): Bytes {
  return lv(fromUtf8(value));
}

export class Reader {
  readonly #bytes: Bytes;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = copy(bytes);
  }

  /** A view. @throws BotError `CONTENT_INVALID` when there are not so many */
  bytes(length: number): Bytes {
    const start = this.#at;
    if (start + length > this.#bytes.length) throw invalid('a record of a ceremony is too short');
    this.#at = start + length;
    return this.#bytes.subarray(start, this.#at);
  }

  u8(): number {
    return this.bytes(1)[0] ?? 0;
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8();
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  lv(): Bytes {
    return this.bytes(this.u16());
  }

  lv4(): Bytes {
    return this.bytes(this.u32());
  }

  text(): string {
    return toUtf8(this.lv());
  }

  /** So many of them, each read by `read`. */
  list<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, read);
  }

  /** @throws BotError `CONTENT_INVALID` when bytes are left */
  end(): void {
    if (this.#at !== this.#bytes.length) throw invalid('a record of a ceremony is too long');
  }
}

export function invalid(message: string): BotError {
  return new BotError('CONTENT_INVALID', message);
}
