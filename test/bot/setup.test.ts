/** What a plugin may do while it is set up, before its bot is online. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import type { Aci } from '../../src/address.ts';
import { writeBackup } from '../../src/backup/backup.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import { definePlugin, type Plugin } from '../../src/index.ts';
import { me } from '../../src/inspect.ts';
import { systemPlatform } from '../../src/platform.ts';
import { parseGroup, rounds, type Protocol, type Rounds } from '../../src/rounds/index.ts';
import { openLevel } from '../../src/store/level.ts';
import { importTrust } from '../../src/trust/operator.ts';
import { Scene, type RunningBot } from '../support/scene.ts';
import { CHEAP_SCRYPT, PLAIN, tempFolder } from '../support/store-folder.ts';

let scene: Scene;
let folder: Awaited<ReturnType<typeof tempFolder>>;

beforeEach(async () => {
  [scene, folder] = [await Scene.start(), await tempFolder()];
});

afterEach(async () => {
  await scene.close();
  await folder.remove();
});

describe('a plugin that is set up', { timeout: 120_000 }, () => {
  it('leaves messages that are sent once the bot is online, in each start once', async () => {
    const friend = await scene.phone();
    let starts = 0;
    const plugin = definePlugin({
      name: 'awake',
      version: '1.0.0',
      permissions: ['send'],
      setup: (host) => host.update((tx) => void tx.send(friend.aci as Aci, `start ${String(++starts)}`)),
    });
    const first = await scene.bot((bot) => void bot.use(plugin));
    await expect.poll(() => texts(friend)).toEqual(['start 1']);
    await first.stop();
    await scene.run(first.phone, first.account, first.store, (bot) => void bot.use(plugin));
    await expect.poll(() => texts(friend)).toEqual(['start 1', 'start 2']);
  });

  it('ends what a backup has left open', async () => {
    const circles: Rounds[] = [];
    const [ours, theirs] = [await scene.bot(tossing(circles)), await scene.bot(tossing(circles))];
    const identities = await Promise.all([ours, theirs].map(({ store }) => me(store)));
    for (const { bot } of [ours, theirs]) await importTrust(trustOf(bot), identities, '');
    const parties = parseGroup(identities.map((identity) => JSON.stringify(identity)).join('\n'));
    const toss = { protocol: coinToss.name, params: undefined, input: undefined, parties };
    // At one alone: it cannot be done before the backup is made.
    const topic = await circles[0]?.open(toss);

    const platform = systemPlatform();
    const never = new AbortController().signal;
    const parts = { platform, passphrase: 'of the file', scrypt: CHEAP_SCRYPT };
    await writeBackup(`${folder.data}.backup`, { ...parts, store: ours.store }, never);
    await ours.stop();
    await restoreBackup(`${folder.data}.backup`, folder.data, { ...parts, secret: PLAIN }, never);
    const store = await openLevel(folder.data, { secret: PLAIN, create: false });
    await scene.run(ours.phone, ours.account, store, tossing(circles));
    expect(await circles[2]?.show(topic ?? '')).toMatchObject({
      state: 'aborted',
      end: { reason: 'a party was restored from a backup' },
    });
  });
});

async function texts(phone: RunningBot['phone']): Promise<readonly string[]> {
  return (await phone.messages()).flatMap((message) => (message.text === undefined ? [] : [message.text]));
}

/** A bot that tosses coins. @param circles its rounds are added to these */
function tossing(circles: Rounds[]): (bot: RunningBot['bot']) => void {
  const all = rounds([{ protocol: coinToss as unknown as Protocol }]);
  const plugin: Plugin = definePlugin({
    name: 'coins',
    version: '1.0.0',
    ...all.declares,
    setup: (host) => all.attach(host),
  });
  return (bot) => {
    bot.use(plugin);
    circles.push(all);
  };
}

function trustOf({ trust }: RunningBot['bot']): NonNullable<typeof trust> {
  if (trust === undefined) throw new Error('the bot does not run');
  return trust;
}
