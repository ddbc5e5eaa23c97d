import { randomBytes } from 'node:crypto';
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemPlatform } from '../../src/platform.ts';
import { checkDb } from '../../src/store/db-check.ts';
import { LevelDisk, openDb, type LevelDb } from '../../src/store/level-disk.ts';
import { OverlayStore } from '../../src/store/overlay.ts';
import { sealerOf } from '../../src/store/secret.ts';
import type { Store } from '../../src/store/store.ts';
import { openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';
import { keysOf, read, rowsOf, value, write } from '../support/store-rows.ts';

const SECRET = 'a share that a refresh has made worthless';

let folder: Awaited<ReturnType<typeof tempFolder>>;
let store: Store;

beforeEach(async () => {
  folder = await tempFolder();
  store = await openOrMake(folder.data, PLAIN);
});
afterEach(async () => {
  await store.close();
  await folder.remove();
});

/** Opens the store anew, its database in the hands of the test. */
async function openBare(pieceBytes?: number): Promise<LevelDb> {
  await store.close();
  const db = await openDb(join(folder.data, 'db'), { create: false });
  const disk = new LevelDisk(db, sealerOf(undefined, systemPlatform().random), pieceBytes);
  store = new OverlayStore(disk, { cacheBytes: 0, pause: () => Promise.resolve() });
  return db;
}

/** Names of the database's files in which the text stands. */
async function filesWith(text: string, db = join(folder.data, 'db')): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(db)) {
    if ((await readFile(join(db, name))).includes(text)) found.push(name);
  }
  return found;
}

/** Until the end, as upkeep does it. @returns the number of pieces */
async function compactAll(prefix = '', of: Store = store): Promise<number> {
  let from: string | undefined;
  for (let pieces = 1; ; pieces++) {
    const next = await of.compact(prefix, from);
    if (next === undefined) return pieces;
    if (next === from || pieces > 1000) throw new Error(`files of before are left at ${next}`);
    from = next;
  }
}

/** More than a write buffer of rows, in random order, so that tables come to be on several levels. */
async function fill(of: Store, rows: number, bytes = 2000): Promise<void> {
  for (let i = 0; i < rows; i += 50) {
    const batch = of.batch();
    for (let j = 0; j < 50; j++)
      batch.put(`session/${randomBytes(8).toString('hex')}`, value(randomBytes(bytes / 2).toString('hex')));
    await batch.commit();
  }
}

describe('a row that is gone', () => {
  it.each([null, 'a new share'])('leaves the disk when it was deleted or overwritten: %s', async (after) => {
    await write(store, { 'state/bls/share': SECRET, 'state/bls/other': 'stays' });
    await write(store, { 'state/bls/share': after });
    expect(await filesWith(SECRET)).toEqual([expect.stringMatching(/\.log$/)]);
    await compactAll('state/bls/share');
    expect(await filesWith(SECRET)).toEqual([]);
    expect(await filesWith('stays')).not.toEqual([]);
    expect(await read(store, 'state/bls/share')).toBe(after ?? undefined);
  });

  it('leaves the table on the lowest level in which it stands beside its deletion', async () => {
    const db = await openBare();
    await write(store, { 'state/bls/share': SECRET });
    await write(store, { 'state/bls/share': null });
    for (let i = 0; i < 3; i++) await db.compactRange('', '\u{10ffff}');
    expect(await filesWith(SECRET)).toEqual([expect.stringMatching(/\.ldb$/)]);
    await compactAll('state/');
    expect(await filesWith(SECRET)).toEqual([]);
  });

  it('leaves a large store, whatever has been written between', async () => {
    await fill(store, 1000);
    await write(store, { 'session/8': SECRET, 'state/bls/share': SECRET });
    await fill(store, 1000);
    await write(store, { 'session/8': null, 'state/bls/share': null });
    await fill(store, 1000);
    const rows = await keysOf(store.scan(''));
    await compactAll();
    expect(await filesWith(SECRET)).toEqual([]);
    expect(await keysOf(store.scan(''))).toEqual(rows);
  });

  it('stays as long as a scan can see it, and nothing goes wrong', async () => {
    await write(store, { a: SECRET, b: '1' });
    const scan = store.scan('')[Symbol.asyncIterator]();
    await write(store, { a: null });
    const files = await readdir(join(folder.data, 'db'));
    const from = await store.compact('');
    expect(await store.compact('', from)).toBe(from);
    expect(await readdir(join(folder.data, 'db'))).toEqual(files);
    expect(await filesWith(SECRET)).not.toEqual([]);
    expect((await scan.next()).value).toEqual(['a', value(SECRET)]);
    await scan.return?.();
    await compactAll();
    expect(await filesWith(SECRET)).toEqual([]);
  });
});

