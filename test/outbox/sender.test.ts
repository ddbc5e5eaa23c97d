import { describe, expect, it } from 'vitest';
import { encodeText } from '../../src/content/encode.ts';
import { isBotError } from '../../src/errors.ts';
import { Stamps } from '../../src/bot/stamps.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { outboxRows, peers, sentLog } from '../../src/store/tables.ts';
import { ManualClock, settle } from '../support/clock.ts';
import { outboxOf, read } from '../support/outbox.ts';
import { leaveText, NOW, rows, scene, until } from '../support/outbox-scene.ts';
import { makePeer } from '../support/peer.ts';
import { FaultyStore } from '../support/store-faults.ts';

describe('Sender', () => {
  it('sends in the order of the timestamps, moves rows to the sent log and says how they ended', async () => {
    const all = await scene();
    for (const n of [2, 1, 3]) await leaveText(all, NOW + n);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 3);
    await all.outbox.stop();
    expect(all.hub.letters.map(({ timestamp }) => timestamp - NOW)).toEqual([1, 2, 3]);
    expect(await rows(all.alice)).toEqual([]);
    expect(await sentLog.get(all.alice.store.batch(), all.bob.aci, NOW + 2)).toMatchObject({ devices: [2] });
    expect(all.outbox.ended[0]).toMatchObject({ end: { state: 'sent', devices: [2] } });
  });

  it('sends a row with an older timestamp that comes while a newer one is under way', async () => {
    const all = await scene();
    let older: Promise<OutboxRow> | undefined;
    all.hub.before = ({ verb }) => {
      if (verb === 'PUT') older ??= leaveText(all, NOW + 1);
      return undefined;
    };
    await leaveText(all, NOW + 2);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 2);
    await all.outbox.stop();
    expect(all.hub.letters.map(({ timestamp }) => timestamp - NOW)).toEqual([2, 1]);
    expect(await rows(all.alice)).toEqual([]);
  });

  it('keeps the time that the server names in the row, also over a restart', async () => {
    const all = await scene();
    all.hub.before = ({ verb }) =>
      verb === 'PUT' ? { status: 429, headers: { 'retry-after': '30' } } : undefined;
    await leaveText(all, NOW + 1);
    all.outbox.start();
    await until(() => all.hub.asked('PUT', '/v1/messages').length === 1);
    await settle();
    await all.outbox.stop();
    expect(await rows(all.alice)).toMatchObject([
      { retryAt: NOW + 30_000, attempts: 1, error: 'RATE_LIMITED' },
    ]);

    all.hub.before = () => undefined;
    const again = outboxOf(all.alice, all.hub);
    again.start();
    await all.clock.advance(29_000);
    expect(all.hub.letters).toHaveLength(0);
    await all.clock.advance(2_000);
    await until(() => again.ended.length === 1);
    await again.stop();
    expect(all.hub.letters).toMatchObject([{ timestamp: NOW + 1 }]);
  });

  it('lets other recipients pass one that must wait', async () => {
    const all = await scene();
    const carol = await makePeer({ platform: all.alice.platform });
    all.hub.add(carol);
    all.hub.before = ({ verb, path }) =>
      verb === 'PUT' && path.includes(all.bob.aci)
        ? { status: 429, headers: { 'retry-after': '600' } }
        : undefined;
    all.outbox.start();
    await leaveText(all, NOW + 1);
    await leaveText(all, NOW + 2, carol);
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(all.hub.letters).toMatchObject([{ to: carol }]);
  });

  it('keeps the pace of 60 unsealed messages and then one a second, without asking the server', async () => {
    const all = await scene();
    for (let n = 1; n <= 65; n++) await leaveText(all, NOW + n);
    all.outbox.start();
    await until(() => all.hub.letters.length === 60);
    await settle();
    expect(all.hub.asked('PUT', '/v1/messages')).toHaveLength(60);
    for (let n = 61; n <= 65; n++) {
      await all.clock.advance(1000);
      await until(() => all.hub.letters.length === n);
    }
    await until(() => all.outbox.ended.length === 65);
    await all.outbox.stop();
    expect(all.hub.asked('PUT', '/v1/messages')).toHaveLength(65);
  });

  it('waits while nothing is heard from the server and tries at once when it is back', async () => {
    const all = await scene();
    let calls = 0;
    all.hub.before = ({ verb }) => (verb === 'PUT' && calls++ < 3 ? { status: 503 } : undefined);
    await leaveText(all, NOW + 1);
    all.outbox.start();
    for (let n = 1; n <= 3; n++) {
      await until(() => calls === n);
      await settle();
      all.outbox.sender.retryNow();
    }
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(await rows(all.alice)).toEqual([]);
  });

  it('waits when the answer makes no sense, and does not end the bot', async () => {
    const all = await scene();
    let calls = 0;
    all.hub.before = ({ path }) =>
      path.startsWith('/v2/keys') && calls++ === 0 ? { status: 200, body: { devices: 'no' } } : undefined;
    await leaveText(all, NOW + 1);
    all.outbox.start();
    await until(() => calls === 1);
    await all.clock.advance(2000);
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(all.hub.letters).toMatchObject([{ timestamp: NOW + 1 }]);
  });

  it('keeps what failed for good to be looked at, and goes on with the next', async () => {
    const all = await scene();
    all.hub.before = ({ verb }) =>
      verb === 'PUT' && all.hub.asked('PUT', '/v1').length === 1 ? { status: 413 } : undefined;
    await leaveText(all, NOW + 1);
    await leaveText(all, NOW + 2);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 2);
    await all.outbox.stop();
    expect(await rows(all.alice)).toMatchObject([
      { state: 'failed', error: 'PAYLOAD_TOO_LARGE', timestamp: NOW + 1 },
    ]);
    expect(all.hub.letters).toMatchObject([{ timestamp: NOW + 2 }]);
  });

  it('tells our other devices what was sent', async () => {
    const all = await scene();
    const phone = await makePeer({ platform: all.alice.platform, deviceOf: all.alice.account, deviceId: 1 });
    all.hub.add(phone);
    await leaveText(all, NOW + 1);
    all.outbox.start();
    await until(() => all.hub.letters.length === 2 && all.outbox.ended.length === 2);
    await all.outbox.stop();
    const copy = all.hub.letters[1];
    expect(copy?.to).toBe(phone);
    expect(await read(phone, copy?.envelope ?? new Uint8Array(0))).toMatchObject({
      kind: 'sync',
      sync: { type: 'sent', destination: all.bob.aci, timestamp: NOW + 1, content: { text: 'number 1' } },
    });
  });

  it('sends a row again with its timestamp when the process died before it was taken away', async () => {
    const all = await scene();
    await leaveText(all, NOW + 1);
    const store = new FaultyStore(all.alice.store, { at: 3, kind: 'crash-before' });
    const first = outboxOf(all.alice, all.hub, { store });
    first.start();
    await until(() => all.hub.letters.length === 1);
    await first.stop().catch(() => undefined);
    const second = outboxOf(all.alice, all.hub);
    second.start();
    await until(() => second.ended.length === 1);
    await second.stop();
    expect(all.hub.letters.map(({ timestamp }) => timestamp)).toEqual([NOW + 1, NOW + 1]);
    expect(all.hub.letters[0]?.envelope).not.toEqual(all.hub.letters[1]?.envelope);
  });

  it('sends again to a device that asked while the same message was on its way to another', async () => {
    const all = await scene();
    all.hub.add(await makePeer({ platform: all.alice.platform, deviceOf: all.bob.account, deviceId: 3 }));
    const content = encodeText('again', NOW + 1);
    const resend = { recipient: all.bob.aci, timestamp: NOW + 1, kind: 'resend' as const, content };
    let asked = false;
    all.hub.before = ({ verb }) => {
      if (verb === 'PUT' && !asked) {
        asked = true;
        all.outbox.leave({ ...resend, devices: [2, 3] }).catch(() => undefined);
      }
      return undefined;
    };
    await all.outbox.leave({ ...resend, devices: [2] });
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.clock.advance(10);
    await until(() => all.outbox.ended.length === 2);
    await all.outbox.stop();
    expect(all.outbox.ended.map(({ end }) => end)).toEqual([
      { state: 'sent', devices: [2] },
      { state: 'sent', devices: [3] },
    ]);
    expect(await rows(all.alice)).toEqual([]);
  });

  it('does not wait for a time that a wrong clock has written', async () => {
    const all = await scene();
    const row = await leaveText(all, NOW + 1);
    const batch = all.alice.store.batch();
    outboxRows.put(batch, row.recipient, row.timestamp, { ...row, retryAt: NOW + 365 * 24 * 3_600_000 });
    await batch.commit();
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
  });

  it('announces again after an announcement that could not be sent', async () => {
    const all = await scene();
    const batch = all.alice.store.batch();
    peers.put(batch, 'aci', all.bob.aci, { devices: [], announced: 'hash' });
    await batch.commit();
    all.hub.before = ({ verb }) => (verb === 'PUT' ? { status: 422 } : undefined);
    await all.outbox.leave({
      recipient: all.bob.aci,
      timestamp: NOW + 1,
      kind: 'announce',
      content: encodeText('x', NOW),
    });
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(await peers.get(all.alice.store.batch(), 'aci', all.bob.aci)).not.toHaveProperty('announced');
  });

  it('notes the last timestamp, so that a clock set back gives none again', async () => {
    const all = await scene();
    await leaveText(all, NOW + 5);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    const stamps = new Stamps(new ManualClock(NOW - 1000));
    await stamps.open(all.alice.store);
    expect(stamps.next()).toBe(NOW + 6);
    const sane = new Stamps(new ManualClock(NOW - 400 * 24 * 3_600_000));
    await sane.open(all.alice.store);
    expect(sane.next()).toBe(NOW - 400 * 24 * 3_600_000);
  });

  it('ends with the reason when the store cannot be written', async () => {
    const all = await scene();
    await leaveText(all, NOW + 1);
    const store = new FaultyStore(all.alice.store, { at: 1, kind: 'fail' });
    const outbox = outboxOf(all.alice, all.hub, { store });
    outbox.start();
    await expect(outbox.sender.run(AbortSignal.timeout(1000))).rejects.toSatisfy((error) =>
      isBotError(error, 'STORE_WRITE_FAILED'),
    );
    await outbox.stop().catch(() => undefined);
    expect(all.hub.letters).toHaveLength(0);
  });
});
