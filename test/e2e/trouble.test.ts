/**
 * What goes wrong between a bot and its server: devices that come and go, limits, a second process, removal, a backlog.
 */
import { afterEach, describe, expect, it } from 'vitest';
import echo from '../../plugins/echo/index.ts';
import { parseAci } from '../../src/address.ts';
import type { Bot } from '../../src/bot.ts';
import { isBotError } from '../../src/errors.ts';
import { systemPlatform } from '../../src/platform.ts';
import { countKeys } from '../../src/service/keys.ts';
import { openMemory } from '../../src/store/memory.ts';
import { account, outboxRows, prekeyStates } from '../../src/store/tables.ts';
import { isExternal, received, Scene, SERVERS, type RunningBot, type ScenePhone } from '../support/scene.ts';

/** Real servers take 60 messages at once from one account to another, then one a second. */
const BACKLOG = isExternal ? 50 : 1000;
let scene: Scene;

afterEach(async () => {
  await scene.close();
});

function pong(bot: Bot): void {
  bot.use(echo);
}

/** A stranger's `!ping`, answered. The account's own phone would get a transcript. */
async function ping(bot: RunningBot, phone?: ScenePhone): Promise<void> {
  const from = phone ?? (await scene.phone());
  const before = (await received(from, 'text', 0)).length;
  await from.send(bot.aci, '!ping');
  const texts = await received(from, 'text', before + 1);
  expect(texts.slice(before)).toMatchObject([{ text: 'pong', from: bot.aci }]);
}

/** Texts in the outbox. */
async function waiting(bot: RunningBot): Promise<number[]> {
  const found: number[] = [];
  for await (const [, row] of outboxRows.scan(bot.store)) if (row.kind === 'text') found.push(row.timestamp);
  return found;
}

