/**
 * Tagged listening among the devices of a server: bots that know each other go on, phones are not heard and notice
 * nothing of it, and what they write is read again once the bot listens to all.
 */
import { afterEach, describe, expect, it } from 'vitest';
import echo from '../../plugins/echo/index.ts';
import { parseTag } from '../../src/content/app-message.ts';
import type { Bot } from '../../src/bot.ts';
import { appType } from '../../src/router.ts';
import { sessions } from '../../src/store/tables.ts';
import { isExternal, received, Scene, SERVERS, type RunningBot, type ScenePhone } from '../support/scene.ts';

const ECHO = parseTag('countersign.echo/1');
let scene: Scene;

afterEach(async () => {
  await scene.close();
});

/** A bot that keeps the texts it hears, and the answers to what it has sent. */
function hearer(heard: string[]): (bot: Bot) => void {
  return (bot) => {
    bot.handle((on) => {
      on.text(({ text }) => {
        heard.push(text);
      });
      on.app(appType(ECHO), ({ value }) => {
        heard.push(Buffer.from(value).toString());
      });
    });
  };
}

async function say(from: RunningBot, to: RunningBot, text: string): Promise<void> {
  const { timestamp } = await from.bot.send(to.aci, { kind: 'app', tag: ECHO, payload: Buffer.from(text) });
  expect(await from.bot.sent(to.aci, timestamp, AbortSignal.timeout(20_000))).toMatchObject({
    state: 'sent',
  });
}

async function hears(heard: readonly string[], ...texts: string[]): Promise<void> {
  await expect.poll(() => heard, { timeout: 20_000 }).toEqual(texts);
}

async function untagged(bot: RunningBot, count: number): Promise<void> {
  await expect.poll(() => bot.bot.drops?.untagged, { timeout: 20_000 }).toBe(count);
}

/** Runs the bot again, listening otherwise. */
async function again(
  bot: RunningBot,
  listen: 'all' | 'tagged',
  configure: (bot: Bot) => void,
): Promise<RunningBot> {
  // What is sent and not noted as sent would be sent once more.
  await expect.poll(() => rows(bot, 'outbox/'), { timeout: 20_000 }).toBe(0);
  await bot.stop();
  return scene.run(bot.phone, bot.account, bot.store, configure, { listen });
}

describe.each(SERVERS)('on a server of $name', (options) => {
  it('bots that have met go on, and one that is met first is answered', { timeout: 60_000 }, async () => {
    scene = await Scene.start(options);
    const heard: string[] = [];
    const alice = await scene.bot((bot) => bot.use(echo));
    let bob = await scene.bot(hearer(heard));
    await say(bob, alice, 'before');
    await hears(heard, 're:before');
    bob = await again(bob, 'tagged', hearer(heard));
    await say(bob, alice, 'after');
    await hears(heard, 're:before', 're:after');
    // Carol has never heard of Bob: his announcement goes first, so that her answer has a tag.
    const carol = await scene.bot((bot) => bot.use(echo));
    await say(bob, carol, 'nice to meet you');
    await hears(heard, 're:before', 're:after', 're:nice to meet you');
    expect(bob.bot.drops?.untagged).toBe(0);
    for (const { phone } of [alice, bob, carol]) expect(await received(phone, 'undecodable', 0)).toEqual([]);
  });

  it('the phone of the account itself is heard', { timeout: 60_000 }, async () => {
    scene = await Scene.start(options);
    const heard: string[] = [];
    const bob = await scene.bot(hearer(heard), { listen: 'tagged' });
    await bob.phone.send(bob.aci, 'a note to self');
    await hears(heard, 'a note to self');
    expect(bob.bot.drops?.untagged).toBe(0);
  });

  it.skipIf(isExternal)(
    'a phone that is not heard notices nothing, and is read again later',
    { timeout: 60_000 },
    async () => {
      scene = await Scene.start(options);
      const heard: string[] = [];
      let bob = await scene.bot(hearer(heard));
      const [friend, stranger] = [await scene.phone(), await scene.phone()];
      await friend.send(bob.aci, 'hello');
      await hears(heard, 'hello');
      await received(friend, 'receipt', 1);
      bob = await again(bob, 'tagged', hearer(heard));
      const before = await Promise.all([friend.messages(), stranger.messages()]);
      for (let n = 0; n < 6; n++) {
        await friend.send(bob.aci, `unheard ${String(n)}`, { sealed: n % 2 === 0 });
        await stranger.send(bob.aci, `of a stranger ${String(n)}`);
      }
      await untagged(bob, 12);
      // No retry request, no receipt, no error: nothing has come back, and nothing is asked of the server's keys.
      expect(await Promise.all([friend.messages(), stranger.messages()])).toEqual(before);
      expect(heard).toEqual(['hello']);
      expect(await rows(bob, 'quarantine/')).toBe(0);

      bob = await again(bob, 'all', hearer(heard));
      await friend.send(bob.aci, 'are you there?');
      await stranger.send(bob.aci, 'and now?');
      await hears(heard, 'hello', 'are you there?', 'and now?');
      expect(await rows(bob, 'quarantine/')).toBe(0);
      await bothAnswered(friend, stranger);
    },
  );

  it.skipIf(isExternal)(
    'a session that has come out of step meanwhile heals by one retry request',
    { timeout: 60_000 },
    async () => {
      scene = await Scene.start(options);
      const heard: string[] = [];
      let bob = await scene.bot(hearer(heard));
      const friend = await scene.phone();
      await friend.send(bob.aci, 'hello');
      await hears(heard, 'hello');
      await received(friend, 'receipt', 1);
      bob = await again(bob, 'tagged', hearer(heard));
      await friend.send(bob.aci, 'unheard');
      await untagged(bob, 1);
      await bob.stop();
      // As after so many messages that the ratchet cannot follow.
      const batch = bob.store.batch();
      sessions.delete(batch, 'aci', friend.aci as RunningBot['aci'], 1);
      await batch.commit();
      bob = await scene.run(bob.phone, bob.account, bob.store, hearer(heard), { listen: 'all' });
      await friend.send(bob.aci, 'are you there?');
      await hears(heard, 'hello', 'are you there?');
      await friend.send(bob.aci, 'good');
      await hears(heard, 'hello', 'are you there?', 'good');
      expect(await rows(bob, 'quarantine/')).toBe(1);
      expect(await received(friend, 'undecodable', 0)).toEqual([]);
    },
  );
});

async function rows(bot: RunningBot, prefix: string): Promise<number> {
  let count = 0;
  for await (const [key] of bot.store.scan(prefix)) count += key === '' ? 0 : 1;
  return count;
}

/** Each has got its delivery receipt, and nothing that it could not read. */
async function bothAnswered(...phones: ScenePhone[]): Promise<void> {
  for (const phone of phones) {
    expect((await received(phone, 'receipt', 1)).length).toBeGreaterThan(0);
    expect(await received(phone, 'undecodable', 0)).toEqual([]);
  }
}
