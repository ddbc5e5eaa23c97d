import {
  cp,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkDb, checkTables } from '../../src/store/db-check.ts';
import { asReadFailure } from '../../src/store/files.ts';
import { readClosing } from '../../src/store/closing.ts';
import { closeDb, LevelDisk, openDb } from '../../src/store/level-disk.ts';
import { readHeader, writeHeader, type Header } from '../../src/store/header.ts';
import { openLevel, rekey, type Secret } from '../../src/store/level.ts';
import { walkLog } from '../../src/store/log-walk.ts';
import { plainSealer } from '../../src/store/seal.ts';
import { writeLog } from '../support/level-log.ts';
import { CHEAP_SCRYPT, openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';
import { rowsOf, write } from '../support/store-rows.ts';

/** More than the name of a row can be in one block of a log. */
const LONG = 'x'.repeat(50_000);

let folder: Awaited<ReturnType<typeof tempFolder>>;
let data: string;
beforeEach(async () => {
  folder = await tempFolder();
  data = folder.data;
});
afterEach(() => folder.remove());

const db = (place = data): string => join(place, 'db');

/** @param place of the store */
async function fileIn(pattern: RegExp, place = data): Promise<string> {
  const names = (await readdir(db(place))).filter((name) => pattern.test(name)).sort();
  return join(db(place), names.at(-1) ?? 'none');
}

/** Turns one bit of a file over. */
async function flip(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    byte.writeUInt8(byte.readUInt8(0) ^ 0x10);
    await handle.write(byte, 0, 1, at);
  } finally {
    await handle.close();
  }
}

