/**
 * Table check: a LevelDB table (`*.ldb`) read from end to end, with every check sum.
 *
 * A table is blocks one behind the other, then a footer: place of the metaindex (of filters) | place of the index (of
 * data), filled up to 40 bytes | magic 8 LE. A place is offset and size, as varints. A block is contents | compression 1 |
 * masked CRC-32C of both 4 LE; its size does not count these 5. Contents of an index: entries | restart offsets 4 LE each |
 * their number 4 LE; an entry: sizes of what the key shares with the one before, of its end, and of the value, as
 * varints | end of the key | value, which is the place of a block.
 *
 * LevelDB checks none of these sums when it reads a row. A bit that turned in the filter or in an index makes rows seem
 * absent, and nothing else would show it.
 */
import { Reader } from 'protobufjs/minimal.js';
import { maskedCrc32c } from './crc32c.ts';

const FOOTER = 48;
const MAGIC = 0xdb4775248b80fb57n;
const TRAILER = 5;
const UNCOMPRESSED = 0;

interface Place {
  readonly offset: number;
  readonly size: number;
}

/**
 * - `intact`: every byte is accounted for
 * - `unread`: what could be read is intact, but an index is compressed, as versions before the first release wrote them
 */
export type TableState = 'intact' | 'unread' | 'damaged';

export function checkTable(file: Uint8Array): TableState {
  try {
    const end = file.length - FOOTER;
    if (end < 0 || viewOf(file).getBigUint64(file.length - 8, true) !== MAGIC) return 'damaged';
    const footer = Reader.create(file.subarray(end));
    const indexes = [readPlace(footer), readPlace(footer)];
    const places = [...indexes];
    for (const index of indexes) {
      const { contents, compression } = readBlock(file, index);
      if (compression !== UNCOMPRESSED) return 'unread';
      places.push(...readIndex(contents));
    }
    return covers(file, places, end) ? 'intact' : 'damaged';
  } catch {
    return 'damaged'; // what reads places has no error of its own kind
  }
}

/** Whether the blocks are intact and stand one behind the other, from the beginning to `end`. */
function covers(file: Uint8Array, places: readonly Place[], end: number): boolean {
  let position = 0;
  for (const place of [...places].sort((a, b) => a.offset - b.offset)) {
    if (place.offset !== position) return false;
    readBlock(file, place);
    position += place.size + TRAILER;
  }
  return position === end;
}

/** @throws RangeError when the block is not what was written */
function readBlock(
  file: Uint8Array,
  { offset, size }: Place,
): { contents: Uint8Array; compression: number | undefined } {
  const block = file.subarray(offset, offset + size + TRAILER);
  if (block.length !== size + TRAILER) throw new RangeError('a block beyond the end');
  if (maskedCrc32c(block.subarray(0, size + 1)) !== viewOf(block).getUint32(size + 1, true))
    throw new RangeError('a wrong check sum');
  return { contents: block.subarray(0, size), compression: block[size] };
}

/** The places that an index names. @throws RangeError */
function readIndex(contents: Uint8Array): Place[] {
  const view = viewOf(contents);
  const restarts = view.getUint32(contents.length - 4, true);
  const entries = Reader.create(contents.subarray(0, contents.length - 4 - 4 * restarts));
  const places: Place[] = [];
  while (entries.pos < entries.len) {
    entries.uint32(); // bytes of the key shared with the one before
    const unshared = entries.uint32();
    const size = entries.uint32();
    entries.skip(unshared);
    const end = entries.pos + size;
    places.push(readPlace(entries));
    if (entries.pos !== end) throw new RangeError('an entry of another length');
  }
  return places;
}

function readPlace(reader: Reader): Place {
  return { offset: Number(reader.uint64()), size: Number(reader.uint64()) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