describe('a compaction', () => {
  it('goes on where it has stopped, and comes to the end', async () => {
    await openBare(300_000);
    await fill(store, 10_000);
    await write(store, { 'session/0': SECRET, 'session/88': SECRET, 'session/f': SECRET });
    await write(store, { 'session/0': null, 'session/88': null, 'session/f': null });
    const rows = await rowsOf(store.scan(''));
    expect(await compactAll()).toBeGreaterThan(1);
    expect(await filesWith(SECRET)).toEqual([]);
    expect(await rowsOf(store.scan(''))).toEqual(rows);
  });

  it('lets commits and reads through, and a close waits for its piece alone', async () => {
    await fill(store, 10_000);
    const compacting = compactAll();
    const ended = compacting.then(
      () => 'done',
      (error: unknown) => (error as { code?: string }).code,
    );
    await write(store, { a: '1' });
    expect(await read(store, 'a')).toBe('1');
    await store.close();
    expect(await ended).toMatch(/^(done|STORE_CLOSED)$/);
    await checkDb({ folder: join(folder.data, 'db'), wasClosed: true });
    store = await openOrMake(folder.data, PLAIN);
    expect(await read(store, 'a')).toBe('1');
    expect(await keysOf(store.scan('session/'))).toHaveLength(10_000);
  });

  it('does not undo what is committed while it goes on', async () => {
    await write(store, { a: '0', b: '0', c: '0' });
    let last = 0;
    const writing = (async () => {
      for (let i = 1; i <= 300; i++) await write(store, { a: String((last = i)), c: String(i) });
    })();
    for (let i = 0; i < 5; i++) await store.compact('');
    await writing;
    expect(await rowsOf(store.scan(''))).toEqual([
      ['a', String(last)],
      ['b', '0'],
      ['c', String(last)],
    ]);
  });

  it('leaves a damaged table as it is, so that it can still be found, and takes no harm', async () => {
    await fill(store, 2000);
    await compactAll(); // else LevelDB may merge its levels of its own accord before we look
    await store.close();
    const db = join(folder.data, 'db');
    const sizes = await Promise.all(
      (await readdir(db)).map(async (name) => (await stat(join(db, name))).size),
    );
    const table = (await readdir(db))[sizes.indexOf(Math.max(...sizes))] ?? '';
    expect(table).toMatch(/\.ldb$/);
    const damaged = await readFile(join(db, table));
    damaged[100] = (damaged[100] ?? 0) ^ 1;
    await writeFile(join(db, table), damaged);
    await openBare();
    await compactAll();
    expect(await readFile(join(db, table))).toEqual(damaged);
    await write(store, { 'state/bls/share': SECRET });
    expect(await read(store, 'state/bls/share')).toBe(SECRET);
  });

  it('is tried again later where the folder cannot be looked at for a moment', async () => {
    await openBare();
    await write(store, { 'state/bls/share': SECRET });
    await write(store, { 'state/bls/share': null });
    const [db, away] = ['db', 'away'].map((name) => join(folder.data, name)) as [string, string];
    await rename(db, away);
    expect(await store.compact('state/bls/')).toBe('state/bls/');
    await rename(away, db);
    await compactAll('state/bls/');
    expect(await filesWith(SECRET)).toEqual([]);
  });

  it('keeps the files shut to others', async () => {
    await fill(store, 500);
    await compactAll();
    for (const name of await readdir(join(folder.data, 'db')))
      expect([name, (await stat(join(folder.data, 'db', name))).mode & 0o077]).toEqual([name, 0]);
  });

  it('is refused by a store that is closed', async () => {
    await store.close();
    await expect(store.compact('')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  });

  it('works on an encrypted store, and on keys of all scripts', async () => {
    await store.close();
    await folder.remove();
    folder = await tempFolder();
    store = await openOrMake(folder.data, PASSPHRASE);
    const rows = { 'é/1': '1', ключ: '2', '\u{1f511}': '3', "a' @ 1 : 1 .. 'b": '4', 'tab\t\n\u0001': '5' };
    await write(store, rows);
    await compactAll();
    await compactAll('ключ');
    await store.close();
    store = await openOrMake(folder.data, PASSPHRASE);
    expect(Object.fromEntries(await rowsOf(store.scan('')))).toEqual(rows);
  });
});
