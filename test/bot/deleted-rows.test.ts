/** What a plugin deletes is gone from the files of the store while its bot runs. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { definePlugin, type Host } from '../../src/index.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { openLevel } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';
import { Scene } from '../support/scene.ts';
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

it(
  'leaves the files what a plugin has deleted, on its own and in a handler',
  { timeout: 60_000 },
  async () => {
    const hosts: Host[] = [];
    const plugin = definePlugin({
      name: 'keeper',
      version: '1.0.0',
      setup: (host) => {
        hosts.push(host);
        host.command('forget', (ctx) => {
          ctx.volatile.delete('nonce');
          ctx.reply('forgotten');
        });
      },
    });
    const running = await scene.bot((bot) => void bot.use(plugin), { store });
    const friend = await scene.phone();
    await hosts[0]?.update(({ state, volatile }) => {
      state.put('share', fromUtf8(SHARE));
      volatile.put('nonce', fromUtf8(NONCE));
    });
    expect([await isOnDisk(SHARE), await isOnDisk(NONCE)]).toEqual([true, true]);
    await hosts[0]?.update(({ state }) => {
      state.delete('share');
    });
    await friend.send(running.aci, '!forget');
    await expect.poll(async () => (await friend.messages()).map(({ text }) => text)).toContain('forgotten');
    const gone = { timeout: 20_000, interval: 500 };
    await expect
      .poll(async () => [await isOnDisk(SHARE), await isOnDisk(NONCE)], gone)
      .toEqual([false, false]);
  },
);
