import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeBackup } from '../../src/backup/backup.ts';
import { ChunkWriter, readChunks, type ChunkKey, type Source } from '../../src/backup/chunks.ts';
import { decodeHeader, encodeHeader, MAGIC, newHeader } from '../../src/backup/header.ts';
import { openBackup } from '../../src/backup/reader.ts';
import { decodeRows, encodeRow, type Row } from '../../src/backup/rows.ts';
import { concat, fromUtf8, own, type Bytes } from '../../src/bytes.ts';
import { NEXT } from '../../src/errors.ts';
import { systemPlatform } from '../../src/platform.ts';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makePeer } from '../support/peer.ts';
import { CHEAP_SCRYPT, tempFolder } from '../support/store-folder.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);
const DAMAGE = ['BACKUP_DAMAGED', 'BACKUP_NEWER', 'PASSPHRASE_WRONG'];

async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
    return 'none';
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    if (!(code in NEXT)) throw error;
    return code;
  }
}

function sourceOf(bytes: Uint8Array): Source {
  return {
    size: bytes.length,
    read: (position, length) => Promise.resolve(own(bytes.slice(position, position + length))),
  };
}

async function* pieces(bytes: Bytes, sizes: readonly number[]): AsyncGenerator<Bytes> {
  let position = 0;
  for (const size of sizes) {
    yield await Promise.resolve(bytes.slice(position, position + size));
    position += size;
  }
  yield bytes.slice(position);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const anyBytes = fc.uint8Array({ maxLength: 400 }).map(own);

describe('headers of backups', () => {
  it('of any text end in a code', async () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.json());
    await fc.assert(
      fc.asyncProperty(text, fc.boolean(), async (rest, begun) => {
        const code = await codeOf(() => decodeHeader(fromUtf8(`${begun ? MAGIC : ''}${rest}\n`)));
        expect(DAMAGE).toContain(code);
      }),
      { numRuns },
    );
  });

  it('with fields of any value end in a code', async () => {
    const name = fc.constantFrom(
      'format',
      'store',
      'createdAt',
      'aci',
      'scrypt',
      'salt',
      'proof',
      '__proto__',
      'x',
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, fc.jsonValue()), async (fields) => {
        const header = { ...newHeader({} as Parameters<typeof newHeader>[0]), ...(fields as object) };
        expect([...DAMAGE, 'none']).toContain(await codeOf(() => decodeHeader(encodeHeader(header))));
      }),
      { numRuns },
    );
  });
});

describe('chunks', () => {
  const key: ChunkKey = { key: new Uint8Array(32).fill(1), header: fromUtf8('header') };

  it('come out as they went in, however they were cut, and not when anything is changed', async () => {
    const size = fc.constantFrom(0, 1, 65_535, 65_536, 65_537, 131_072, 140_000);
    const edit = fc.record({
      at: fc.nat(),
      bit: fc.nat(7),
      kind: fc.constantFrom('flip', 'cut', 'add', 'header'),
    });
    await fc.assert(
      fc.asyncProperty(
        size,
        fc.array(fc.nat(70_000), { maxLength: 4 }),
        edit,
        async (length, sizes, change) => {
          const bytes = new Uint8Array(length).map((_, i) => i);
          const written: Bytes[] = [];
          const writer = new ChunkWriter(key, (chunk) => {
            written.push(chunk);
            return Promise.resolve();
          });
          for await (const piece of pieces(bytes, sizes)) await writer.push(piece);
          await writer.end();
          const sealed = concat(...written);
          const opened = concat(...(await all(readChunks(sourceOf(sealed), 0, key))));
          expect(Buffer.compare(opened, bytes)).toBe(0);

          const at = change.at % sealed.length;
          const other = { ...key, header: change.kind === 'header' ? fromUtf8('other') : key.header };
          let changed = Uint8Array.from(sealed);
          if (change.kind === 'flip') changed[at] = (changed[at] ?? 0) ^ (1 << change.bit);
          if (change.kind === 'cut') changed = changed.slice(0, at);
          if (change.kind === 'add') changed = Uint8Array.from([...changed, change.bit]);
          expect(await codeOf(() => all(readChunks(sourceOf(changed), 0, other)))).toBe('BACKUP_DAMAGED');
        },
      ),
      { numRuns: Math.min(numRuns, 300) },
    );
  }, 60_000);
});

describe('rows of a backup', () => {
  const row = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 40 }), anyBytes);

  it('come out as they went in, however the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row), fc.array(fc.nat(200)), async (rows, sizes) => {
        const bytes = concat(...rows.map(encodeRow));
        const found: Row[] = await all(decodeRows(pieces(bytes, sizes)));
        expect(found.map(([key, value]) => [key, [...value]])).toEqual(
          rows.map(([key, value]) => [key, [...value]]),
        );
      }),
      { numRuns },
    );
  });

  it('of any bytes end in a code', async () => {
    const length = fc.constantFrom(0, 1, 7, 0x7fffffff, 0xffffffff);
    await fc.assert(
      fc.asyncProperty(length, length, anyBytes, async (key, value, rest) => {
        const lengths = Buffer.alloc(8);
        lengths.writeUInt32BE(key, 0);
        lengths.writeUInt32BE(value, 4);
        const code = await codeOf(() => all(decodeRows(pieces(concat(lengths, rest), []))));
        expect(['BACKUP_DAMAGED', 'none']).toContain(code);
      }),
      { numRuns },
    );
  });
});

describe('a backup file', () => {
  let whole: Buffer;

  beforeAll(async () => {
    const folder = await tempFolder();
    const { store } = await makePeer();
    const file = join(folder.path, 'file');
    const parts = { store, platform: systemPlatform(), passphrase: 'x', scrypt: { ...CHEAP_SCRYPT, n: 2 } };
    await writeBackup(file, parts, new AbortController().signal);
    whole = await readFile(file);
    await rm(folder.path, { recursive: true });
  });

  it('that is changed anywhere, or that is any bytes, is refused with a code', async () => {
    const file = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.tuple(fc.nat(), fc.nat(), anyBytes).map(([from, length, middle]) => {
        const start = from % whole.length;
        const end = start + (length % (whole.length - start)) + 1;
        return Buffer.concat([whole.subarray(0, start), middle, whole.subarray(end)]);
      }),
    );
    await fc.assert(
      fc.asyncProperty(file, async (bytes) => {
        if (whole.equals(bytes)) return;
        expect(DAMAGE).toContain(await codeOf(() => openBackup(sourceOf(bytes), 'x')));
      }),
      { numRuns },
    );
    expect(await codeOf(() => openBackup(sourceOf(whole), 'x'))).toBe('none');
  });
});
