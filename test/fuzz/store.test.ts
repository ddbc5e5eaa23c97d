import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NEXT } from '../../src/errors.ts';
import { fromUtf8, toUtf8 } from '../../src/bytes.ts';
import { formatHeader, parseHeader, readHeader, type Header } from '../../src/store/header.ts';
import { compareKeys } from '../../src/store/keys.ts';
import { MemoryDisk, openMemory } from '../../src/store/memory.ts';
import { AesSealer, plainSealer } from '../../src/store/seal.ts';
import type { Batch, Store } from '../../src/store/store.ts';
import { systemPlatform } from '../../src/platform.ts';
import { openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);

/** The code that `act` ends with; anything without one fails the test. */
function codeOf(act: () => unknown): string {
  try {
    act();
    return 'none';
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    if (!(code in NEXT)) throw error;
    return code;
  }
}

const HEADER: Header = { format: 2, id: 'ab'.repeat(16), db: 'db', protection: { kind: 'plain' } };

describe('headers', () => {
  it('of any text end in a code', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (text) => {
        expect(['STORE_DAMAGED', 'STORE_NEWER']).toContain(codeOf(() => parseHeader(text)));
      }),
      { numRuns },
    );
  });

  it('with fields of any value end in a code', () => {
    const field = fc.constantFrom('format', 'id', 'db', 'protection', 'migration', '__proto__', 'other');
    fc.assert(
      fc.property(fc.dictionary(field, fc.jsonValue()), (fields) => {
        const text = formatHeader({ ...HEADER, ...(fields as object) });
        const code = codeOf(() => parseHeader(text));
        expect(['STORE_DAMAGED', 'STORE_NEWER', 'none']).toContain(code);
      }),
      { numRuns },
    );
  });

  it('with any bytes in the file end in a code', async () => {
    const folder = await tempFolder();
    await mkdir(folder.data);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await writeFile(join(folder.data, 'countersign.json'), bytes);
        await expect(readHeader(folder.data)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
      }),
      { numRuns: Math.min(numRuns, 2000) },
    );
    await folder.remove();
  });
});

describe('sealed values', () => {
  const aes = new AesSealer(new Uint8Array(32).fill(9), systemPlatform().random);

  it('of any bytes end in a code', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.uint8Array({ maxLength: 80 }),
        fc.integer({ min: 0, max: 3 }),
        (key, bytes, layout) => {
          const sealed = new Uint8Array([layout, ...bytes]);
          expect(codeOf(() => aes.open(key, sealed))).toBe('STORE_DAMAGED');
          expect(codeOf(() => aes.openOld(key, sealed))).toBe('STORE_DAMAGED');
          expect(codeOf(() => plainSealer.open(key, sealed))).toBe(layout === 0 ? 'none' : 'STORE_DAMAGED');
        },
      ),
      { numRuns },
    );
  });

  it('come back as they were, under their own key only', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.uint8Array({ maxLength: 300 }), (key, other, bytes) => {
        const value = new Uint8Array(bytes);
        const sealed = new Uint8Array(aes.seal(key, value));
        expect(Buffer.compare(aes.open(key, sealed), value)).toBe(0);
        if (Buffer.compare(Buffer.from(key), Buffer.from(other)) !== 0)
          expect(codeOf(() => aes.open(other, sealed))).toBe('STORE_DAMAGED');
      }),
      { numRuns },
    );
  });
});

it('keys are ordered as their UTF-8 bytes are', () => {
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    { numRuns },
  );
});

type Step =
  | {
      readonly kind: 'write';
      readonly rows: readonly (readonly [string, string | null])[];
      readonly wait: boolean;
    }
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'race'; readonly key: string; readonly other: string }
  | {
      readonly kind: 'scan';
      readonly prefix: string;
      readonly after: string | undefined;
      readonly limit: number | undefined;
    }
  | { readonly kind: 'reopen' };

const key = fc.string({
  unit: fc.constantFrom('a', 'b', '/', '\uffff', '\u{10000}'),
  minLength: 1,
  maxLength: 4,
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      rows: fc.array(fc.tuple(key, fc.option(fc.string({ maxLength: 5 }))), { maxLength: 5 }),
      wait: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('get' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('race' as const), key, other: key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('scan' as const),
      prefix: fc.oneof(fc.constant(''), key),
      after: fc.option(key, { nil: undefined }),
      limit: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
);

/** The rows that a scan must give. */
function expected(
  model: ReadonlyMap<string, string>,
  { prefix, after, limit }: Extract<Step, { kind: 'scan' }>,
): (readonly [string, string])[] {
  return [...model]
    .filter(([k]) => k.startsWith(prefix) && (after === undefined || compareKeys(k, after) > 0))
    .sort(([a], [b]) => compareKeys(a, b))
    .slice(0, limit);
}

async function runSteps(open: () => Promise<Store>, steps: readonly Step[]): Promise<void> {
  let store = await open();
  const model = new Map<string, string>();
  for (const now of steps) {
    if (now.kind === 'write') {
      const batch = store.batch();
      for (const [k, text] of now.rows) {
        if (text === null) batch.delete(k);
        else batch.put(k, fromUtf8(text));
        if (text === null) model.delete(k);
        else model.set(k, text);
      }
      const done = batch.commit();
      if (now.wait) await done;
    } else if (now.kind === 'get') {
      const bytes = await store.batch().get(now.key);
      expect(bytes && toUtf8(bytes)).toBe(model.get(now.key));
    } else if (now.kind === 'race') {
      const batches: [Batch, Batch] = [store.batch(), store.batch()];
      await batches[0].get(now.key);
      batches[1].put(now.other, fromUtf8('race'));
      const changed = now.key === now.other && model.get(now.key) !== 'race';
      model.set(now.other, 'race');
      const commit = batches[1].commit();
      batches[0].put('z', fromUtf8('z'));
      const end = await batches[0].commit().then(
        () => 'done',
        (error: unknown) => (error as { code: string }).code,
      );
      expect(end).toBe(changed ? 'STORE_CONFLICT' : 'done');
      if (!changed) model.set('z', 'z');
      await commit;
    } else if (now.kind === 'scan') {
      const rows: (readonly [string, string])[] = [];
      const { prefix, after, limit } = now;
      const options = {
        ...(after === undefined ? {} : { after }),
        ...(limit === undefined ? {} : { limit }),
      };
      for await (const [k, bytes] of store.scan(prefix, options)) rows.push([k, toUtf8(bytes)]);
      expect(rows).toEqual(expected(model, now));
    } else {
      await store.close();
      store = await open();
    }
  }
  await store.close();
}

describe('any sequence of calls', () => {
  it('on the memory store does what a map would', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const disk = new MemoryDisk();
        await runSteps(() => Promise.resolve(openMemory(disk)), steps);
      }),
      { numRuns },
    );
  });

  let folder: Awaited<ReturnType<typeof tempFolder>>;
  beforeAll(async () => {
    folder = await tempFolder();
  });
  afterAll(() => folder.remove());

  it.each([
    ['plain', PLAIN],
    ['encrypted', PASSPHRASE],
  ] as const)('on a LevelDB store does what a map would: %s', async (name, secret) => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const place = join(folder.path, `${name}${String(count++)}`);
        await runSteps(() => openOrMake(place, secret, { cacheBytes: 2_000 }), steps);
      }),
      { numRuns: Math.ceil(numRuns / 40) },
    );
  });
});
