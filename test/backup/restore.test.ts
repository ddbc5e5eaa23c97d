import { cpSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CHUNK_BYTES } from '../../src/backup/chunks.ts';
import { isKept } from '../../src/backup/kept-tables.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import { fromUtf8, own, type Bytes } from '../../src/bytes.ts';
import { openLevel } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';
import { account, facts, outboxRows, peers, sessions } from '../../src/store/tables.ts';
import { BackupScene, never, platform } from '../support/backup-scene.ts';
import { makePeer } from '../support/peer.ts';
import { CHEAP_SCRYPT, PASSPHRASE, PLAIN } from '../support/store-folder.ts';

let scene: BackupScene;

beforeEach(async () => {
  scene = await BackupScene.make();
});

afterEach(async () => {
  await scene.remove();
});

async function rowsOf(store: Store): Promise<Map<string, Bytes>> {
  const found = new Map<string, Bytes>();
  for await (const [key, value] of store.scan('')) found.set(key, value);
  return found;
}

describe('a restored store', () => {
  it('has all that is kept as it was, and nothing of a ratchet', async () => {
    await scene.backUp();
    await scene.restore();
    const before = await rowsOf(scene.bot.store);
    const store = await openLevel(scene.folder.data, { secret: PASSPHRASE });
    const after = await rowsOf(store);
    const kept = [...before].filter(([key]) => isKept(key));
    for (const [key, value] of kept) expect([key, after.get(key)]).toEqual([key, value]);
    const added = [...after.keys()].filter((key) => !before.has(key));
    expect(added.map((key) => key.split('/')[0])).toEqual(['fact', 'outbox']);
    expect([...before.keys()].some((key) => key.startsWith(sessions.key()))).toBe(true);
    expect(
      [...after.keys()].filter((key) => /^(session|senderkey|prekey|kyberuse|volatile)/.test(key)),
    ).toEqual([]);
    expect(await account.get(store.batch())).toEqual(scene.bot.account);
    expect(await facts.get(store.batch(), 'restored')).toMatchObject({ pending: true });
    await store.close();
  });

  it('has a null message for each peer whose devices are known, behind what was queued', async () => {
    const late = platform.clock.now() + 5000;
    const batch = scene.bot.store.batch();
    const stranger = await makePeer();
    peers.put(batch, 'aci', stranger.aci, { devices: [], profileKey: 'AA==' });
    peers.put(batch, 'aci', scene.bot.aci, { devices: [{ id: 1, registrationId: 5 }] });
    batch.put(outboxRows.key(scene.friend.aci, late), fromUtf8(''));
    await batch.commit();
    await scene.backUp();
    await scene.restore();
    const store = await openLevel(scene.folder.data, { secret: PASSPHRASE });
    const rows = [];
    for await (const [key, row] of outboxRows.scan(store))
      if (row.kind === 'null') rows.push([key, row.timestamp]);
    await store.close();
    expect(rows.map(([, timestamp]) => timestamp)).toEqual([late + 1, late + 1]);
    expect(rows.map(([key]) => String(key).split('/')[0]).sort()).toEqual(
      [scene.friend.aci, scene.bot.aci].sort(),
    );
  });

  it('takes rows of any size', async () => {
    const rows = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7, 5_000_000].map(
      (size, i) => [`state/a/${String(i)}ü`, platform.random.bytes(size)] as const,
    );
    await scene.put(rows);
    await scene.backUp();
    await scene.restore();
    const store = await openLevel(scene.folder.data, { secret: PASSPHRASE });
    for (const [key, value] of rows)
      expect(Buffer.compare((await store.batch().get(key)) ?? own(Buffer.of(9, 9)), value)).toBe(0);
    await store.close();
  });

  it('is made in a folder that is empty, or holds a store whose making was interrupted', async () => {
    await scene.backUp();
    await mkdir(join(scene.folder.data, 'new'), { recursive: true });
    await writeFile(join(scene.folder.data, 'new', 'CURRENT'), 'nonsense');
    await scene.restore();
    expect((await readdir(scene.folder.data)).sort()).toEqual(['countersign.json', 'db']);
    expect((await stat(scene.folder.data)).mode & 0o777).toBe(0o700);
  });

  it('may be unlocked by another secret, or by none', async () => {
    await scene.backUp();
    await restoreBackup(
      scene.file,
      scene.folder.data,
      { platform, passphrase: 'of the file', secret: PLAIN },
      never,
    );
    const store = await openLevel(scene.folder.data, { secret: undefined });
    expect((await account.get(store.batch()))?.aci).toBe(scene.bot.aci);
    await store.close();
  });
});

describe('a folder that is not empty', () => {
  it('is refused and left alone', async () => {
    await scene.backUp();
    await mkdir(scene.folder.data);
    await writeFile(join(scene.folder.data, 'notes'), 'mine');
    await expect(scene.restore()).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
    expect(await readdir(scene.folder.data)).toEqual(['notes']);
    const other = join(scene.folder.path, 'other');
    await scene.restore('of the file', other);
    const header = await readFile(join(other, 'countersign.json'), 'utf8');
    await expect(scene.restore('of the file', other)).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
    expect(await readFile(join(other, 'countersign.json'), 'utf8')).toBe(header);
  });
});

describe('a store that another process makes while a backup is restored', () => {
  it('is left alone, whenever it comes up', async () => {
    await scene.backUp();
    const elsewhere = join(scene.folder.path, 'elsewhere');
    await (await openLevel(elsewhere, { secret: PASSPHRASE, create: true, scrypt: CHEAP_SCRYPT })).close();
    const header = await readFile(join(elsewhere, 'countersign.json'), 'utf8');
    // The id, the key, its wrapping, and the fillers of the rows: before, and while, the store is made.
    for (const moment of [1, 2, 3, 4]) {
      const to = join(scene.folder.path, `to-${String(moment)}`);
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
      const error: unknown = await restoreBackup(scene.file, to, parts, never).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
      expect(await readFile(join(to, 'countersign.json'), 'utf8')).toBe(header);
      await (await openLevel(to, { secret: PASSPHRASE })).close();
    }
  });

  it('is left alone by the slower one of two that restore into one folder', async () => {
    await scene.backUp();
    const both = await Promise.allSettled([scene.restore(), scene.restore(), scene.restore()]);
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of both) {
      if (result.status === 'rejected')
        expect(['STORE_LOCKED', 'FOLDER_NOT_EMPTY']).toContain((result.reason as { code?: string }).code);
    }
    const store = await openLevel(scene.folder.data, { secret: PASSPHRASE });
    expect((await account.get(store.batch()))?.aci).toBe(scene.bot.aci);
    await store.close();
  });
});
