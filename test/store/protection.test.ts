import { chmod, cp, mkdir, readdir, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Level } from 'level';
import { formatHeader, parseHeader } from '../../src/store/header.ts';
import { openLevel, storeInfo, type Secret } from '../../src/store/level.ts';
import { openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';
import { keysOf, read, rowsOf, write } from '../support/store-rows.ts';

let folder: Awaited<ReturnType<typeof tempFolder>>;
let data: string;
beforeEach(async () => {
  folder = await tempFolder();
  data = folder.data;
});
afterEach(() => folder.remove());

/** Makes a store with two rows. */
async function make(secret: Secret): Promise<void> {
  const store = await openOrMake(data, secret);
  await write(store, { account: 'who we are, in the clear?', 'session/1': 'ratchet' });
  await store.close();
}

/** What opening ends with: a code, or the keys. */
async function outcome(secret: Secret | undefined, create = true): Promise<string> {
  try {
    const store = await openLevel(data, { secret, create });
    try {
      return (await keysOf(store.scan(''))).join(' ');
    } finally {
      await store.close();
    }
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

async function keyFile(name: string, bytes: Uint8Array | string): Promise<Secret> {
  const file = join(folder.path, name);
  await writeFile(file, bytes);
  return { kind: 'key-file', file };
}

/** Every file below the folder with its text. */
async function contents(): Promise<Map<string, Buffer>> {
  const names = await readdir(data, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)));
}

describe('a store', () => {
  it('that is not there is not made unless asked for', async () => {
    expect(await outcome(PASSPHRASE, false)).toBe('NOT_LINKED');
    expect(await storeInfo(data)).toEqual({ exists: false });
    await mkdir(data);
    expect(await outcome(PASSPHRASE, false)).toBe('NOT_LINKED');
    expect(await readdir(data)).toEqual([]);
  });

  it('is made in an empty folder, among other files too', async () => {
    await mkdir(data);
    await writeFile(join(data, 'server.json'), '{}');
    await make(PASSPHRASE);
    expect(await storeInfo(data)).toEqual({ exists: true, protection: 'passphrase', format: 2 });
    expect((await readdir(data)).sort()).toEqual(['countersign.json', 'db', 'server.json']);
  });

  it('needs a secret to be made', async () => {
    expect(await outcome(undefined)).toBe('PASSPHRASE_NEEDED');
    expect(await outcome({ kind: 'passphrase', passphrase: '' })).toBe('PASSPHRASE_NEEDED');
    expect(await storeInfo(data)).toEqual({ exists: false });
  });

  it('shows nothing of its values on disk', async () => {
    await make(PASSPHRASE);
    for (const [, text] of await contents()) expect(text.includes('in the clear?')).toBe(false);
  });

  it.each([['passphrase'], ['plain']] as const)('belongs to its owner alone: %s', async (kind) => {
    const before = process.umask(0o000);
    try {
      const store = await openOrMake(data, kind === 'plain' ? PLAIN : PASSPHRASE);
      for (let i = 0; i < 30; i++) await write(store, { [`row/${String(i)}`]: 'x'.repeat(100_000) });
      await store.close();
    } finally {
      process.umask(before);
    }
    expect((await stat(data)).mode & 0o777).toBe(0o700);
    for (const file of (await contents()).keys())
      expect([file, (await stat(file)).mode & 0o777]).toEqual([file, 0o600]);
  });

  it('is shut to others again when it is opened', async () => {
    await make(PLAIN);
    const files = ['.', 'countersign.json', 'db', 'db/CURRENT'].map((name) => join(data, name));
    for (const file of files) await chmod(file, 0o777);
    expect(await outcome(PLAIN)).toBe('account session/1');
    const modes = await Promise.all(files.map(async (file) => (await stat(file)).mode & 0o777));
    expect(modes).toEqual([0o700, 0o600, 0o700, 0o600]);
  });

  it('is not looked for in a file', async () => {
    await writeFile(data, 'a file');
    expect(await outcome(PLAIN)).toBe('STORE_WRITE_FAILED');
    await expect(storeInfo(data)).rejects.toMatchObject({
      code: 'STORE_WRITE_FAILED',
      message: expect.stringContaining('is a file') as string,
      next: expect.stringContaining('Name a folder') as string,
    });
    expect(await readFile(data, 'utf8')).toBe('a file');
  });

  it('cannot be opened twice', async () => {
    const store = await openOrMake(data, PASSPHRASE);
    expect(await outcome(PASSPHRASE)).toBe('STORE_LOCKED');
    expect(await outcome(undefined)).toBe('STORE_LOCKED');
    await write(store, { a: '1' });
    await store.close();
    expect(await outcome(PASSPHRASE)).toBe('a');
  });

  it('can be opened again after a wrong passphrase', async () => {
    await make(PASSPHRASE);
    expect(await outcome({ kind: 'passphrase', passphrase: 'wrong' })).toBe('PASSPHRASE_WRONG');
    expect(await outcome(undefined)).toBe('PASSPHRASE_NEEDED');
    expect(await outcome(PLAIN)).toBe('PASSPHRASE_NEEDED');
    expect(await outcome(PASSPHRASE)).toBe('account session/1');
  });

  it('takes a passphrase however its accents are composed', async () => {
    await make({ kind: 'passphrase', passphrase: 'caf\u00e9' });
    expect(await outcome({ kind: 'passphrase', passphrase: 'cafe\u0301' })).toBe('account session/1');
  });

  it('that is plain takes any secret, and none', async () => {
    await make(PLAIN);
    for (const secret of [undefined, PLAIN, PASSPHRASE])
      expect(await outcome(secret)).toBe('account session/1');
    expect((await storeInfo(data)).protection).toBe('plain');
  });

  it('opens with its key file, raw or base64, and with no other', async () => {
    const bytes = new Uint8Array(32).map((_, i) => i * 7);
    await make(await keyFile('raw', bytes));
    expect((await storeInfo(data)).protection).toBe('key-file');
    const text = `${Buffer.from(bytes).toString('base64')}\n`;
    expect(await outcome(await keyFile('text', text))).toBe('account session/1');
    expect(
      await outcome(
        await keyFile(
          'other',
          bytes.map((byte) => byte + 1),
        ),
      ),
    ).toBe('PASSPHRASE_WRONG');
    expect(await outcome(await keyFile('short', bytes.subarray(1)))).toBe('PASSPHRASE_NEEDED');
    expect(await outcome({ kind: 'key-file', file: join(folder.path, 'absent') })).toBe('PASSPHRASE_NEEDED');
    expect(await outcome(PASSPHRASE)).toBe('PASSPHRASE_NEEDED');
  });

  it('takes the cost of scrypt from its header, half a second where nothing else was said', async () => {
    const store = await openLevel(data, { secret: PASSPHRASE, create: true });
    await store.close();
    const { protection } = parseHeader(await readFile(join(data, 'countersign.json'), 'utf8'));
    expect(protection).toMatchObject({ scrypt: { n: 131_072, r: 8, p: 1 } });
    expect(await outcome(PASSPHRASE)).toBe('');
  });
});

describe('damage', () => {
  const header = (): string => join(data, 'countersign.json');
  const db = (): string => join(data, 'db');

  async function fileIn(pattern: RegExp): Promise<string> {
    const name = (await readdir(db())).find((candidate) => pattern.test(candidate));
    return join(db(), name ?? 'none');
  }

  it.each([
    ['the header lost', () => unlink(header())],
    ['the header empty', () => truncate(header(), 0)],
    ['the header cut', () => truncate(header(), 100)],
    ['the database lost', () => rm(db(), { recursive: true })],
    ['the database emptied', () => rm(db(), { recursive: true }).then(() => mkdir(db()))],
    ['CURRENT lost', async () => unlink(await fileIn(/^CURRENT$/))],
    ['CURRENT empty', async () => truncate(await fileIn(/^CURRENT$/), 0)],
    ['the manifest lost', async () => unlink(await fileIn(/^MANIFEST/))],
    ['the manifest empty', async () => truncate(await fileIn(/^MANIFEST/), 0)],
    ['the log lost', async () => unlink(await fileIn(/^\d+\.log$/))],
    ['the tables lost', async () => unlink(await fileIn(/\.ldb$/))],
  ])('is told, and nothing is made in its place: %s', async (_, damage) => {
    await make(PASSPHRASE);
    await outcome(PASSPHRASE); // the log becomes a table
    await damage();
    const before = [...(await contents()).keys()].filter((file) => !/LOCK|LOG|MANIFEST/.test(file));
    expect(await outcome(PASSPHRASE)).toBe('STORE_DAMAGED');
    expect(await outcome(PASSPHRASE)).toBe('STORE_DAMAGED');
    const after = [...(await contents()).keys()];
    for (const file of before) expect(after).toContain(file);
    if (before.every((file) => !file.endsWith('countersign.json'))) {
      await expect(storeInfo(data)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    }
  });

  it('is told for the first log of a store, too, which then has no rows at all', async () => {
    await make(PASSPHRASE);
    await truncate(await fileIn(/^\d+\.log$/), 0);
    const table = await fileIn(/\.ldb$/);
    await rm(table, { force: true });
    expect(await outcome(PASSPHRASE)).toBe('STORE_DAMAGED');
  });

  it('is a byte of the header that changed', async () => {
    await make(PASSPHRASE);
    const text = await readFile(header());
    for (let i = 0; i < text.length; i += 5) {
      const changed = Buffer.from(text);
      changed[i] = (changed[i] ?? 0) ^ 0x04;
      await writeFile(header(), changed);
      const end = await outcome(PASSPHRASE);
      // White space may change freely; a larger number in place of the format reads as a newer one.
      expect(['STORE_DAMAGED', 'STORE_NEWER', 'account session/1']).toContain(end);
      if (end === 'account session/1')
        expect(JSON.parse(changed.toString())).toEqual(JSON.parse(text.toString()));
    }
    await writeFile(header(), text);
    expect(await outcome(PASSPHRASE)).toBe('account session/1');
  });

  it('is a database that belongs to another header', async () => {
    await make(PLAIN);
    const first = join(folder.path, 'first');
    await cp(data, first, { recursive: true });
    await rm(data, { recursive: true });
    await make(PLAIN);
    await cp(join(first, 'db'), db(), { recursive: true, force: true });
    await rm(db(), { recursive: true });
    await cp(join(first, 'db'), db(), { recursive: true });
    expect(await outcome(PLAIN)).toBe('STORE_DAMAGED');
  });

  /** Changes rows behind the store's back. */
  async function tamper(change: (db: Level<string, Uint8Array>) => Promise<void>): Promise<void> {
    const level = new Level<string, Uint8Array>(db(), { valueEncoding: 'view' });
    await level.open();
    await change(level);
    await level.close();
  }

  it('is a value that changed, or stands under another key; the error names the key only', async () => {
    await make(PASSPHRASE);
    await tamper(async (level) => {
      const sealed = Buffer.from(await level.get('account'));
      await level.put('moved', Buffer.from(sealed));
      await level.put('short', sealed.subarray(0, 20));
      await level.put('empty', sealed.subarray(0, 0));
      await level.put('plain', Buffer.from('\0forged'));
      await level.put('unbound', Buffer.concat([Buffer.from([1]), sealed.subarray(1)]));
      sealed.writeUInt8(sealed.readUInt8(20) ^ 1, 20);
      await level.put('account', sealed);
    });
    const store = await openOrMake(data, PASSPHRASE);
    for (const key of ['account', 'moved', 'short', 'empty', 'plain', 'unbound']) {
      await expect(read(store, key)).rejects.toMatchObject({
        code: 'STORE_DAMAGED',
        message: expect.stringContaining(key) as string,
      });
      await expect(rowsOf(store.scan(key))).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    }
    expect(await read(store, 'session/1')).toBe('ratchet');
    await store.close();
  });

  it('is not a newer format', async () => {
    await make(PASSPHRASE);
    const parsed = parseHeader(await readFile(header(), 'utf8'));
    await writeFile(header(), formatHeader({ ...parsed, format: 3 }));
    expect(await outcome(PASSPHRASE)).toBe('STORE_NEWER');
    await expect(storeInfo(data)).rejects.toMatchObject({ code: 'STORE_NEWER' });
  });

  it('is not a store whose making was stopped', async () => {
    await make(PASSPHRASE);
    // Killed before the header was written: there is nothing yet.
    await cp(db(), join(data, 'new'), { recursive: true });
    await rm(db(), { recursive: true });
    const text = await readFile(header());
    await rm(header());
    expect(await storeInfo(data)).toEqual({ exists: false });
    await writeFile(header(), text);
    // Killed after it: the database only has to be given its name.
    expect(await outcome(PASSPHRASE)).toBe('account session/1');
    await rm(header());
    await rm(db(), { recursive: true });
    await mkdir(join(data, 'new'));
    await writeFile(join(data, 'new', 'CURRENT'), 'MANIFEST-0');
    expect(await outcome(PASSPHRASE)).toBe('');
  });
});
