import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLevel, rekey, storeInfo, type Secret } from '../../src/store/level.ts';
import { CHEAP_SCRYPT, openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';
import { rowsOf, write } from '../support/store-rows.ts';

const WRITER = fileURLToPath(new URL('../support/store-writer.ts', import.meta.url));
const OTHER: Secret = { kind: 'passphrase', passphrase: 'battery staple' };
const ROWS: Record<string, string> = Object.fromEntries(
  Array.from({ length: 700 }, (_, i) => [
    `row/${String(i).padStart(4, '0')}`,
    `value ${String(i)} in the clear`,
  ]),
);

let folder: Awaited<ReturnType<typeof tempFolder>>;
let keyFile: Secret;
beforeEach(async () => {
  folder = await tempFolder();
  const file = join(folder.path, 'key');
  await writeFile(file, randomBytes(48));
  keyFile = { kind: 'key-file', file };
});
afterEach(() => folder.remove());

function secretOf(name: string): Secret {
  return name === 'plain' ? PLAIN : name === 'key-file' ? keyFile : name === 'other' ? OTHER : PASSPHRASE;
}

async function make(secret: Secret): Promise<void> {
  const store = await openOrMake(folder.data, secret);
  await write(store, ROWS);
  await store.close();
}

async function rowsWith(secret: Secret | undefined): Promise<Record<string, string> | string> {
  try {
    const store = await openLevel(folder.data, { secret });
    const rows = Object.fromEntries(await rowsOf(store.scan('')));
    await store.close();
    return rows;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** True when some file of the store has a value that is not encrypted. */
async function isClear(): Promise<boolean> {
  const entries = await readdir(folder.data, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = await Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name))));
  return texts.some((text) => text.includes('in the clear'));
}

const CHANGES = [
  ['passphrase', 'other'],
  ['passphrase', 'key-file'],
  ['key-file', 'passphrase'],
  ['passphrase', 'plain'],
  ['plain', 'passphrase'],
  ['plain', 'key-file'],
  ['plain', 'plain'],
] as const;

describe('rekey', () => {
  it.each(CHANGES)('from %s to %s keeps every row, and only the new secret opens', async (from, to) => {
    await make(secretOf(from));
    await rekey(folder.data, secretOf(from), secretOf(to), { scrypt: CHEAP_SCRYPT });
    expect(await rowsWith(secretOf(to))).toEqual(ROWS);
    if (to !== 'plain') expect(await rowsWith(secretOf(from))).toMatch(/^PASSPHRASE_/);
    if (to !== 'plain') expect(await isClear()).toBe(false);
    expect((await storeInfo(folder.data)).protection).toBe(secretOf(to).kind);
    expect((await readdir(folder.data)).filter((name) => name !== 'countersign.json')).toHaveLength(1);
  });

  it('changes nothing when the old secret is wrong or the store is in use', async () => {
    await make(PASSPHRASE);
    await expect(rekey(folder.data, OTHER, PLAIN)).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
    await expect(
      rekey(folder.data, PASSPHRASE, { kind: 'passphrase', passphrase: '' }),
    ).rejects.toMatchObject({ code: 'PASSPHRASE_NEEDED' });
    const store = await openOrMake(folder.data, PASSPHRASE);
    await expect(rekey(folder.data, PASSPHRASE, OTHER)).rejects.toMatchObject({ code: 'STORE_LOCKED' });
    await store.close();
    expect(await rowsWith(PASSPHRASE)).toEqual(ROWS);
    await expect(rekey(join(folder.path, 'absent'), PASSPHRASE, OTHER)).rejects.toMatchObject({
      code: 'NOT_LINKED',
    });
  });

  it('can be done again and again', async () => {
    await make(PASSPHRASE);
    let now: Secret = PASSPHRASE;
    for (const next of [PLAIN, OTHER, PLAIN, keyFile, PASSPHRASE]) {
      await rekey(folder.data, now, next, { scrypt: CHEAP_SCRYPT });
      now = next;
    }
    expect(await rowsWith(PASSPHRASE)).toEqual(ROWS);
  });

  const kills = [
    ['passphrase', 'other', ['header']],
    ['passphrase', 'plain', ['make', 'copy', 'header', 'place', 'remove']],
    ['plain', 'passphrase', ['make', 'copy', 'header', 'place', 'remove']],
  ] as const;
  it.each(kills.flatMap(([from, to, steps]) => steps.map((step) => [from, to, step] as const)))(
    'from %s to %s, killed at "%s", leaves all rows under one of the two secrets',
    async (from, to, step) => {
      await make(secretOf(from));
      const secrets = [secretOf(from), secretOf(to)];
      const args = ['rekey', folder.data, ...secrets.map((secret) => JSON.stringify(secret)), step];
      const child = spawn(process.execPath, ['--import', 'tsx', WRITER, ...args], { stdio: 'inherit' });
      const signal = await new Promise((resolve) =>
        child.on('close', (_, name) => {
          resolve(name);
        }),
      );
      expect(signal).toBe('SIGKILL');

      const done = step === 'place' || step === 'remove';
      expect((await storeInfo(folder.data)).protection).toBe(secretOf(done ? to : from).kind);
      expect(await rowsWith(secretOf(done ? to : from))).toEqual(ROWS);
      if ((await storeInfo(folder.data)).protection !== 'plain') expect(await isClear()).toBe(false);
      // And it can be done after all.
      await rekey(folder.data, secretOf(done ? to : from), OTHER, { scrypt: CHEAP_SCRYPT });
      expect(await rowsWith(OTHER)).toEqual(ROWS);
    },
  );
});
