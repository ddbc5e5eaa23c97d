import { afterEach, describe, expect, it } from 'vitest';
import { serviceIdFromBytes, uuidFromBytes } from '../../src/address.ts';
import { toTime } from '../../src/bytes.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import type { RawDelivery, RawSocket } from '../support/raw-client.ts';
import { RawDevice, textContent } from '../support/raw-device.ts';
import { quiet } from '../support/until.ts';

let server: DevServer;
let phone: Phone;
let peer: Phone;
let device: RawDevice;
const DIALECTS = ['jun25', 'dec25', 'aug26'] as const;

async function start(options: DevServerOptions = {}): Promise<void> {
  server = await startDevServer(options);
  [phone, peer] = [await server.createPhone(), await server.createPhone()];
  device = await RawDevice.link(server, phone);
}
afterEach(() => server.close());

async function texts(count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++) await peer.send(phone.aci, `text ${String(i)}`);
}
const guids = async (socket: RawSocket, count: number): Promise<(string | null)[]> =>
  Promise.all(Array.from({ length: count }, async (_, i) => guidOf(await socket.envelope(i))));
function guidOf(envelope: Awaited<ReturnType<RawSocket['envelope']>>): string | null {
  return envelope.serverGuidBinary === null ? envelope.serverGuid : uuidFromBytes(envelope.serverGuidBinary);
}

describe('an envelope', () => {
  it.each([
    ['jun25', true, false],
    ['dec25', true, true],
    ['aug26', false, true],
  ] as const)('in %s has string ids: %s, binary ids: %s', async (dialect, strings, binary) => {
    await start({ dialect });
    const socket = await device.connect();
    server.clock.advance(5_000);
    const { timestamp } = await peer.send(phone.aci, 'hello');
    const envelope = await socket.envelope(0);
    const uuid = /^[0-9a-f-]{36}$/;
    expect(envelope.sourceServiceId).toBe(strings ? peer.aci : null);
    expect(envelope.destinationServiceId).toBe(strings ? phone.aci : null);
    if (strings) expect(envelope.serverGuid).toMatch(uuid);
    else expect(envelope.serverGuid).toBeNull();
    if (binary) {
      expect(serviceIdFromBytes(envelope.sourceServiceIdBinary ?? new Uint8Array(0))).toBe(peer.aci);
      expect(serviceIdFromBytes(envelope.destinationServiceIdBinary ?? new Uint8Array(0))).toBe(phone.aci);
      expect(envelope.serverGuidBinary).toHaveLength(16);
    } else {
      expect([
        envelope.sourceServiceIdBinary,
        envelope.destinationServiceIdBinary,
        envelope.serverGuidBinary,
      ]).toEqual([null, null, null]);
    }
    expect(envelope.story).toBe(dialect === 'jun25' ? false : null);
    expect(envelope.urgent).toBe(true);
    expect(envelope.sourceDevice).toBe(1);
    expect(toTime(envelope.clientTimestamp ?? 0)).toBe(timestamp);
    expect(Math.abs(toTime(envelope.serverTimestamp ?? 0) - server.clock.now())).toBeLessThan(2_000);
    const { headers, id } = await socket.delivery(0);
    expect(Number(headers['x-signal-timestamp'])).toBeGreaterThan(Date.now() + 4_000);
    expect(headers['x-signal-key']).toBe(dialect === 'aug26' ? undefined : 'false');
    expect(id).toBeGreaterThan(0n);
    await socket.close();
  });
});