describe.each(SERVERS)('on a server of $name', (options) => {
  it(
    `a backlog of ${String(BACKLOG)} messages is answered after a start, in order and once each`,
    { timeout: 120_000 },
    async () => {
      scene = await Scene.start(options);
      const first = await scene.bot(pong);
      const friend = await scene.phone();
      await first.stop();
      for (let n = 0; n < BACKLOG; n++)
        await friend.send(first.aci, `number ${String(n)}`, { sealed: n % 2 === 0 });
      const seen: string[] = [];
      await scene.run(first.phone, first.account, first.store, (bot) => {
        bot.handle((on) => {
          on.text(({ text }) => {
            seen.push(text);
          });
        });
      });
      await expect.poll(() => seen.length, { timeout: 60_000 }).toBe(BACKLOG);
      expect(seen).toEqual(Array.from({ length: BACKLOG }, (_, n) => `number ${String(n)}`));
    },
  );

  it.skipIf(isExternal)('a device that is added or relinked gets the next message (409, 410)', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    const friend = await scene.phone();
    const send = 'PUT /v1/messages/:id';
    const refusals = async (): Promise<Record<string, number>> =>
      Object.fromEntries(
        Object.entries((await scene.server.stats()).refusals).filter(([key]) => key.startsWith(send)),
      );
    await ping(bot, friend);
    expect(await refusals()).toEqual({});
    const extra = await scene.server.addSecondaryDevice(friend.aci);
    await ping(bot, friend);
    expect(await refusals()).toEqual({ [`${send} 409`]: 1 });
    await scene.server.relinkSecondaryDevice(friend.aci, extra);
    await ping(bot, friend);
    expect(await refusals()).toEqual({ [`${send} 409`]: 1, [`${send} 410`]: 1 });
  });

  it('a second bot on the same account and a relinked one are met without loss', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    const sender = await scene.bot();
    const say = async (text: string): Promise<readonly number[]> => {
      const { timestamp } = await sender.bot.send(bot.aci, { kind: 'text', text });
      const end = await sender.bot.sent(bot.aci, timestamp, AbortSignal.timeout(20_000));
      if (end.state === 'failed') throw end.error;
      return end.devices;
    };
    const seen: string[] = [];
    const listen =
      (who: string) =>
      (made: Bot): void => {
        made.handle((on) => {
          on.text(({ text }) => {
            seen.push(`${who}: ${text}`);
          });
        });
      };
    expect(await say('one')).toEqual([1, 2]);
    const second = await scene.bot(listen('second'), { phone: bot.phone });
    expect(second.account.deviceId).toBe(3);
    expect(await say('two')).toEqual([1, 2, 3]);
    await expect.poll(() => seen).toEqual(['second: two']);
    await second.stop();
    expect(await bot.phone.removeDevice(3)).toBe(true);
    const third = await scene.bot(listen('third'), { phone: bot.phone });
    expect(third.account.deviceId).toBe(3);
    expect(await say('three')).toEqual([1, 2, 3]);
    await expect.poll(() => seen).toEqual(['second: two', 'third: three']);
  });

  it.skipIf(isExternal)('waits as long as the server says (429), and sends then', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    const friend = await scene.phone();
    await ping(bot, friend);
    const path = `/v1/messages/${friend.aci}`;
    scene.server.faults.add({ verb: 'PUT', path, count: 1, action: { status: 429, retryAfter: 2 } });
    const start = Date.now();
    await bot.bot.send(parseAci(friend.aci), { kind: 'text', text: 'late' });
    expect((await received(friend, 'text', 2)).at(-1)).toMatchObject({ text: 'late' });
    expect(Date.now() - start).toBeGreaterThan(1900);
  });

  it('ends with DEVICE_UNLINKED when the phone removes it, and keeps its data', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    expect(await bot.phone.removeDevice(bot.account.deviceId)).toBe(true);
    expect(isBotError(await bot.ended, 'DEVICE_UNLINKED')).toBe(true);
    const row = await account.get(bot.store.batch());
    expect(row?.aci).toBe(bot.aci);
    expect(row?.unlinkedAt).not.toBeNull();
    await expect(scene.run(bot.phone, bot.account, bot.store)).rejects.toMatchObject({
      code: 'DEVICE_UNLINKED',
    });
    const again = await scene.bot(pong, { phone: bot.phone, store: bot.store });
    await ping(again);
  });

  it.skipIf(isExternal)(
    'starts again after a 403 that was not the server’s, and makes no second device',
    async () => {
      scene = await Scene.start(options);
      const bot = await scene.bot(pong);
      await bot.stop();
      scene.server.faults.add({ path: '/v1/websocket/', count: 50, action: { status: 403 } });
      await expect(scene.run(bot.phone, bot.account, bot.store)).rejects.toMatchObject({
        code: 'DEVICE_UNLINKED',
      });
      scene.server.faults.clear();
      await expect(scene.link(bot.phone, bot.store)).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
      await ping(await scene.run(bot.phone, bot.account, bot.store, pong));
      expect((await account.get(bot.store.batch()))?.unlinkedAt).toBeNull();
      expect(await scene.server.phones.get(bot.aci)?.devices()).toHaveLength(2);
    },
  );

  it('ends with CONNECTED_ELSEWHERE when another process connects with its identity', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    const copy = openMemory();
    const batch = copy.batch();
    for await (const [key, value] of bot.store.scan('')) batch.put(key, value);
    await batch.commit();
    await scene.run(bot.phone, bot.account, copy);
    expect(isBotError(await bot.ended, 'CONNECTED_ELSEWHERE')).toBe(true);
  });

  it.skipIf(isExternal)(
    'is reached when its one-time keys are used up, and fills them up again',
    { timeout: 60_000 },
    async () => {
      scene = await Scene.start(options);
      const bot = await scene.bot(pong);
      const { aci, deviceId } = bot.account;
      await scene.server.exhaustKeys(aci, deviceId);
      expect(await scene.server.keyCounts(aci, deviceId, 'aci')).toEqual({ ec: 0, kyber: 0 });
      const stranger = await scene.bot();
      const { timestamp } = await stranger.bot.send(aci, { kind: 'text', text: '!ping' });
      expect(await stranger.bot.sent(aci, timestamp, AbortSignal.timeout(20_000))).toMatchObject({
        state: 'sent',
      });
      await expect
        .poll(async () => (await scene.server.keyCounts(aci, deviceId, 'aci')).ec, {
          timeout: 40_000,
          interval: 200,
        })
        .toBeGreaterThan(90); // a peer may have taken some of the new ones
    },
  );

  it('rotates its signed and last-resort keys after a day and a half, and is reached with the new ones', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    const keys = async (): Promise<unknown[]> => {
      const state = await prekeyStates.get(bot.store.batch(), 'aci');
      return [state?.signedId, state?.lastResortId];
    };
    const before = await keys();
    await bot.stop();
    const clock = { ...systemPlatform().clock, now: () => Date.now() + 37 * 3_600_000 };
    const later = await scene.run(bot.phone, bot.account, bot.store, pong, {
      platform: { ...systemPlatform(), clock },
    });
    await expect.poll(keys, { timeout: 20_000 }).not.toEqual(before);
    const [signed, lastResort] = await keys();
    expect([signed, lastResort]).not.toContain(before[0]);
    expect([signed, lastResort]).not.toContain(before[1]);
    await ping(later);
  });

  it('has uploaded 100 one-time keys of each kind for both identities', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot();
    for (const kind of ['aci', 'pni'] as const) {
      expect(await countKeys(bot.bot.requester, kind)).toEqual({ ec: 100, kyber: 100 });
      expect(await prekeyStates.get(bot.store.batch(), kind)).toMatchObject({
        signedId: expect.any(Number) as number,
      });
    }
  });

  it.skipIf(isExternal)('sends what waits in the outbox when the server is back', async () => {
    scene = await Scene.start(options);
    const bot = await scene.bot(pong);
    const friend = await scene.phone();
    await ping(bot, friend);
    scene.server.faults.add({ verb: 'PUT', path: '/v1/messages', count: 2, action: { status: 503 } });
    scene.server.faults.add({ verb: 'PUT', path: '/v1/messages', count: 1, action: { close: 1011 } });
    await bot.bot.send(parseAci(friend.aci), { kind: 'text', text: 'late' });
    const texts = await received(friend, 'text', 2);
    expect(texts.at(-1)).toMatchObject({ text: 'late' });
    await expect.poll(() => waiting(bot)).toEqual([]);
  });

  it.skipIf(isExternal)(
    'takes each message once when the server delivers it twice or out of order',
    async () => {
      scene = await Scene.start(options);
      const seen: string[] = [];
      const bot = await scene.bot((each) => {
        each.handle((on) => {
          on.text(({ text }) => {
            seen.push(text);
          });
        });
      });
      const friend = await scene.phone();
      await friend.send(bot.aci, 'zero');
      await expect.poll(() => seen.length).toBe(1);
      scene.server.faults.add({ path: '/api/v1/message', count: 2, action: { duplicate: true } });
      scene.server.faults.add({ path: '/api/v1/message', count: 1, action: { reorder: true } });
      for (const text of ['one', 'two', 'three', 'four']) await friend.send(bot.aci, text);
      await expect
        .poll(() => [...seen].sort(), { timeout: 20_000 })
        .toEqual(['four', 'one', 'three', 'two', 'zero']);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(seen).toHaveLength(5);
    },
  );
});
