import { describe, expect, it } from 'vitest';
import { walkLog, type LogFault } from '../../src/store/log-walk.ts';
import { writeLog } from '../support/level-log.ts';

const BLOCK = 32 * 1024;

/** Bytes that look like nothing else in a log. */
function record(size: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + seed) % 251));
}

function walk(file: Uint8Array): { sizes: number[]; fault: LogFault | undefined } {
  const sizes: number[] = [];
  const fault = walkLog(file, (found) => sizes.push(found.length));
  return { sizes, fault };
}

describe('a log', () => {
  it.each([
    ['nothing', []],
    ['short records', [1, 20, 300]],
    ['records over several blocks', [10, 100_000, 32_761, 5]],
    ['a block that is filled to its end', [BLOCK - 7, 12]],
    ['a block with filler at its end', [BLOCK - 7 - 6, 12]],
    ['a block with room for a header alone', [BLOCK - 7 - 7, 12]],
    ['an empty record', [0, 3]],
  ])('is read whole: %s', (_, sizes) => {
    const records = sizes.map((size, i) => record(size, i));
    const found: Buffer[] = [];
    expect(walkLog(writeLog(records), (one) => found.push(Buffer.from(one)))).toBeUndefined();
    expect(found).toEqual(records);
  });

  it('that is cut only lacks its last record, wherever that was', () => {
    const whole = writeLog([record(40_000, 1), record(40_000, 2)]);
    const first = 40_000 + 14;
    for (const length of [whole.length - 1, whole.length - 20_000, first + 3, first + 7 + 1]) {
      expect(walk(whole.subarray(0, length))).toEqual({
        sizes: [40_000],
        fault: { at: first, goesOn: false },
      });
    }
    expect(walk(whole.subarray(0, first))).toEqual({ sizes: [40_000], fault: undefined });
  });

  it('that is damaged goes on behind that, in the same block and in later ones', () => {
    const near = writeLog([record(100, 1), record(100, 2), record(100, 3)]);
    near.writeUInt8(0xff, 107 + 50);
    expect(walk(near)).toEqual({ sizes: [100], fault: { at: 107, goesOn: true } });
    const length = writeLog([record(100, 1), record(100, 2), record(100, 3)]);
    length.writeUInt16LE(30_000, 107 + 4);
    expect(walk(length).fault).toEqual({ at: 107, goesOn: true });
    const far = writeLog([record(60_000, 1), record(20_000, 2)]);
    far.writeUInt8(far.readUInt8(10) ^ 1, 10);
    expect(walk(far)).toEqual({ sizes: [], fault: { at: 0, goesOn: true } });
  });

  it('goes on where a record that has no end is followed by another', () => {
    const [first, next] = [writeLog([record(BLOCK, 1)]).subarray(0, BLOCK), writeLog([record(10, 2)])];
    expect(walk(Buffer.concat([first, next]))).toEqual({ sizes: [], fault: { at: 0, goesOn: true } });
  });

  it('does not go on with the rest of a record', () => {
    const file = writeLog([record(10, 0), record(3 * BLOCK, 1)]);
    file.writeUInt8(0xff, 40);
    expect(walk(file)).toEqual({ sizes: [10], fault: { at: 17, goesOn: false } });
    const rest = writeLog([record(2 * BLOCK, 1)]).subarray(BLOCK);
    expect(walk(rest)).toEqual({ sizes: [], fault: { at: 0, goesOn: false } });
  });

  it('may end in zeros', () => {
    const file = Buffer.concat([writeLog([record(10, 0)]), Buffer.alloc(100_000)]);
    expect(walk(file)).toEqual({ sizes: [10], fault: { at: 17, goesOn: false } });
  });
});
