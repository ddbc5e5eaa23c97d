/**
 * What becomes of a message that is not answered as it should be, of a socket that is not used as it should be, and what the
 * server writes by itself: where the mock is kinder than the Java servers, in each dialect.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { serviceIdFromBytes } from '../../src/address.ts';
import { toTime } from '../../src/bytes.ts';
import type { signal } from '../../src/proto/messages.js';
import { RawSocket } from '../support/raw-client.ts';
import { RawDevice } from '../support/raw-device.ts';
import { DIALECTS, Stage, type Entry } from '../support/stage.ts';
import { quiet } from '../support/until.ts';

const EMPTY = '/api/v1/queue/empty';
const PROVISIONING = '/v1/websocket/provisioning/';

describe.each(DIALECTS)('%s', (dialect) => {
  let stage: Stage;
  afterEach(() => stage.close());

  async function open(): Promise<void> {
    stage = await Stage.open({ dialect });
  }
  /** Texts for the device, while nobody listens, or while its socket does. */
  async function texts(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await stage.peer.send(stage.phone.aci, `text ${String(n)}`);
  }
  async function unplugged(count: number): Promise<RawSocket> {
    await open();
    await stage.device.leave(stage.socket);
    await texts(count);
    return stage.device.connect({ autoAck: false });
  }
  /** So much time, with keepalives that are answered. */
  async function pass(socket: RawSocket, ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 60_000) {
      expect((await socket.request('GET', '/v1/keepalive')).status).toBe(200);
      stage.server.clock.advance(Math.min(left, 60_000));
      await quiet();
    }
  }

  describe('a message', () => {
    it('holds "empty" back until the whole first drain is answered', async () => {
      const socket = await unplugged(3);
      await socket.delivery(2);
      await quiet();
      expect(socket.count(EMPTY)).toBe(0);
      for (const n of [0, 2]) socket.deliveries[n]?.answer();
      await quiet();
      expect(socket.count(EMPTY)).toBe(0);
      socket.deliveries[1]?.answer();
      await socket.delivery(0, EMPTY);
      await socket.close();
    });

    it('is taken by any status from 200 to 299, and no other', async () => {
      const socket = await unplugged(4);
      await socket.delivery(3);
      for (const [n, status] of [200, 204, 299, 300].entries()) socket.deliveries[n]?.answer(status);
      await quiet();
      expect((await stage.server.stats()).queued).toBe(1);
      await socket.close();
    });

    it('that is not answered stalls the socket; what it stalls comes on the next', async () => {
      const socket = await unplugged(1);
      await socket.delivery(0);
      await texts(2);
      await quiet();
      expect(socket.count()).toBe(1);
      await socket.close();
      const next = await stage.device.connect();
      await next.delivery(2);
      await next.delivery(0, EMPTY);
      await next.close();
    });

    it(
      dialect === 'jun25'
        ? 'that is not answered comes again each five minutes, five times, then the socket closes 1011'
        : 'that is not answered never comes again on its socket',
      async () => {
        const socket = await unplugged(1);
        await socket.delivery(0);
        await quiet();
        if (dialect !== 'jun25') {
          await pass(socket, 660_000);
          expect(socket.count()).toBe(1);
          socket.deliveries[0]?.answer(); // a late answer sets it free
          await socket.delivery(0, EMPTY);
          await socket.close();
          return;
        }
        for (let n = 1; n <= 5; n++) {
          await pass(socket, 300_000);
          expect((await socket.delivery(n)).body).toEqual(socket.deliveries[0]?.body);
        }
        await pass(socket, 299_000);
        stage.server.clock.advance(1_000);
        expect((await socket.closed).code).toBe(1011);
      },
    );

    it(
      dialect === 'jun25'
        ? 'that is refused comes again with every later one'
        : 'that is refused silences the socket for good, though what was fetched with it still comes',
      async () => {
        const socket = await unplugged(3);
        (await socket.delivery(0)).answer(500);
        await socket.delivery(2); // of the same fetch
        for (const n of [1, 2]) socket.deliveries[n]?.answer();
        await quiet();
        expect(socket.count()).toBe(3);
        await texts(1);
        if (dialect === 'jun25') {
          await socket.delivery(4);
          expect(socket.deliveries[3]?.body).toEqual(socket.deliveries[0]?.body);
        } else {
          await pass(socket, 330_000);
          expect(socket.count()).toBe(3);
        }
        await socket.close();
      },
    );
  });

  describe('a socket', () => {
    it(`that took the place of another is ${dialect === 'aug26' ? 'served' : 'deaf, and its keepalive says 1000'}`, async () => {
      await open();
      await stage.socket.delivery(0, EMPTY);
      const newer = await stage.device.connect();
      expect(await stage.socket.closed).toEqual({ code: 4409, reason: 'Connected elsewhere' });
      await newer.delivery(0, EMPTY);
      await texts(1);
      if (dialect === 'aug26') await newer.delivery(0);
      else {
        await quiet();
        expect(newer.count()).toBe(0);
        newer.ask('GET', '/v1/keepalive');
        expect((await newer.closed).code).toBe(1000);
      }
      await newer.close();
    });

    it(`with a keepalive at once is ${dialect === 'jun25' ? 'answered' : 'closed 1000'}`, async () => {
      await open();
      const { aci } = stage.peer;
      const listener = await RawDevice.link(stage.server, stage.peer, { keys: 1 });
      const socket = await listener.connect();
      const answered = socket.request('GET', '/v1/keepalive').then(({ status }) => status);
      const end = await Promise.race([answered, socket.closed.then(({ code }) => code)]);
      expect([aci, end]).toEqual([listener.aci, dialect === 'jun25' ? 200 : 1000]);
      await socket.close();
    });

    it('is closed 1001 when idle: chat after 90 s, authenticated or not, provisioning after 60 s', async () => {
      await open();
      const provisioning = await RawSocket.open(stage.server.url, { path: PROVISIONING });
      await provisioning.delivery(0, '/v1/address');
      await quiet();
      stage.server.clock.advance(25_000);
      for (const { ws } of [stage.socket, stage.anonymous, provisioning]) ws.ping(); // a sign of life
      await quiet();
      // Ten seconds are left for what the test itself takes: the clock runs on meanwhile.
      stage.server.clock.advance(50_000);
      await quiet();
      expect(provisioning.ws.readyState).toBe(1);
      stage.server.clock.advance(10_000);
      expect((await provisioning.closed).code).toBe(1001);
      stage.server.clock.advance(20_000);
      await quiet();
      expect([stage.socket.ws.readyState, stage.anonymous.ws.readyState]).toEqual([1, 1]);
      stage.server.clock.advance(10_000);
      const ends = await Promise.all([stage.socket.closed, stage.anonymous.closed]);
      expect(ends.map(({ code }) => code)).toEqual([1001, 1001]);
    });
  });

  describe('an online message', () => {
    const send = async (timestamp: number): Promise<void> => {
      const [one, two] = await both();
      const sent = await stage.send([one, two], { to: stage.peer.aci, body: { timestamp, online: true } });
      expect(sent.status).toBe(200);
    };
    let listener: RawDevice;
    async function both(): Promise<[Entry, Entry]> {
      const one = await stage.entry();
      const { registrationId } = listener.identities.aci;
      return [one, { ...one, destinationDeviceId: 2, destinationRegistrationId: registrationId }];
    }

    it('reaches who is connected, or comes within ten seconds of its timestamp; then it is gone', async () => {
      await open();
      listener = await RawDevice.link(stage.server, stage.peer, { keys: 1 });
      await send(stage.server.clock.now());
      stage.server.clock.advance(5_000);
      const early = await listener.connect();
      await early.delivery(0);
      await send(stage.server.clock.now());
      await early.delivery(1);
      await send(stage.server.clock.now() - 10_001);
      await quiet();
      expect(early.count()).toBe(2);
      await listener.leave(early);
      await send(stage.server.clock.now());
      stage.server.clock.advance(10_001);
      const late = await listener.connect();
      await late.delivery(0, EMPTY);
      expect(late.count()).toBe(0);
      await late.close();
    });
  });

  describe('a delivery receipt', () => {
    const receipts = (socket: RawSocket): Promise<signal.Envelope[]> =>
      Promise.all(Array.from({ length: socket.count() }, (_, n) => socket.envelope(n)));

    it.each([
      ['type 0', { type: 0 }, {}],
      ['type 1', { type: 1 }, {}],
      ['type 3', { type: 3 }, {}],
      ['type 8', { type: 8 }, {}],
      ['who is online', {}, { online: true }],
    ])(
      'comes for %s, to each device of the sender, from each that took it, in the ids of the generation',
      async (_what, entry, flags) => {
        await open();
        const listener = await RawDevice.link(stage.server, stage.peer, { keys: 1 });
        const theirs = await listener.connect();
        const other = await (await RawDevice.link(stage.server, stage.phone, { keys: 1 })).connect();
        const timestamp = stage.server.clock.now();
        const one = await stage.entry(entry);
        const { registrationId } = listener.identities.aci;
        const two = { ...one, destinationDeviceId: 2, destinationRegistrationId: registrationId };
        expect((await stage.send([one, two], { body: { timestamp, ...flags } })).status).toBe(200);
        for (const socket of [stage.socket, other]) {
          const both = [await socket.envelope(0), await socket.envelope(1)];
          expect(both.map(({ sourceDevice }) => sourceDevice).sort()).toEqual([1, 2]);
          for (const receipt of both) {
            expect(receipt).toMatchObject({ type: 5, content: null });
            expect(toTime(receipt.clientTimestamp ?? 0)).toBe(timestamp);
            const { sourceServiceId, sourceServiceIdBinary } = receipt;
            expect(sourceServiceId).toBe(dialect === 'aug26' ? null : stage.peer.aci);
            expect(sourceServiceIdBinary && serviceIdFromBytes(sourceServiceIdBinary)).toBe(
              dialect === 'jun25' ? null : stage.peer.aci,
            );
          }
        }
        await quiet();
        expect([stage.socket.count(), other.count()]).toEqual([2, 2]);
        await Promise.all([theirs.close(), other.close()]);
      },
    );

    it('names the PNI that was addressed, and is itself to be acknowledged', async () => {
      await open();
      stage.socket.autoAck = false;
      const to = stage.peer.pni;
      const entry = await stage.entry({
        type: 3,
        destinationRegistrationId: await stage.registrationId(to, 1),
      });
      expect((await stage.send([entry], { to })).status).toBe(200);
      const receipt = await stage.socket.envelope(0);
      const { sourceServiceId, sourceServiceIdBinary } = receipt;
      expect(
        sourceServiceIdBinary === null ? sourceServiceId : serviceIdFromBytes(sourceServiceIdBinary),
      ).toBe(to);
      await quiet();
      expect((await stage.server.stats()).queued).toBe(1);
      stage.socket.deliveries.at(-1)?.answer();
      await quiet();
      expect((await stage.server.stats()).queued).toBe(0);
    });

    it('comes neither for what has no sender nor for the own account', async () => {
      await open();
      const to = stage.phone.aci;
      const own = await stage.entry({}, to);
      expect((await stage.send([own], { to })).status).toBe(200);
      const story = { from: stage.anonymous, query: '?story=true' };
      expect((await stage.send([await stage.entry()], story)).status).toBe(200);
      await quiet();
      expect(await receipts(stage.socket)).toEqual([]);
    });
  });
});
