/** The files that commands write: looked at before anything else is done. */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { outputFile } from '../../src/cli/output-file.ts';
import { writeQrFile } from '../../src/provisioning/qr.ts';
import { tempFolder } from '../support/store-folder.ts';
import { memoryIo } from '../support/memory-io.ts';

let folder: Awaited<ReturnType<typeof tempFolder>>;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

it('that can be written are left as they are', async () => {
  await writeFile(join(folder.path, 'old'), 'kept');
  expect(await outputFile(folder.path, 'old', 'it')).toBe(join(folder.path, 'old'));
  expect(await outputFile(folder.path, 'fresh', 'it')).toBe(join(folder.path, 'fresh'));
  expect(await readdir(folder.path)).toEqual(['old']);
  expect(await readFile(join(folder.path, 'old'), 'utf8')).toBe('kept');
});

it.each([
  ['link', '--qr', 'no/such/folder/code.png'],
  ['link', '--qr', 'folder.png'],
  ['safety-number', '+12125550100', '--qr', 'no/code.png'],
  ['safety-number', '+12125550100', '--qr', 'number.txt'],
  ['devserver', '--profile', 'no/such/folder/server.json'],
  ['devserver', '--profile', 'folder.png'],
])('that cannot be written end a command before it begins: %s %s %s', async (...argv) => {
  const { path, data } = folder;
  await mkdir(join(path, 'folder.png'));
  await writeFile(join(path, 'server.json'), '{"name": "none", "chat": "http://127.0.0.1:1"}');
  const before = await readdir(path);
  const io = memoryIo({ cwd: path });
  const places =
    argv[0] === 'devserver' ? [] : ['--data', data, '--server', 'server.json', '--insecure-plain-store'];
  expect(await main([...argv, ...places, '--json'], io)).toBe(2);
  expect(io.lines()).toMatchObject([{ error: { code: 'USAGE' } }]);
  expect(await readdir(path)).toEqual(before);
});

it('a code is readable by its owner alone, also in a file that others could read', async () => {
  const file = join(folder.path, 'code.svg');
  await writeFile(file, 'old', { mode: 0o644 });
  await writeQrFile('sgnl://linkdevice', file);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});
