/**
 * The main job on the development server, in each dialect: link, texts both ways, app messages between bots, and nothing
 * that shows on a phone.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import echo from '../../plugins/echo/index.ts';
import { parseTag } from '../../src/content/app-message.ts';
import { appType } from '../../src/router.ts';
import { isExternal, received, Scene, SERVERS, type RunningBot } from '../support/scene.ts';

const ECHO = parseTag('countersign.echo/1');

describe.each(SERVERS)('on a server of $name', (options) => {
  let scene: Scene;
  let alice: RunningBot;
  let bob: RunningBot;
  const answers: string[] = [];

  beforeAll(async () => {
    scene = await Scene.start(options);
    alice = await scene.bot((bot) => bot.use(echo));
    bob = await scene.bot((bot) => {
      bot.handle((on) => {
        on.text(/^ping$/, (ctx) => ctx.reply('pong'));
      });
      bot.use({
        name: 'listener',
        version: '1',
        setup: (host) => {
          host.app(
            { tag: ECHO, decode: (b) => b, encode: (b) => b, of: (payload) => ({ tag: ECHO, payload }) },
            (ctx) => {
              answers.push(Buffer.from(ctx.value).toString());
            },
          );
        },
      });
    });
  });

  afterAll(async () => {
    await scene.close();
  });

  it('a bot answers a text, unsealed and sealed', async () => {
    const { phone } = alice;
    for (const [n, sealed] of [false, true].entries()) {
      await phone.send(bob.aci, 'ping', { sealed });
      const texts = await received(phone, 'text', n + 1);
      expect(texts).toHaveLength(n + 1);
      expect(texts[n]).toMatchObject({ text: 'pong', from: bob.aci, device: bob.account.deviceId });
    }
  });

  it('a bot answers the note to self of its own account', async () => {
    await alice.phone.send(alice.aci, '!echo remember the milk');
    await expect
      .poll(async () => (await received(alice.phone, 'sync', 1)).map(({ text }) => text), { timeout: 20_000 })
      .toContain('remember the milk');
  });

  it('two bots exchange an app message that shows on no phone', async () => {
    const before = await Promise.all([received(alice.phone, 'text', 0), received(bob.phone, 'text', 0)]);
    await bob.bot.send(alice.aci, { kind: 'app', tag: ECHO, payload: Buffer.from('hello') });
    await expect.poll(() => answers, { timeout: 20_000 }).toEqual(['re:hello']);
    const nulls = await Promise.all([received(alice.phone, 'null', 1), received(bob.phone, 'null', 1)]);
    expect(nulls[0].length).toBeGreaterThan(0);
    expect(nulls[1].length).toBeGreaterThan(0);
    const after = await Promise.all([received(alice.phone, 'text', 0), received(bob.phone, 'text', 0)]);
    expect(after).toEqual(before);
    for (const bot of [alice, bob]) expect(await received(bot.phone, 'undecodable', 0)).toEqual([]);
  });

  it('a bot that comes back with another plugin is known to have it', async () => {
    const TAG = parseTag('example.org/later/1');
    const later = appType(TAG);
    const got: string[] = [];
    // Bob has been told what Alice handles: the new tag is not among it.
    const first = await bob.bot.send(alice.aci, { kind: 'app', tag: TAG, payload: Buffer.from('too early') });
    const end = await bob.bot.sent(alice.aci, first.timestamp, AbortSignal.timeout(20_000));
    // The phone, which shows nothing. A headless primary has said that it does not handle it either: nobody is left.
    if (isExternal) expect(end).toMatchObject({ state: 'failed', error: { code: 'RECIPIENT_LACKS_PLUGIN' } });
    else expect(end).toMatchObject({ state: 'sent', devices: [1] });
    await alice.stop();
    alice = await scene.run(alice.phone, alice.account, alice.store, (bot) => {
      bot.use(echo);
      bot.handle((on) => {
        on.app(later, (ctx) => {
          got.push(Buffer.from(ctx.value).toString());
        });
      });
    });
    await expect
      .poll(
        async () => {
          const { timestamp } = await bob.bot.send(alice.aci, {
            kind: 'app',
            tag: TAG,
            payload: Buffer.from('now'),
          });
          await bob.bot.sent(alice.aci, timestamp, AbortSignal.timeout(20_000));
          return got[0];
        },
        { timeout: 20_000, interval: 300 },
      )
      .toBe('now');
  });

  it.skipIf(isExternal)(
    'a bot sends its password to no other server than the one that it was linked at',
    async () => {
      const other = await Scene.start(options);
      try {
        const profile = other.profile;
        await expect(
          other.run(bob.phone, bob.account, bob.store, undefined, { profile }),
        ).rejects.toMatchObject({
          code: 'PROFILE_INVALID',
        });
        expect((await other.server.stats()).requests).not.toHaveProperty('GET /v1/websocket/');
      } finally {
        await other.close();
      }
    },
  );

  it('the sender of a text gets a delivery receipt', async () => {
    const { timestamp } = await alice.phone.send(bob.aci, 'no command');
    await expect
      .poll(
        async () =>
          (await alice.phone.messages()).filter(({ kind, from }) => kind === 'receipt' && from === bob.aci)
            .length,
        {
          timeout: 20_000,
        },
      )
      .toBeGreaterThan(0);
    expect(timestamp).toBeGreaterThan(0);
  });
});