/** The rows, or the code of the error that opening ends with. */
async function outcome(place = data, secret: Secret = PLAIN): Promise<Record<string, string> | string> {
  try {
    const store = await openLevel(place, { secret });
    try {
      return Object.fromEntries(await rowsOf(store.scan('')));
    } finally {
      await store.close();
    }
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

const row = (i: number): Record<string, string> => ({ [`row/${String(i)}`]: `value ${String(i)} ${LONG}` });
const rows = (count: number): Record<string, string> =>
  Object.assign({}, ...Array.from({ length: count }, (_, i) => row(i))) as Record<string, string>;

/** A store whose log holds five rows, in a commit each. */
async function make(secret: Secret = PLAIN): Promise<void> {
  const store = await openOrMake(data, secret);
  for (let i = 0; i < 5; i++) await write(store, row(i));
  await store.close();
}

/** A store as a process that is stopped leaves it: its files, copied while it is open. */
async function makeStopped(count: number): Promise<string> {
  const place = join(folder.path, 'stopped');
  const store = await openOrMake(data, PLAIN);
  for (let i = 0; i < count; i++) await write(store, row(i));
  await cp(data, place, { recursive: true });
  await store.close();
  return place;
}

describe('a store that was closed', () => {
  it('opens, again and again', async () => {
    await make();
    for (let i = 0; i < 3; i++) expect(await outcome()).toEqual(rows(5));
  });

  it.each([
    ['plain', PLAIN],
    ['encrypted', PASSPHRASE],
  ] as const)('is damaged wherever its log was cut: %s', async (_, secret) => {
    await make(secret);
    const log = await fileIn(/\.log$/);
    const whole = await readFile(log);
    for (const part of [0, 0.001, 0.1, 0.2, 0.33, 0.4, 0.6, 0.8, 0.999]) {
      await truncate(log, Math.floor(whole.length * part));
      expect([part, await outcome(data, secret)]).toEqual([part, 'STORE_DAMAGED']);
      await writeFile(log, whole);
    }
    expect(await outcome(data, secret)).toEqual(rows(5));
  });

  it('is damaged wherever a bit of its log turned over, the end included', async () => {
    await make();
    const log = await fileIn(/\.log$/);
    const { size } = await stat(log);
    for (let at = 0; at < size; at += Math.floor(size / 23)) {
      await flip(log, at);
      expect([at, await outcome()]).toEqual([at, 'STORE_DAMAGED']);
      await flip(log, at);
    }
    await flip(log, size - 1);
    expect(await outcome()).toBe('STORE_DAMAGED');
  });

  it.each([
    ['its manifest was cut', async () => cut(await fileIn(/^MANIFEST/))],
    ['its manifest changed', async () => flip(await fileIn(/^MANIFEST/), 40)],
    ['its log is gone', async () => unlink(await fileIn(/\.log$/))],
    ['its log is another', async () => rename(await fileIn(/\.log$/), join(db(), '999999.log'))],
    ['CURRENT changed', async () => writeFile(join(db(), 'CURRENT'), 'MANIFEST-000077\n')],
    ['CURRENT is nothing', async () => writeFile(join(db(), 'CURRENT'), 'nothing\n')],
    ['the note of its closing changed', async () => flip(join(db(), 'closed.json'), 25)],
    ['the note of its closing is empty', async () => truncate(join(db(), 'closed.json'), 0)],
    ['the note of its closing is gone', async () => unlink(join(db(), 'closed.json'))],
    [
      'the note of its closing is gone and its log was cut',
      async () => unlink(join(db(), 'closed.json')).then(async () => cut(await fileIn(/\.log$/), 60_000)),
    ],
    ['the database is a file', async () => rm(db(), { recursive: true }).then(() => writeFile(db(), ''))],
  ])('is damaged when %s', async (_, damage) => {
    await make();
    await damage();
    const before = await readdir(data, { recursive: true });
    const code = await outcome();
    expect(code === 'STORE_WRITE_FAILED' ? 'STORE_DAMAGED' : code).toBe('STORE_DAMAGED');
    expect(await readdir(data, { recursive: true })).toEqual(before);
  });

  it('has its note also after a wrong passphrase', async () => {
    await make(PASSPHRASE);
    expect(await outcome(data, { kind: 'passphrase', passphrase: 'wrong' })).toBe('PASSPHRASE_WRONG');
    const manifest = (await readFile(join(db(), 'CURRENT'), 'utf8')).trim();
    expect(Object.keys(await readClosing(db(), manifest))).toContain(manifest);
  });

  it('leaves no note where a write failed', async () => {
    await make();
    const before = await readFile(join(db(), 'closed.json'));
    const level = await openDb(db(), { create: false });
    const disk = new LevelDisk(level, plainSealer);
    const batch = level.batch();
    batch.write = () => Promise.reject(new Error('no space left'));
    level.batch = (() => batch) as typeof level.batch;
    await expect(disk.write(new Map([['a', new Uint8Array(1)]]))).rejects.toThrow();
    await disk.close();
    expect(await readFile(join(db(), 'closed.json'))).toEqual(before);
    expect(await outcome()).toEqual(rows(5));
  });

  it('is closed also where no note can be left', async () => {
    await make();
    const level = await openDb(db(), { create: false });
    await mkdir(join(db(), 'closed.json.new'));
    await closeDb(level);
    expect(level.status).toBe('closed');
  });
});

describe('the note of a closing', () => {
  async function header(): Promise<Header> {
    const found = await readHeader(data);
    if (found === undefined) throw new Error('no header');
    return found;
  }

  it('may be missing in a store of before its header spoke of one, and is asked for from then on', async () => {
    await make();
    const { closed, ...older } = await header();
    expect(closed).toBe('db');
    await writeHeader(data, older);
    await unlink(join(db(), 'closed.json'));
    expect(await outcome()).toEqual(rows(5)); // leaves a note
    expect(await outcome()).toEqual(rows(5)); // finds it
    await unlink(join(db(), 'closed.json'));
    expect(await outcome()).toBe('STORE_DAMAGED');
  });

  it('is asked for in the database that has one, and not in the one that takes its place', async () => {
    await make();
    await rekey(data, PLAIN, PASSPHRASE, { scrypt: CHEAP_SCRYPT });
    expect(await header()).toMatchObject({ closed: 'db', db: 'db-2' });
    expect(await outcome(data, PASSPHRASE)).toEqual(rows(5));
    expect(await header()).toMatchObject({ closed: 'db-2' });
  });
});

async function cut(file: string, bytes = 10): Promise<void> {
  await truncate(file, (await stat(file)).size - bytes);
}

describe('a store whose process was stopped', () => {
  it('opens with what its log has', async () => {
    expect(await outcome(await makeStopped(5))).toEqual(rows(5));
  });

  it('lacks the last write where that is torn, in whatever way', async () => {
    const place = await makeStopped(5);
    const log = await fileIn(/\.log$/, place);
    const whole = await readFile(log);
    const last = whole.lastIndexOf(Buffer.from('row/4'));
    const tears: readonly (readonly [name: string, bytes: Buffer])[] = [
      ['cut', whole.subarray(0, last + 100)],
      ['cut in its header', whole.subarray(0, last - 16)],
      ['zeros from here on', Buffer.concat([whole.subarray(0, last), Buffer.alloc(whole.length - last)])],
      ['zeros in its middle', Buffer.from(whole).fill(0, last + 1000, last + 5000)],
      ['a longer tail of zeros', Buffer.concat([whole.subarray(0, last), Buffer.alloc(100_000)])],
    ];
    for (const [name, bytes] of tears) {
      const copy = join(folder.path, name);
      await cp(place, copy, { recursive: true });
      await writeFile(await fileIn(/\.log$/, copy), bytes);
      expect([name, await outcome(copy)]).toEqual([name, rows(4)]);
      expect([name, await outcome(copy)]).toEqual([name, rows(4)]);
    }
  });

  it('is damaged where anything but the last write is', async () => {
    const place = await makeStopped(5);
    const log = await fileIn(/\.log$/, place);
    const whole = await readFile(log);
    const last = whole.lastIndexOf(Buffer.from('row/4')) - 30;
    for (let at = 0; at < last; at += Math.floor(last / 17)) {
      await flip(log, at);
      expect([at, await outcome(place)]).toEqual([at, 'STORE_DAMAGED']);
      await flip(log, at);
    }
    expect(await outcome(place)).toEqual(rows(5));
  });

  it('is damaged where a log before the last lacks its end, or all that it had', async () => {
    const place = await makeStopped(5);
    const log = await fileIn(/\.log$/, place);
    const records: Buffer[] = [];
    walkLog(await readFile(log), (record) => records.push(Buffer.from(record)));
    await writeFile(join(db(place), '900000.log'), writeLog(records.slice(3)));
    const older = writeLog(records.slice(0, 3));
    const tries: readonly (readonly [name: string, log: Buffer, end: unknown])[] = [
      ['whole', older, rows(5)],
      ['torn', older.subarray(0, older.length - 5), 'STORE_DAMAGED'],
      ['without a record', writeLog(records.slice(0, 2)), 'STORE_DAMAGED'],
      ['empty', Buffer.alloc(0), 'STORE_DAMAGED'],
    ];
    for (const [name, bytes, end] of tries) {
      const copy = join(folder.path, name);
      await cp(place, copy, { recursive: true });
      await writeFile(join(db(copy), basename(log)), bytes);
      expect([name, await outcome(copy)]).toEqual([name, end]);
    }
  });

  it('may have ended while it was being opened after such an end', async () => {
    const place = await makeStopped(5);
    const log = await fileIn(/\.log$/, place);
    await cut(log, 100);
    await writeFile(join(db(place), '900000.log'), '');
    expect(await outcome(place)).toEqual(rows(4));
  });
});

describe('the tables of a store', () => {
  /** A store of format 2 whose rows are in one table. */
  async function makeTable(): Promise<string> {
    await make();
    await outcome();
    return fileIn(/\.ldb$/);
  }

  it('are read at each opening while they are small', async () => {
    const table = await makeTable();
    const { size } = await stat(table);
    const tables = (await readdir(db())).filter((name) => name.endsWith('.ldb')).sort();
    const { size: other } = await stat(join(db(), tables[0] ?? '')); // made with the store
    // Data, filters, both indexes; not the filler in the footer, which means nothing.
    for (const at of [0, 100, size / 2, size - 49, size - 60, size - 100, size - 200, size - 8, size - 1]) {
      await flip(table, Math.floor(at));
      expect([at, await outcome()]).toEqual([at, 'STORE_DAMAGED']);
      await expect(checkTables({ folder: db(), wasClosed: true })).rejects.toMatchObject({
        code: 'STORE_DAMAGED',
      });
      await flip(table, Math.floor(at));
    }
    expect(await checkTables({ folder: db(), wasClosed: true })).toEqual({
      tables: 2,
      bytes: size + other,
      unread: 0,
    });
    expect(await outcome()).toEqual(rows(5));
  });

  it('must be there and have their length', async () => {
    const table = await makeTable();
    const whole = await readFile(table);
    for (const bytes of [whole.subarray(0, 1000), Buffer.alloc(0), Buffer.concat([whole, whole])]) {
      await writeFile(table, bytes);
      expect(await outcome()).toBe('STORE_DAMAGED');
    }
    await unlink(table);
    expect(await outcome()).toBe('STORE_DAMAGED');
  });

  it('are read in part where their index is compressed', async () => {
    const level = new Level<string, string>(db());
    await mkdir(data);
    await level.open();
    for (let i = 0; i < 3000; i++) await level.put(`a name that is long and alike ${String(i)}`, 'value');
    await level.close();
    await level.open(); // the log becomes a table
    await level.close();
    expect(await checkTables({ folder: db(), wasClosed: false })).toMatchObject({ tables: 1, unread: 1 });
  });
});

describe('the check of a database', () => {
  it('takes a file that may not be opened for no damage', () => {
    const error = (code: string): Error => Object.assign(new Error(code), { code });
    for (const code of ['EMFILE', 'EACCES'])
      expect(asReadFailure(error(code))).toMatchObject({ code: 'STORE_WRITE_FAILED' });
    expect(asReadFailure(error('EIO'))).toMatchObject({ code: 'STORE_DAMAGED' });
  });

  it('finds nothing wrong with one that another process is writing to', async () => {
    const store = await openOrMake(data, PLAIN);
    const stop = new AbortController();
    const writing = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) await write(store, row(i));
    })();
    for (let i = 0; i < 60; i++) {
      const end = await checkDb({ folder: db(), wasClosed: true }).catch(
        (error: unknown) => (error as { code: string }).code,
      );
      expect([undefined, 'STORE_LOCKED']).toContain(end);
    }
    stop.abort();
    await writing;
    await store.close();
  });
});
