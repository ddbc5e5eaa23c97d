/** LevelDB's log format, written: what `walkLog` reads. */
import { maskedCrc32c } from '../../src/store/crc32c.ts';

const BLOCK = 32 * 1024;
const HEADER = 7;

/** The records one behind the other, in fragments where a block ends. */
export function writeLog(records: readonly Uint8Array[]): Buffer {
  const parts: Buffer[] = [];
  let position = 0;
  const add = (bytes: Buffer): void => {
    parts.push(bytes);
    position += bytes.length;
  };
  for (const record of records) {
    let done = 0;
    let begins = true;
    do {
      const room = BLOCK - (position % BLOCK);
      if (room < HEADER) add(Buffer.alloc(room));
      const data = record.subarray(done, done + BLOCK - (position % BLOCK) - HEADER);
      done += data.length;
      const ends = done === record.length;
      const fragment = Buffer.concat([Buffer.alloc(HEADER), data]);
      fragment.writeUInt16LE(data.length, 4);
      fragment.writeUInt8(begins ? (ends ? 1 : 2) : ends ? 4 : 3, 6);
      fragment.writeUInt32LE(maskedCrc32c(fragment.subarray(6)), 0);
      add(fragment);
      begins = false;
    } while (done < record.length);
  }
  return Buffer.concat(parts);
}
