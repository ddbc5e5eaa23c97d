/**
 * Table: typed rows over a batch, under keys of text parts with slashes between them.
 *
 * Numbers in keys have a fixed width, so that key order is number order. A table's own name comes first in its keys.
 */
import { decodeProto, fromUtf8, own, toUtf8, type Bytes, type Decodable } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { onceRead, type Reading } from './reading.ts';
import type { ScanOptions, Staging, Store } from './store.ts';

const WIDTH = 16;
/** A number for a key: 16 decimal digits, so that order in text is order in number. */
export function padded(value: number): string {
  return String(value).padStart(WIDTH, '0');
}

/** A single row. */
export interface Cell<T> {
  get(batch: Staging): Reading<T | undefined>;
  put(batch: Staging, value: T): void;
  delete(batch: Staging): void;
}

/** Rows that `K` names. */
export interface Table<K extends readonly unknown[], T> {
  /** Of the row that `key` names, or the beginning of several. */
  key(...key: Partial<K>): string;
  get(batch: Staging, ...key: K): Reading<T | undefined>;
  put(batch: Staging, ...keyThenValue: [...K, T]): void;
  delete(batch: Staging, ...key: K): void;
  /** All rows whose key begins with these parts, in order; the first of the pair is the last key part or parts. */
  scan(
    store: Store,
    prefix?: Partial<K>,
    options?: ScanOptions,
  ): AsyncIterable<readonly [rest: string, value: T]>;
}

/** A row's value as bytes and back. */
export interface Codec<T> {
  encode(value: T): Bytes;
  decode(bytes: Bytes): T;
}

/** Rows that are read for every message are parsed once as long as the store hands out the same bytes. */
export function json<T>(): Codec<T> {
  const parsed = new WeakMap<Bytes, { readonly value: T }>();
  return {
    encode: (value) => fromUtf8(JSON.stringify(value)),
    decode: (bytes) => {
      const known = parsed.get(bytes);
      if (known !== undefined) return known.value;
      try {
        const value = JSON.parse(toUtf8(bytes)) as T;
        parsed.set(bytes, { value });
        return value;
      } catch (cause) {
        throw new BotError('STORE_DAMAGED', 'a row of the store is not readable', { cause });
      }
    },
  };
}

interface ProtoType<P> extends Decodable<P> {
  encode(message: object): { finish(): Uint8Array };
}

export function proto<T extends object, P>(
  type: ProtoType<P>,
  what: string,
  read: (message: P) => T,
): Codec<T> {
  return {
    encode: (value) => own(type.encode(value).finish()),
    decode: (bytes) => {
      try {
        return read(decodeProto(type, bytes, what));
      } catch (cause) {
        throw new BotError('STORE_DAMAGED', `${what} of the store is not readable`, { cause });
      }
    },
  };
}

function read<T>(batch: Staging, key: string, codec: Codec<T>): Reading<T | undefined> {
  return onceRead(batch.get(key), (bytes) => (bytes === undefined ? undefined : codec.decode(bytes)));
}

export function cell<T>(key: string, codec: Codec<T>): Cell<T> {
  return {
    get: (batch) => read(batch, key, codec),
    put: (batch, value) => {
      batch.put(key, codec.encode(value));
    },
    delete: (batch) => {
      batch.delete(key);
    },
  };
}

export function table<K extends readonly (string | number)[], T>(
  name: string,
  parts: number,
  codec: Codec<T>,
): Table<K, T> {
  // Keys are made many times for every message: a loop costs a quarter of map and join.
  const keyOf = (...key: Partial<K>): string => {
    let text = `${name}/`;
    for (let i = 0; i < key.length; i++) {
      const part = key[i];
      text += typeof part === 'number' ? padded(part) : String(part);
      if (i < parts - 1) text += '/';
    }
    return text;
  };
  return {
    key: keyOf,
    get: (batch, ...key) => read(batch, keyOf(...key), codec),
    put: (batch, ...keyThenValue) => {
      const key = keyThenValue.slice(0, parts) as unknown as K;
      batch.put(keyOf(...key), codec.encode(keyThenValue[parts] as T));
    },
    delete: (batch, ...key) => {
      batch.delete(keyOf(...key));
    },
    async *scan(store, prefix, options) {
      const start = keyOf(...((prefix ?? []) as Partial<K>));
      const scan: ScanOptions = { ...options };
      if (options?.after !== undefined) scan.after = start + options.after;
      for await (const [key, bytes] of store.scan(start, scan))
        yield [key.slice(start.length), codec.decode(bytes)] as const;
    },
  };
}