describe('the queue', () => {
  it('is handed over before "empty", which waits for the answers', async () => {
    await start();
    await texts(3);
    const socket = await device.connect({ autoAck: false });
    await socket.delivery(2);
    await quiet();
    expect(socket.count('/api/v1/queue/empty')).toBe(0);
    for (const delivery of socket.deliveries) delivery.answer();
    await socket.delivery(0, '/api/v1/queue/empty');
    expect((await server.stats()).queued).toBe(0);
    await socket.close();
  });

  it.each(DIALECTS)(
    'comes again on the next connection in %s with the same guids in the same order',
    async (dialect) => {
      await start({ dialect });
      await texts(5);
      const first = await device.connect({ autoAck: false });
      const before = await guids(first, 5);
      first.deliveries[1]?.answer();
      first.deliveries[1]?.answer(); // twice does no harm
      await quiet();
      await first.close();
      const second = await device.connect();
      const after = await guids(second, 4);
      expect(after).toEqual(before.filter((_, i) => i !== 1));
      expect(new Set(before).size).toBe(5);
      await second.close();
    },
  );

  it.each(DIALECTS)(
    'waits in %s while one message is unanswered, and a late answer sets it free',
    async (dialect) => {
      await start({ dialect });
      await texts(2);
      const socket = await device.connect({ autoAck: false });
      await socket.delivery(1);
      await texts(1, 2);
      socket.deliveries[0]?.answer();
      await quiet();
      expect(socket.count()).toBe(2);
      socket.deliveries[1]?.answer();
      await socket.delivery(2);
      await socket.close();
    },
  );

  it('sends an unanswered message again after five minutes in jun25 only', async () => {
    await start({ dialect: 'jun25' });
    await texts(1);
    const socket = await device.connect({ autoAck: false });
    await socket.delivery(0);
    for (let i = 0; i < 5; i++) {
      await socket.request('GET', '/v1/keepalive'); // keeps it from being idle
      server.clock.advance(60_000);
    }
    await socket.delivery(1);
    const [a, b] = await guids(socket, 2);
    expect(a).toBe(b);
    await socket.close();
  });

  it.each(['dec25', 'aug26'] as const)(
    'goes silent for good in %s once a message was refused',
    async (dialect) => {
      await start({ dialect });
      const socket = await device.connect({ autoAck: false });
      (await socket.delivery(0, '/api/v1/queue/empty')).answer();
      await texts(1);
      (await socket.delivery(0)).answer(500);
      await texts(2, 1);
      await quiet();
      expect(socket.count()).toBe(1);
      await quiet();
      expect((await socket.request('GET', '/v1/keepalive')).status).toBe(200);
      await socket.close();
      const next = await device.connect();
      await next.delivery(2);
      await next.close();
    },
  );

  it('repeats a refused message with each later one in jun25', async () => {
    await start({ dialect: 'jun25' });
    const socket = await device.connect({ autoAck: false });
    await texts(1);
    const refused = await socket.delivery(0);
    refused.answer(500);
    await quiet();
    expect(socket.count()).toBe(1);
    await texts(1, 1);
    await socket.delivery(2);
    const [first, again, later] = await guids(socket, 3);
    expect(again).toBe(first);
    expect(later).not.toBe(first);
    await socket.close();
  });

  it('holds a backlog of 1,000', async () => {
    await start();
    for (let i = 0; i < 1_000; i++) await peer.send(phone.aci, `text ${String(i)}`);
    const socket = await device.connect();
    await socket.delivery(999);
    expect((await device.open(await socket.envelope(0))).dataMessage?.body).toBe('text 0');
    await socket.delivery(0, '/api/v1/queue/empty');
    await socket.close();
  });

  it('keeps a message for connected devices ten seconds, and stories for those who want them', async () => {
    await start();
    const sender = await RawDevice.link(server, peer);
    const theirs = await sender.connect();
    const put = async (more: object, query = ''): Promise<void> => {
      const timestamp = Date.now();
      const messages = [];
      for (const id of [1, 2])
        messages.push(await sender.encrypt(theirs, phone.aci, id, textContent('x', timestamp)));
      const path = `/v1/messages/${phone.aci}${query}`;
      expect((await theirs.request('PUT', path, { json: { messages, timestamp, ...more } })).status).toBe(
        200,
      );
    };
    await put({ online: true });
    await put({}, '?story=true');
    await put({});
    server.clock.advance(10_001);
    const socket = await device.connect();
    await socket.delivery(0, '/api/v1/queue/empty');
    expect(socket.count()).toBe(1);
    await device.leave(socket);
    await put({}, '?story=true');
    const curious = await device.connect({ headers: { 'X-Signal-Receive-Stories': 'true' } });
    expect((await curious.envelope(0)).story).toBe(true);
    await Promise.all([curious.close(), theirs.close()]);
  });
});

describe('delivery receipts', () => {
  it('go to every linked device of an unsealed sender once its message is acknowledged, not for sealed ones', async () => {
    await start({ dialect: 'dec25' });
    const sender = await RawDevice.link(server, peer);
    const theirs = await sender.connect();
    const ours = await device.connect({ autoAck: false });
    const timestamp = Date.now();
    const messages = await Promise.all(
      [1, 2].map((id) => sender.encrypt(theirs, phone.aci, id, textContent('x', timestamp))),
    );
    await theirs.request('PUT', `/v1/messages/${phone.aci}`, { json: { messages, timestamp } });
    const fromPhone = await theirs.envelope(0);
    expect(fromPhone).toMatchObject({ type: 5, sourceServiceId: phone.aci, sourceDevice: 1, content: null });
    expect(toTime(fromPhone.clientTimestamp ?? 0)).toBe(timestamp);
    await quiet();
    expect(theirs.count()).toBe(1);
    const delivery: RawDelivery = await ours.delivery(0);
    delivery.answer(204);
    expect(await theirs.envelope(1)).toMatchObject({
      type: 5,
      sourceDevice: 2,
      destinationServiceId: peer.aci,
    });
    await peer.send(phone.aci, 'sealed', { sealed: true }); // and its transcript goes to the sender
    (await ours.delivery(1)).answer();
    await quiet();
    expect(theirs.count()).toBe(3);
    expect((await theirs.envelope(2)).type).not.toBe(5);
    await Promise.all([ours.close(), theirs.close()]);
  });
});
