import { spawn } from 'node:child_process';
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLevel, storeInfo } from '../../src/store/level.ts';
import { rekey } from '../../src/store/rekey.ts';
import { CHEAP_SCRYPT, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';
import { makeFormat1 } from '../support/store-format1.ts';
import { rowsOf } from '../support/store-rows.ts';

const WRITER = fileURLToPath(new URL('../support/store-writer.ts', import.meta.url));
const ROWS: Record<string, string> = Object.fromEntries(
  Array.from({ length: 700 }, (_, i) => [`row/${String(i).padStart(4, '0')}`, `value ${String(i)}`]),
);

let folder: Awaited<ReturnType<typeof tempFolder>>;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

async function rowsIn(place: string): Promise<Record<string, string>> {
  const store = await openLevel(place, { secret: PASSPHRASE });
  try {
    return Object.fromEntries(await rowsOf(store.scan('')));
  } finally {
    await store.close();
  }
}

async function backups(): Promise<string[]> {
  return (await readdir(folder.data)).filter((name) => name.startsWith('backup'));
}

describe('a store of format 1', () => {
  it.each([
    ['protected', PASSPHRASE],
    ['plain', PLAIN],
  ] as const)('is migrated in place, after a copy: %s', async (_, secret) => {
    await makeFormat1(folder.data, secret, ROWS);
    expect((await storeInfo(folder.data)).format).toBe(1);
    expect(await rowsIn(folder.data)).toEqual(ROWS);
    expect((await storeInfo(folder.data)).format).toBe(2);
    expect(await rowsIn(folder.data)).toEqual(ROWS);

    const [backup = '', ...others] = await backups();
    expect(others).toEqual([]);
    expect(backup).toMatch(/^backup-format-1-\d+$/);
    const copy = join(folder.path, 'copy');
    await cp(join(folder.data, backup), copy, { recursive: true });
    expect((await storeInfo(copy)).format).toBe(1);
    expect(await rowsIn(copy)).toEqual(ROWS);
  });

  it('is migrated before its passphrase is changed', async () => {
    await makeFormat1(folder.data, { kind: 'passphrase', passphrase: 'old' }, ROWS);
    await rekey(folder.data, { kind: 'passphrase', passphrase: 'old' }, PASSPHRASE, { scrypt: CHEAP_SCRYPT });
    expect(await rowsIn(folder.data)).toEqual(ROWS);
    expect(await backups()).toHaveLength(1);
  });

  it.each(['copy', 'begin', 'rows', 'page', 'done'])(
    'can be killed at "%s" and goes on at the next opening',
    async (step) => {
      await makeFormat1(folder.data, PASSPHRASE, ROWS);
      const child = spawn(process.execPath, ['--import', 'tsx', WRITER, 'migrate', folder.data, step], {
        stdio: 'inherit',
      });
      const signal = await new Promise((resolve) =>
        child.on('close', (_, name) => {
          resolve(name);
        }),
      );
      expect(signal).toBe('SIGKILL');
      expect(await rowsIn(folder.data)).toEqual(ROWS);
      expect((await storeInfo(folder.data)).format).toBe(2);
      expect((await backups()).length).toBeLessThanOrEqual(2);
      for (const backup of await backups()) {
        const copy = join(folder.path, backup);
        await cp(join(folder.data, backup), copy, { recursive: true });
        expect(await rowsIn(copy)).toEqual(ROWS);
      }
    },
  );
});
