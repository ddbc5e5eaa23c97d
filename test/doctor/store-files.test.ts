import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkStoreFiles } from '../../src/doctor/store-files.ts';
import { write } from '../support/store-rows.ts';
import { openOrMake, PASSPHRASE, tempFolder } from '../support/store-folder.ts';

let folder: Awaited<ReturnType<typeof tempFolder>>;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

it('skips a folder without a store', async () => {
  expect(await checkStoreFiles(folder.path)).toMatchObject({ state: 'skip' });
});

it('reads the tables without a key, also of a store that is open, and sees a bit that turned over in a large one', async () => {
  for (let i = 0; i < 2; i++) {
    const store = await openOrMake(folder.data, PASSPHRASE);
    // Beyond what is read at each opening.
    for (let row = 0; row < 12; row++) await write(store, { [`row/${String(row)}`]: 'x'.repeat(1_000_000) });
    expect(await checkStoreFiles(folder.data)).toMatchObject({ state: 'ok' });
    await store.close();
  }
  const db = join(folder.data, 'db');
  const table = join(db, (await readdir(db)).filter((name) => name.endsWith('.ldb')).sort()[0] ?? '');
  const bytes = await readFile(table);
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 80) ^ 1, bytes.length - 80);
  await writeFile(table, bytes);
  const store = await openOrMake(folder.data, PASSPHRASE);
  expect(await checkStoreFiles(folder.data)).toMatchObject({
    state: 'fail',
    message: expect.stringContaining('.ldb is damaged') as string,
    next: expect.stringContaining('Restore a backup') as string,
  });
  await store.close();
});

it('sees that the note of the last closing is gone', async () => {
  for (let i = 0; i < 2; i++) await (await openOrMake(folder.data, PASSPHRASE)).close();
  await rm(join(folder.data, 'db', 'closed.json'));
  expect(await checkStoreFiles(folder.data)).toMatchObject({
    state: 'fail',
    message: expect.stringContaining('closed.json is missing') as string,
  });
});
