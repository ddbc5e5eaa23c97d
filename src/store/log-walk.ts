/**
 * Log walk: LevelDB's log format, of which its manifests are made too, read with every check sum.
 *
 * Blocks of 32 KiB, the last one shorter. In a block, fragments: masked CRC-32C of type and data 4 LE | length 2 LE |
 * type 1 | data. A record is one fragment (full), or a first, any number of middle ones and a last. Less than a
 * fragment's header at the end of a block is filler.
 *
 * LevelDB itself skips what is damaged and goes on behind it. Here it is told apart whether a log only lacks its end, as
 * after a process or a machine stopped in the middle of a write, or whether something is wrong before its end.
 */
import { maskedCrc32c } from './crc32c.ts';

const BLOCK = 32 * 1024;
const HEADER = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

export interface LogFault {
  /** Where the record begins that is not whole. */
  readonly at: number;
  /** An intact record begins behind it, so this is no end that was torn off. */
  readonly goesOn: boolean;
}

interface Fragment {
  readonly ends: boolean;
  readonly data: Uint8Array;
  /** Offset behind it. */
  readonly end: number;
}

/**
 * Reads the records up to the first that is not whole.
 * @param onRecord gets views on the file where a record is one fragment
 * @returns undefined when all of the file is whole
 */
export function walkLog(file: Uint8Array, onRecord: (record: Uint8Array) => void): LogFault | undefined {
  let position = 0;
  let begin = 0;
  let parts: Uint8Array[] = [];
  while (position < file.length) {
    const room = roomAt(position);
    if (room < HEADER) {
      position += room;
      continue;
    }
    if (parts.length === 0) begin = position;
    const fragment = readFragment(file, position, parts.length === 0);
    if (fragment === undefined) return { at: begin, goesOn: hasBeginning(file, position) };
    parts.push(fragment.data);
    position = fragment.end;
    if (!fragment.ends) continue;
    onRecord(parts.length === 1 ? fragment.data : Buffer.concat(parts));
    parts = [];
  }
  return parts.length === 0 ? undefined : { at: begin, goesOn: false };
}

/** Bytes from `offset` to the end of its block. */
function roomAt(offset: number): number {
  return BLOCK - (offset % BLOCK);
}

/** @returns undefined when it is not intact, or does not begin a record where it should, or the reverse */
function readFragment(file: Uint8Array, offset: number, begins: boolean): Fragment | undefined {
  const room = Math.min(roomAt(offset), file.length - offset);
  if (room < HEADER) return undefined;
  const view = new DataView(file.buffer, file.byteOffset + offset, room);
  const type = view.getUint8(6);
  const size = HEADER + view.getUint16(4, true);
  if (type < FULL || type > LAST || type <= FIRST !== begins || size > room) return undefined;
  if (maskedCrc32c(file.subarray(offset + 6, offset + size)) !== view.getUint32(0, true)) return undefined;
  return {
    ends: type === FULL || type === LAST,
    data: file.subarray(offset + HEADER, offset + size),
    end: offset + size,
  };
}

/** Whether a record begins at `from` or behind it. A length may be what is damaged, so every offset is tried. */
function hasBeginning(file: Uint8Array, from: number): boolean {
  for (let offset = from; offset + HEADER <= file.length; offset++) {
    if (readFragment(file, offset, true) !== undefined) return true;
  }
  return false;
}
