import { cpSync, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromUtf8 } from '../../src/bytes.ts';
import { systemPlatform, type Platform, type Random } from '../../src/platform.ts';
import { makeStore } from '../../src/store/create.ts';
import { openLevel } from '../../src/store/level.ts';
import { CHEAP_SCRYPT, openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';

const { random } = systemPlatform();
let folder: Awaited<ReturnType<typeof tempFolder>>;

const make = (fill?: Parameters<typeof makeStore>[3], from: Random = random): ReturnType<typeof makeStore> =>
  makeStore(folder.data, PLAIN, { random: from, scrypt: CHEAP_SCRYPT }, fill);

/** Makes a store with one row, as another process does that was faster. */
async function makeOther(place: string): Promise<void> {
  const store = await openOrMake(place, PLAIN);
  const batch = store.batch();
  batch.put('who', fromUtf8('the other'));
  await batch.commit();
  await store.close();
}

async function expectOther(): Promise<void> {
  const store = await openLevel(folder.data, { secret: PLAIN });
  expect(await store.batch().get('who')).toEqual(fromUtf8('the other'));
  await store.close();
}

beforeEach(async () => {
  folder = await tempFolder();
});

afterEach(async () => {
  await folder.remove();
});

describe('a new store', () => {
  it('is made in an empty folder, and not where a store or a database is', async () => {
    expect(await make()).toBe('made');
    const header = await readFile(join(folder.data, 'countersign.json'), 'utf8');
    expect(await make()).toBe('exists');
    expect(await readFile(join(folder.data, 'countersign.json'), 'utf8')).toBe(header);
    await rm(join(folder.data, 'countersign.json'));
    expect(await make()).toBe('exists');
    expect(await readdir(folder.data)).toContain('db');
  });

  it('is not made over one that comes up while it is filled', async () => {
    const elsewhere = join(folder.path, 'elsewhere');
    await makeOther(elsewhere);
    const made = make(() => {
      cpSync(elsewhere, folder.data, { recursive: true });
      return Promise.resolve();
    });
    expect(await made).toBe('exists');
    expect((await readdir(folder.data)).sort()).toEqual(['countersign.json', 'db']);
    await expectOther();
  });

  it('fails while another process makes one there, and leaves that one alone', async () => {
    let inner: unknown;
    const made = make(async (write) => {
      inner = await make().catch((error: unknown) => error);
      await write(new Map([['who', fromUtf8('the other')]]));
    });
    expect(await made).toBe('made');
    expect(inner).toMatchObject({ code: 'STORE_LOCKED' });
    await expectOther();
  });

  it('leaves nothing behind when it fails', async () => {
    await expect(make(() => Promise.reject(new Error('full')))).rejects.toMatchObject({
      code: 'STORE_WRITE_FAILED',
    });
    expect(await readdir(folder.data)).toEqual([]);
  });

  it('is made where one was begun and not finished', async () => {
    await mkdir(join(folder.data, 'new'), { recursive: true });
    await writeFile(join(folder.data, 'new', 'CURRENT'), 'nonsense');
    await writeFile(join(folder.data, 'countersign.json.new'), '{');
    expect(await make()).toBe('made');
    expect((await readdir(folder.data)).sort()).toEqual(['countersign.json', 'db']);
  });
});

describe('opening with leave to make a store', () => {
  it('opens the one that came up after the look', async () => {
    const elsewhere = join(folder.path, 'elsewhere');
    await makeOther(elsewhere);
    // The first thing that is asked for when there is no store is its id.
    const late: Random = {
      ...random,
      bytes: (length) => {
        if (!existsSync(folder.data)) cpSync(elsewhere, folder.data, { recursive: true });
        return random.bytes(length);
      },
    };
    const platform: Platform = { ...systemPlatform(), random: late };
    await (await openOrMake(folder.data, PASSPHRASE, { platform })).close();
    await expectOther();
  });

  it('keeps the rows of the one of two that was faster', async () => {
    const both = await Promise.allSettled([openOrMake(folder.data, PLAIN), openOrMake(folder.data, PLAIN)]);
    const opened = both.filter((result) => result.status === 'fulfilled');
    expect(opened).toHaveLength(1);
    expect(both.find((result) => result.status === 'rejected')?.reason).toMatchObject({
      code: 'STORE_LOCKED',
    });
    await opened[0]?.value.close();
    await (await openLevel(folder.data, { secret: PLAIN })).close();
  });
});
