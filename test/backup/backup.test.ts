import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeBackup } from '../../src/backup/backup.ts';
import { decodeHeader } from '../../src/backup/header.ts';
import { describeBackup } from '../../src/backup/restore.ts';
import { fromUtf8, own } from '../../src/bytes.ts';
import { openLevel } from '../../src/store/level.ts';
import { openMemory } from '../../src/store/memory.ts';
import { pluginState } from '../../src/store/tables.ts';
import { BackupScene, platform } from '../support/backup-scene.ts';
import { CHEAP_SCRYPT, PASSPHRASE } from '../support/store-folder.ts';

let scene: BackupScene;

beforeEach(async () => {
  scene = await BackupScene.make();
});

afterEach(async () => {
  await scene.remove();
});

describe('a backup', () => {
  it('can be read by its owner alone, and says what it is of', async () => {
    const made = await scene.backUp();
    expect(made).toEqual({ file: scene.file, createdAt: expect.any(Number) as number, aci: scene.bot.aci });
    expect((await stat(scene.file)).mode & 0o777).toBe(0o600);
    expect(await readdir(scene.folder.path)).toEqual(['file']);
    expect(await describeBackup(scene.file)).toEqual(made);
    const text = (await readFile(scene.file)).toString('latin1');
    expect(text).not.toContain(scene.bot.account.password);
    expect(text).not.toContain('correct horse');
  });

  it('is another file each time', async () => {
    await scene.backUp();
    const first = await readFile(scene.file);
    await scene.backUp();
    const second = await readFile(scene.file);
    expect(decodeHeader(own(second)).header.salt).not.toBe(decodeHeader(own(first)).header.salt);
  });

  it('replaces a backup, and nothing else', async () => {
    await scene.backUp();
    await scene.backUp();
    await writeFile(scene.file, 'something else');
    await expect(scene.backUp()).rejects.toMatchObject({ code: 'USAGE' });
    expect(await readFile(scene.file, 'utf8')).toBe('something else');
    await writeFile(scene.file, '');
    await expect(scene.backUp()).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('that cannot be written leaves what was there', async () => {
    scene.file = join(scene.folder.path, 'no', 'file');
    await expect(scene.backUp()).rejects.toMatchObject({
      code: 'BACKUP_FAILED',
      message: expect.stringMatching(/file: E[A-Z]+/) as string,
    });
    scene.file = scene.folder.path;
    await expect(scene.backUp()).rejects.toMatchObject({ code: 'BACKUP_FAILED' });
    scene.file = join(scene.folder.path, 'file');
    const made = await scene.backUp();
    const stop = AbortSignal.abort(new Error('enough'));
    const parts = { store: scene.bot.store, platform, passphrase: 'x', scrypt: CHEAP_SCRYPT };
    await expect(writeBackup(scene.file, parts, stop)).rejects.toThrow('enough');
    expect(await describeBackup(scene.file)).toEqual(made);
    expect(await readdir(scene.folder.path)).toEqual(['file']);
  });

  it('needs an account and a passphrase', async () => {
    await expect(scene.backUp(openMemory())).rejects.toMatchObject({ code: 'NOT_LINKED' });
    await expect(scene.backUp(scene.bot.store, '')).rejects.toMatchObject({ code: 'PASSPHRASE_NEEDED' });
    expect(await readdir(scene.folder.path)).toEqual([]);
  });

  it('is of one moment, whatever is written meanwhile', async () => {
    const rows = Array.from(
      { length: 5000 },
      (_, i) => [`state/a/${String(i)}`, fromUtf8('before')] as const,
    );
    await scene.put(rows);
    const making = scene.backUp();
    for (let i = 0; i < 20; i++) {
      await scene.put(rows.map(([key]) => [key, fromUtf8(`after ${String(i)}`)] as const));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await making;
    await scene.restore();
    const store = await openLevel(scene.folder.data, { secret: PASSPHRASE });
    const found = new Set<string>();
    for await (const [key, value] of pluginState.scan(store, ['a'])) {
      if (key !== 'b') found.add(Buffer.from(value).toString());
    }
    await store.close();
    expect([...found]).toHaveLength(1);
  });
});
