import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { walkLog } from '../../src/store/log-walk.ts';
import { readManifest } from '../../src/store/manifest.ts';
import { checkTable } from '../../src/store/table-check.ts';
import { writeLog } from '../support/level-log.ts';
import { openOrMake, PLAIN, tempFolder } from '../support/store-folder.ts';
import { write } from '../support/store-rows.ts';

const RUNS = { numRuns: Number(process.env['FUZZ_RUNS'] ?? 2000) };
/** In the footer of a table: places, filler, magic. */
const FOOTER = 48;

let folder: Awaited<ReturnType<typeof tempFolder>>;
let table: Buffer;
let manifest: Buffer;

beforeAll(async () => {
  folder = await tempFolder();
  for (let i = 0; i < 2; i++) {
    const store = await openOrMake(folder.data, PLAIN);
    const rows = Array.from({ length: 200 }, (_, row) => [`row/${String(row)}`, 'value '.repeat(row % 9)]);
    await write(store, Object.fromEntries(rows) as Record<string, string>);
    await store.close();
  }
  const db = join(folder.data, 'db');
  const read = (pattern: RegExp): Buffer =>
    readFileSync(
      join(
        db,
        readdirSync(db)
          .filter((name) => pattern.test(name))
          .sort()
          .at(-1) ?? '',
      ),
    );
  [table, manifest] = [read(/\.ldb$/), read(/^MANIFEST/)];
});
afterAll(() => folder.remove());

/** One bit of a copy turned over. */
function flipped(bytes: Buffer, place: number, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(place * bytes.length);
  copy.writeUInt8(copy.readUInt8(at) ^ (1 << bit), at);
  return copy;
}

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const bit = fc.nat(7);

describe('the files of the database', () => {
  it('give no record of a log that was not written, and show where one is missing', () => {
    const sizes = fc.array(fc.oneof(fc.nat(300), fc.nat(70_000)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, place, bit, fc.boolean(), (lengths, where, which, cut) => {
        const records = lengths.map((length, i) => Buffer.alloc(length, i + 1));
        const whole = writeLog(records);
        const at = Math.floor(where * whole.length);
        const file = cut ? whole.subarray(0, at) : flipped(whole, where, which);
        const found: Buffer[] = [];
        const fault = walkLog(file, (record) => found.push(Buffer.from(record)));
        expect(found).toEqual(records.slice(0, found.length));
        if (cut) expect(fault?.goesOn ?? false).toBe(false);
        else if (fault === undefined) expect(found).toEqual(records);
        else expect(fault.goesOn).toBe(found.length + 1 < records.length);
        if (fault === undefined) return;
        const filler = fault.at - writeLog(records.slice(0, found.length)).length;
        expect(filler >= 0 && filler < 7).toBe(true);
      }),
      { ...RUNS, numRuns: Math.ceil(RUNS.numRuns / 10) },
    );
  });

  it('show every bit of a table that turned over', () => {
    expect(checkTable(table)).toBe('intact');
    fc.assert(
      fc.property(place, bit, (where, which) => {
        const at = Math.floor(where * table.length);
        const damaged = flipped(table, where, which);
        if (at < table.length - FOOTER) expect(checkTable(damaged)).toBe('damaged');
        else expect(['damaged', 'intact']).toContain(checkTable(damaged)); // the footer has filler
      }),
      RUNS,
    );
  });

  it('may be anything at all', () => {
    const anything = fc.uint8Array({ maxLength: 400 });
    fc.assert(
      fc.property(anything, fc.array(anything, { maxLength: 3 }), place, (bytes, records, where) => {
        walkLog(bytes, () => undefined);
        readManifest(bytes);
        readManifest(writeLog(records));
        readManifest(manifest.subarray(0, Math.floor(where * manifest.length)));
        expect(checkTable(bytes)).toBe('damaged');
        expect(checkTable(Buffer.concat([bytes, table.subarray(-FOOTER)]))).toBe('damaged');
        expect(checkTable(Buffer.concat([table.subarray(0, -FOOTER), bytes, table.subarray(-8)]))).toBe(
          'damaged',
        );
      }),
      RUNS,
    );
  });
});
