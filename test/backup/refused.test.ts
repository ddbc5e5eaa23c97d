/** Backups that cannot be restored: nothing comes of them, not even a folder. */
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CHUNK_BYTES, TAG_BYTES } from '../../src/backup/chunks.ts';
import { decodeHeader } from '../../src/backup/header.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import { own } from '../../src/bytes.ts';
import { BackupScene, never, platform } from '../support/backup-scene.ts';
import { PASSPHRASE } from '../support/store-folder.ts';

let scene: BackupScene;

beforeEach(async () => {
  scene = await BackupScene.make();
});

afterEach(async () => {
  await scene.remove();
});

/** Rewrites the file. */
async function change(edit: (bytes: Buffer) => Uint8Array): Promise<void> {
  await writeFile(scene.file, edit(await readFile(scene.file)));
}

describe('nothing is restored and no folder is left', () => {
  const deep = (): string => join(scene.folder.path, 'some', 'where');
  const refused = async (code: string, passphrase?: string): Promise<void> => {
    await expect(scene.restore(passphrase, deep())).rejects.toMatchObject({ code });
    expect(await readdir(scene.folder.path)).toEqual(['file']);
    await mkdir(scene.folder.data);
    await expect(scene.restore(passphrase)).rejects.toMatchObject({ code });
    expect(await readdir(scene.folder.data)).toEqual([]);
  };

  beforeEach(async () => {
    await scene.put(
      Array.from({ length: 40 }, (_, i) => [`state/z/${String(i)}`, platform.random.bytes(5000)] as const),
    );
    await scene.backUp();
  });

  it('with a wrong passphrase', () => refused('PASSPHRASE_WRONG', 'another'));

  it('with an empty passphrase', () => refused('PASSPHRASE_NEEDED', ''));

  it('from a file that is cut anywhere', async () => {
    const whole = await readFile(scene.file);
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
      await writeFile(scene.file, whole.subarray(0, size));
      await expect(scene.restore('of the file', deep())).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
      expect(await readdir(scene.folder.path)).toEqual(['file']);
    }
    await refused('BACKUP_DAMAGED');
  });

  it('from a file with one bit flipped anywhere', async () => {
    const whole = await readFile(scene.file);
    const { length } = decodeHeader(own(whole)).bytes;
    const places = [...Array(length).keys(), length + 1, length + CHUNK_BYTES + 3, whole.length - 1];
    for (const place of places) {
      const bytes = Buffer.from(whole);
      bytes[place] = (bytes[place] ?? 0) ^ 1;
      await writeFile(scene.file, bytes);
      const error = await scene.restore('of the file', deep()).catch((thrown: unknown) => thrown);
      expect(['BACKUP_DAMAGED', 'BACKUP_NEWER']).toContain((error as { code?: string }).code);
      expect(await readdir(scene.folder.path)).toEqual(['file']);
    }
    await refused('BACKUP_DAMAGED');
  });

  it('from a file with something behind it', async () => {
    await change((bytes) => Buffer.concat([bytes, Buffer.of(0)]));
    await refused('BACKUP_DAMAGED');
  });

  it('from a file with a chunk left out, doubled or moved', async () => {
    const whole = await readFile(scene.file);
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
      await writeFile(scene.file, Buffer.concat(parts));
      await expect(scene.restore('of the file', deep())).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
    }
    await refused('BACKUP_DAMAGED');
  });

  it('from the chunks of another backup under the same passphrase', async () => {
    const first = await readFile(scene.file);
    await scene.backUp();
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
    await writeFile(scene.file, 'hello');
    await refused('BACKUP_DAMAGED');
  });

  it('when it is stopped', async () => {
    const stop = AbortSignal.abort(new Error('enough'));
    await expect(scene.restore('of the file', deep(), stop)).rejects.toThrow('enough');
    expect(await readdir(scene.folder.path)).toEqual(['file']);
  });

  it('when the folder cannot be made', async () => {
    await expect(scene.restore('of the file', join(scene.file, 'x'))).rejects.toMatchObject({
      code: 'FOLDER_NOT_EMPTY',
    });
    expect(await readdir(scene.folder.path)).toEqual(['file']);
  });

  it.skipIf(!existsSync('/proc/self'))('where no folder can be made at all, and ends', async () => {
    for (const to of ['/proc/nope', '/proc/nope/deeper'])
      await expect(scene.restore('of the file', to)).rejects.toMatchObject({ code: 'STORE_WRITE_FAILED' });
  });

  it('from a file that is not there, or a folder', async () => {
    const parts = { platform, passphrase: 'x', secret: PASSPHRASE };
    for (const name of ['nothing', '.']) {
      const missing = restoreBackup(join(scene.folder.path, name), scene.folder.data, parts, never);
      await expect(missing).rejects.toMatchObject({ code: 'USAGE' });
    }
    await chmod(scene.file, 0o600);
    expect(await readdir(scene.folder.path)).toEqual(['file']);
  });
});
