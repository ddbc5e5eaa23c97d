/** What a plugin deletes is gone from the files of the store while its bot runs. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { definePlugin, type Host } from '../../src/index.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { openLevel } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';
import { Scene, type RunningBot } from '../support/scene.ts';
import { PLAIN, tempFolder } from '../support/store-folder.ts';

const SHARE = 'a share that a refresh has made worthless';
const NONCE = 'a nonce that was used';

let scene: Scene;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let store: Store;

beforeEach(async () => {
  [scene, folder] = [await Scene.start(), await tempFolder()];
  store = await openLevel(folder.data, { secret: PLAIN, create: true });
});
afterEach(async () => {
  await scene.close();
  await store.close();
  await folder.remove();
});

async function isOnDisk(text: string): Promise<boolean> {
  const db = join(folder.data, 'db');
  for (const name of await readdir(db)) {
    // LevelDB removes files when it likes.
    const bytes = await readFile(join(db, name)).catch(() => undefined);
    if (bytes?.includes(text) === true) return true;
  }
  return false;
}

const GONE = { timeout: 20_000, interval: 500 };

describe('what a plugin deletes leaves the files while its bot runs', { timeout: 60_000 }, () => {
  let host: Host;
  let running: RunningBot;

  beforeEach(async () => {
    const plugin = definePlugin({
      name: 'keeper',
      version: '1.0.0',
      setup: (given) => {
        host = given;
        host.command('forget', (ctx) => {
          ctx.volatile.delete('nonce');
          ctx.reply('forgotten');
        });
      },
    });
    running = await scene.bot((bot) => void bot.use(plugin), { store });
    await host.update(({ state, volatile }) => {
      state.put('share', fromUtf8(SHARE));
      volatile.put('nonce', fromUtf8(NONCE));
    });
    expect([await isOnDisk(SHARE), await isOnDisk(NONCE)]).toEqual([true, true]);
  });

  it('where it deletes on its own', async () => {
    await host.update(({ state }) => {
      state.delete('share');
    });
    await expect.poll(() => isOnDisk(SHARE), GONE).toBe(false);
    expect(await isOnDisk(NONCE)).toBe(true);
  });

  it('where a handler does', async () => {
    const friend = await scene.phone();
    await friend.send(running.aci, '!forget');
    await expect.poll(async () => (await friend.messages()).map(({ text }) => text)).toContain('forgotten');
    await expect.poll(() => isOnDisk(NONCE), GONE).toBe(false);
    expect(await isOnDisk(SHARE)).toBe(true);
  });
});
