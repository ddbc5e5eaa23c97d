import { cpSync, existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeBackup } from '../../src/backup/backup.ts';
import { CHUNK_BYTES, TAG_BYTES } from '../../src/backup/chunks.ts';
import { decodeHeader } from '../../src/backup/header.ts';
import { isKept } from '../../src/backup/kept-tables.ts';
import { describeBackup, restoreBackup } from '../../src/backup/restore.ts';
import { fromUtf8, own, type Bytes } from '../../src/bytes.ts';
import { systemPlatform } from '../../src/platform.ts';
import { openLevel } from '../../src/store/level.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import {
  account,
  facts,
  lastResortUses,
  outboxRows,
  peers,
  pluginState,
  pluginVolatile,
  seenMarks,
  senderKeys,
  sessions,
} from '../../src/store/tables.ts';
import { makePeer, introduce, type Peer } from '../support/peer.ts';
import { CHEAP_SCRYPT, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';

const platform = systemPlatform();
const never = new AbortController().signal;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let file: string;
let bot: Peer;
let friend: Peer;

async function backUp(
  store: Store = bot.store,
  passphrase = 'of the file',
): Promise<Awaited<ReturnType<typeof writeBackup>>> {
  return writeBackup(file, { store, platform, passphrase, scrypt: CHEAP_SCRYPT }, never);
}

function restore(
  passphrase = 'of the file',
  to = folder.data,
  signal = never,
): ReturnType<typeof restoreBackup> {
  return restoreBackup(file, to, { platform, passphrase, secret: PASSPHRASE, scrypt: CHEAP_SCRYPT }, signal);
}

async function rowsOf(store: Store): Promise<Map<string, Bytes>> {
  const found = new Map<string, Bytes>();
  for await (const [key, value] of store.scan('')) found.set(key, value);
  return found;
}

async function put(rows: Iterable<readonly [string, Bytes]>): Promise<void> {
  const batch = bot.store.batch();
  for (const [key, value] of rows) batch.put(key, value);
  await batch.commit();
}

/** Rewrites the file. */
async function change(edit: (bytes: Buffer) => Uint8Array): Promise<void> {
  await writeFile(file, edit(await readFile(file)));
}

beforeEach(async () => {
  folder = await tempFolder();
  file = join(folder.path, 'file');
  bot = await makePeer();
  friend = await makePeer();
  await introduce(bot, friend);
  const batch = bot.store.batch();
  pluginState.put(batch, 'a', 'b', fromUtf8('c'));
  pluginVolatile.put(batch, 'a', 'b', fromUtf8('nonce'));
  seenMarks.put(batch, 1, 'mark', 2);
  senderKeys.put(batch, friend.aci, 2, 'd', fromUtf8('e'));
  lastResortUses.put(batch, 'aci', '1.2.3', 4);
  await batch.commit();
});

afterEach(async () => {
  await folder.remove();
});

describe('a backup', () => {
  it('can be read by its owner alone, and says what it is of', async () => {
    const made = await backUp();
    expect(made).toEqual({ file, createdAt: expect.any(Number) as number, aci: bot.aci });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder.path)).toEqual(['file']);
    expect(await describeBackup(file)).toEqual(made);
    const text = (await readFile(file)).toString('latin1');
    expect(text).not.toContain(bot.account.password);
    expect(text).not.toContain('correct horse');
  });

  it('is another file each time', async () => {
    await backUp();
    const first = await readFile(file);
    await backUp();
    const second = await readFile(file);
    expect(decodeHeader(own(second)).header.salt).not.toBe(decodeHeader(own(first)).header.salt);
  });

  it('replaces a backup, and nothing else', async () => {
    await backUp();
    await backUp();
    await writeFile(file, 'something else');
    await expect(backUp()).rejects.toMatchObject({ code: 'USAGE' });
    expect(await readFile(file, 'utf8')).toBe('something else');
    await writeFile(file, '');
    await expect(backUp()).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('that cannot be written leaves what was there', async () => {
    file = join(folder.path, 'no', 'file');
    await expect(backUp()).rejects.toMatchObject({
      code: 'BACKUP_FAILED',
      message: expect.stringMatching(/file: E[A-Z]+/) as string,
    });
    file = folder.path;
    await expect(backUp()).rejects.toMatchObject({ code: 'BACKUP_FAILED' });
    file = join(folder.path, 'file');
    const made = await backUp();
    const stop = AbortSignal.abort(new Error('enough'));
    const parts = { store: bot.store, platform, passphrase: 'x', scrypt: CHEAP_SCRYPT };
    await expect(writeBackup(file, parts, stop)).rejects.toThrow('enough');
    expect(await describeBackup(file)).toEqual(made);
    expect(await readdir(folder.path)).toEqual(['file']);
  });

  it('needs an account and a passphrase', async () => {
    await expect(backUp(openMemory())).rejects.toMatchObject({ code: 'NOT_LINKED' });
    await expect(backUp(bot.store, '')).rejects.toMatchObject({ code: 'PASSPHRASE_NEEDED' });
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('is of one moment, whatever is written meanwhile', async () => {
    const rows = Array.from(
      { length: 5000 },
      (_, i) => [`state/a/${String(i)}`, fromUtf8('before')] as const,
    );
    await put(rows);
    const making = backUp();
    for (let i = 0; i < 20; i++) {
      await put(rows.map(([key]) => [key, fromUtf8(`after ${String(i)}`)] as const));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await making;
    await restore();
    const store = await openLevel(folder.data, { secret: PASSPHRASE });
    const found = new Set<string>();
    for await (const [key, value] of pluginState.scan(store, ['a'])) {
      if (key !== 'b') found.add(Buffer.from(value).toString());
    }
    await store.close();
    expect([...found]).toHaveLength(1);
  });
});

describe('a restored store', () => {
  it('has all that is kept as it was, and nothing of a ratchet', async () => {
    await backUp();
    await restore();
    const before = await rowsOf(bot.store);
    const store = await openLevel(folder.data, { secret: PASSPHRASE });
    const after = await rowsOf(store);
    const kept = [...before].filter(([key]) => isKept(key));
    for (const [key, value] of kept) expect([key, after.get(key)]).toEqual([key, value]);
    const added = [...after.keys()].filter((key) => !before.has(key));
    expect(added.map((key) => key.split('/')[0])).toEqual(['fact', 'outbox']);
    expect([...before.keys()].some((key) => key.startsWith(sessions.key()))).toBe(true);
    expect(
      [...after.keys()].filter((key) => /^(session|senderkey|prekey|kyberuse|volatile)/.test(key)),
    ).toEqual([]);
    expect(await account.get(store.batch())).toEqual(bot.account);
    expect(await facts.get(store.batch(), 'restored')).toMatchObject({ pending: true });
    await store.close();
  });

  it('has a null message for each peer whose devices are known, behind what was queued', async () => {
    const late = platform.clock.now() + 5000;
    const batch = bot.store.batch();
    const stranger = await makePeer();
    peers.put(batch, 'aci', stranger.aci, { devices: [], profileKey: 'AA==' });
    peers.put(batch, 'aci', bot.aci, { devices: [{ id: 1, registrationId: 5 }] });
    batch.put(outboxRows.key(friend.aci, late), fromUtf8(''));
    await batch.commit();
    await backUp();
    await restore();
    const store = await openLevel(folder.data, { secret: PASSPHRASE });
    const rows = [];
    for await (const [key, row] of outboxRows.scan(store))
      if (row.kind === 'null') rows.push([key, row.timestamp]);
    await store.close();
    expect(rows.map(([, timestamp]) => timestamp)).toEqual([late + 1, late + 1]);
    expect(rows.map(([key]) => String(key).split('/')[0]).sort()).toEqual([friend.aci, bot.aci].sort());
  });

  it('takes rows of any size', async () => {
    const rows = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7, 5_000_000].map(
      (size, i) => [`state/a/${String(i)}ü`, platform.random.bytes(size)] as const,
    );
    await put(rows);
    await backUp();
    await restore();
    const store = await openLevel(folder.data, { secret: PASSPHRASE });
    for (const [key, value] of rows)
      expect(Buffer.compare((await store.batch().get(key)) ?? own(Buffer.of(9, 9)), value)).toBe(0);
    await store.close();
  });

  it('is made in a folder that is empty, or holds a store whose making was interrupted', async () => {
    await backUp();
    await mkdir(join(folder.data, 'new'), { recursive: true });
    await writeFile(join(folder.data, 'new', 'CURRENT'), 'nonsense');
    await restore();
    expect((await readdir(folder.data)).sort()).toEqual(['countersign.json', 'db']);
    expect((await stat(folder.data)).mode & 0o777).toBe(0o700);
  });

  it('may be unlocked by another secret, or by none', async () => {
    await backUp();
    await restoreBackup(file, folder.data, { platform, passphrase: 'of the file', secret: PLAIN }, never);
    const store = await openLevel(folder.data, { secret: undefined });
    expect((await account.get(store.batch()))?.aci).toBe(bot.aci);
    await store.close();
  });
});

describe('nothing is restored and no folder is left', () => {
  const deep = (): string => join(folder.path, 'some', 'where');
  const refused = async (code: string, passphrase?: string): Promise<void> => {
    await expect(restore(passphrase, deep())).rejects.toMatchObject({ code });
    expect(await readdir(folder.path)).toEqual(['file']);
    await mkdir(folder.data);
    await expect(restore(passphrase)).rejects.toMatchObject({ code });
    expect(await readdir(folder.data)).toEqual([]);
  };

  beforeEach(async () => {
    await put(
      Array.from({ length: 40 }, (_, i) => [`state/z/${String(i)}`, platform.random.bytes(5000)] as const),
    );
    await backUp();
  });

  it('with a wrong passphrase', () => refused('PASSPHRASE_WRONG', 'another'));

  it('with an empty passphrase', () => refused('PASSPHRASE_NEEDED', ''));

  it('from a file that is cut anywhere', async () => {
    const whole = await readFile(file);
    const start = decodeHeader(own(whole)).bytes.length;
    const chunk = CHUNK_BYTES + TAG_BYTES;
    const cuts = [
      0,
      5,
      start - 1,
      start,
      start + 15,
      start + 16,
      start + chunk,
      start + 2 * chunk,
      whole.length - 1,
    ];
    for (const size of cuts) {
      await writeFile(file, whole.subarray(0, size));
      await expect(restore('of the file', deep())).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
      expect(await readdir(folder.path)).toEqual(['file']);
    }
    await refused('BACKUP_DAMAGED');
  });

  it('from a file with one bit flipped anywhere', async () => {
    const whole = await readFile(file);
    const { length } = decodeHeader(own(whole)).bytes;
    const places = [...Array(length).keys(), length + 1, length + CHUNK_BYTES + 3, whole.length - 1];
    for (const place of places) {
      const bytes = Buffer.from(whole);
      bytes[place] = (bytes[place] ?? 0) ^ 1;
      await writeFile(file, bytes);
      const error = await restore('of the file', deep()).catch((thrown: unknown) => thrown);
      expect(['BACKUP_DAMAGED', 'BACKUP_NEWER']).toContain((error as { code?: string }).code);
      expect(await readdir(folder.path)).toEqual(['file']);
    }
    await refused('BACKUP_DAMAGED');
  });

  it('from a file with something behind it', async () => {
    await change((bytes) => Buffer.concat([bytes, Buffer.of(0)]));
    await refused('BACKUP_DAMAGED');
  });

  it('from a file with a chunk left out, doubled or moved', async () => {
    const whole = await readFile(file);
    const start = decodeHeader(own(whole)).bytes.length;
    const chunk = CHUNK_BYTES + TAG_BYTES;
    const [head, one, two, rest] = [
      whole.subarray(0, start),
      whole.subarray(start, start + chunk),
      whole.subarray(start + chunk, start + 2 * chunk),
      whole.subarray(start + 2 * chunk),
    ];
    for (const parts of [
      [head, two, rest],
      [head, one, rest],
      [head, one, one, two, rest],
      [head, two, one, rest],
    ]) {
      await writeFile(file, Buffer.concat(parts));
      await expect(restore('of the file', deep())).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
    }
    await refused('BACKUP_DAMAGED');
  });

  it('from the chunks of another backup under the same passphrase', async () => {
    const first = await readFile(file);
    await backUp();
    await change((second) => {
      const cut = decodeHeader(own(first)).bytes.length;
      return Buffer.concat([first.subarray(0, cut), second.subarray(decodeHeader(own(second)).bytes.length)]);
    });
    await refused('BACKUP_DAMAGED');
  });

  it('from a newer format', async () => {
    await change((bytes) =>
      Buffer.from(bytes.toString('latin1').replace('"format":1', '"format":2'), 'latin1'),
    );
    await refused('BACKUP_NEWER');
  });

  it('from what is no backup', async () => {
    await writeFile(file, 'hello');
    await refused('BACKUP_DAMAGED');
  });

  it('when it is stopped', async () => {
    const stop = AbortSignal.abort(new Error('enough'));
    await expect(restore('of the file', deep(), stop)).rejects.toThrow('enough');
    expect(await readdir(folder.path)).toEqual(['file']);
  });

  it('when the folder cannot be made', async () => {
    await expect(restore('of the file', join(file, 'x'))).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
    expect(await readdir(folder.path)).toEqual(['file']);
  });

  it.skipIf(!existsSync('/proc/self'))('where no folder can be made at all, and ends', async () => {
    for (const to of ['/proc/nope', '/proc/nope/deeper'])
      await expect(restore('of the file', to)).rejects.toMatchObject({ code: 'STORE_WRITE_FAILED' });
  });

  it('from a file that is not there, or a folder', async () => {
    const parts = { platform, passphrase: 'x', secret: PASSPHRASE };
    for (const name of ['nothing', '.']) {
      const missing = restoreBackup(join(folder.path, name), folder.data, parts, never);
      await expect(missing).rejects.toMatchObject({ code: 'USAGE' });
    }
    await chmod(file, 0o600);
    expect(await readdir(folder.path)).toEqual(['file']);
  });
});

describe('a folder that is not empty', () => {
  it('is refused and left alone', async () => {
    await backUp();
    await mkdir(folder.data);
    await writeFile(join(folder.data, 'notes'), 'mine');
    await expect(restore()).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
    expect(await readdir(folder.data)).toEqual(['notes']);
    const other = join(folder.path, 'other');
    await restore('of the file', other);
    const header = await readFile(join(other, 'countersign.json'), 'utf8');
    await expect(restore('of the file', other)).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
    expect(await readFile(join(other, 'countersign.json'), 'utf8')).toBe(header);
  });
});

describe('a store that another process makes while a backup is restored', () => {
  it('is left alone, whenever it comes up', async () => {
    await backUp();
    const elsewhere = join(folder.path, 'elsewhere');
    await (await openLevel(elsewhere, { secret: PASSPHRASE, create: true, scrypt: CHEAP_SCRYPT })).close();
    const header = await readFile(join(elsewhere, 'countersign.json'), 'utf8');
    // The id, the key, its wrapping, and the fillers of the rows: before, and while, the store is made.
    for (const moment of [1, 2, 3, 4]) {
      const to = join(folder.path, `to-${String(moment)}`);
      let calls = 0;
      const late = (length: number): Bytes => {
        if (++calls === moment) cpSync(elsewhere, to, { recursive: true });
        return platform.random.bytes(length);
      };
      const parts = {
        platform: { ...platform, random: { ...platform.random, bytes: late } },
        passphrase: 'of the file',
        secret: PASSPHRASE,
        scrypt: CHEAP_SCRYPT,
      };
      const error: unknown = await restoreBackup(file, to, parts, never).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
      expect(await readFile(join(to, 'countersign.json'), 'utf8')).toBe(header);
      await (await openLevel(to, { secret: PASSPHRASE })).close();
    }
  });

  it('is left alone by the slower one of two that restore into one folder', async () => {
    await backUp();
    const both = await Promise.allSettled([restore(), restore(), restore()]);
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of both) {
      if (result.status === 'rejected')
        expect(['STORE_LOCKED', 'FOLDER_NOT_EMPTY']).toContain((result.reason as { code?: string }).code);
    }
    const store = await openLevel(folder.data, { secret: PASSPHRASE });
    expect((await account.get(store.batch()))?.aci).toBe(bot.aci);
    await store.close();
  });
});
