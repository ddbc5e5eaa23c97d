/**
 * Rows of a backup, one after the other in key order: key length (u32, big-endian) | value length (u32) | key (UTF-8) | value.
 */
import { concat, fromUtf8, toUtf8, type Bytes } from '../bytes.ts';
import { damaged } from './header.ts';

export type Row = readonly [key: string, value: Bytes];

const LENGTHS_BYTES = 8;
/** No row of ours comes near; a wrong length must not make us gather the whole file. */
const MAX_KEY_BYTES = 1024 * 1024;
const MAX_VALUE_BYTES = 256 * 1024 * 1024;

export function encodeRow([key, value]: Row): Bytes {
  const keyBytes = fromUtf8(key);
  const lengths = Buffer.alloc(LENGTHS_BYTES);
  lengths.writeUInt32BE(keyBytes.length, 0);
  lengths.writeUInt32BE(value.length, 4);
  return concat(lengths, keyBytes, value);
}

/**
 * The rows in a stream that is cut anywhere.
 * @throws BotError `BACKUP_DAMAGED` a length is impossible, a key is not UTF-8, or the stream ends within a row
 */
export async function* decodeRows(chunks: AsyncIterable<Bytes>): AsyncGenerator<Row> {
  const queue = new ByteQueue();
  for await (const chunk of chunks) {
    queue.push(chunk);
    for (let row = takeRow(queue); row !== undefined; row = takeRow(queue)) yield row;
  }
  if (queue.length > 0) throw damaged('the backup ends within a row');
}

function takeRow(queue: ByteQueue): Row | undefined {
  const lengths = queue.peek(LENGTHS_BYTES);
  if (lengths === undefined) return undefined;
  const view = new DataView(lengths.buffer, lengths.byteOffset, LENGTHS_BYTES);
  const [keyLength, valueLength] = [view.getUint32(0), view.getUint32(4)];
  if (keyLength > MAX_KEY_BYTES || valueLength > MAX_VALUE_BYTES) {
    throw damaged('a row of the backup has an impossible length');
  }
  const whole = LENGTHS_BYTES + keyLength + valueLength;
  const row = queue.peek(whole);
  if (row === undefined) return undefined;
  queue.drop(whole);
  const key = row.subarray(LENGTHS_BYTES, LENGTHS_BYTES + keyLength);
  try {
    return [toUtf8(key), row.slice(LENGTHS_BYTES + keyLength)];
  } catch (cause) {
    throw damaged('a key of the backup is not text', cause);
  }
}

/** Bytes that came in pieces; they are put together only when there are enough. */
class ByteQueue {
  #pieces: Bytes[] = [];
  length = 0;

  push(bytes: Bytes): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.length += bytes.length;
  }

  /** The first `count` bytes; undefined while there are fewer. */
  peek(count: number): Bytes | undefined {
    if (this.length < count) return undefined;
    const [first] = this.#pieces;
    if (first !== undefined && first.length >= count) return first.subarray(0, count);
    const all = concat(...this.#pieces);
    this.#pieces = [all];
    return all.subarray(0, count);
  }

  /** Bytes that `peek` has shown. */
  drop(count: number): void {
    const [first, ...rest] = this.#pieces;
    const left = first?.subarray(count);
    this.#pieces = left === undefined || left.length === 0 ? rest : [left, ...rest];
    this.length -= count;
  }
}
