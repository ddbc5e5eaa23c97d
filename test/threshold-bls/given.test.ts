/** Files that the commands of `bls` write. */
import { chown, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newFile, newOrLeftFile } from '../../plugins/threshold-bls/given.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-given-'));
});

afterEach(() => rm(folder, { recursive: true }));

describe('a file for a handle', () => {
  it('is new, or an empty one that was left, for us alone', async () => {
    const path = join(folder, 'key.json');
    await writeFile(path, '', { mode: 0o644 });
    const file = await newOrLeftFile(path);
    await file.writeFile('share');
    await file.close();
    expect([await readFile(path, 'utf8'), (await stat(path)).mode & 0o777]).toEqual(['share', 0o600]);
  });

  it('is neither one with something in it, nor behind a link', async () => {
    const [full, empty, link] = ['full', 'empty', 'link'].map((name) => join(folder, name)) as [string, string, string]; // prettier-ignore
    await writeFile(full, 'mine');
    await writeFile(empty, '', { mode: 0o644 });
    await symlink(empty, link);
    for (const path of [full, link, folder])
      await expect(newOrLeftFile(path)).rejects.toMatchObject({ code: 'USAGE' });
    expect([await readFile(full, 'utf8'), (await stat(empty)).mode & 0o777]).toEqual(['mine', 0o644]);
  });

  it.runIf(userInfo().uid === 0)('is not an empty one of somebody else', async () => {
    const path = join(folder, 'theirs');
    await writeFile(path, '', { mode: 0o644 });
    await chown(path, 65_534, 65_534);
    await expect(newOrLeftFile(path)).rejects.toMatchObject({ code: 'USAGE' });
    expect((await stat(path)).mode & 0o777).toBe(0o644);
  });
});

describe('a file for a share', () => {
  it('is new: an empty one may be open elsewhere already', async () => {
    const path = join(folder, 'share.json');
    const file = await newFile(path);
    await file.close();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await expect(newFile(path)).rejects.toMatchObject({ code: 'USAGE', message: `${path} is there already` });
    const nowhere = join(folder, 'none', 'share.json');
    await expect(newFile(nowhere)).rejects.toMatchObject({ message: `${nowhere} cannot be made` });
  });
});
