import { ProfileKey } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { testPlatform } from '../support/clock.ts';
import { RawSocket, type RawResponse } from '../support/raw-client.ts';
import { RawDevice, textContent } from '../support/raw-device.ts';

let server: DevServer;
let phone: Phone;
let peer: Phone;
let device: RawDevice;
let socket: RawSocket;

async function start(options: DevServerOptions = {}): Promise<void> {
  server = await startDevServer(options);
  [phone, peer] = [await server.createPhone(), await server.createPhone()];
  device = await RawDevice.link(server, phone);
  socket = await device.connect();
}
afterEach(async () => {
  await socket.close();
  await server.close();
});

interface Entry {
  type: number;
  destinationDeviceId: number;
  destinationRegistrationId: number;
  content: string;
}

async function registrationId(aci: string, id: number): Promise<number> {
  const { json } = await socket.request('GET', `/v2/keys/${aci}/${String(id)}`);
  return (json as { devices: { registrationId: number }[] }).devices[0]?.registrationId ?? 0;
}
async function entry(change: Partial<Entry> = {}): Promise<Entry> {
  return {
    type: 1,
    destinationDeviceId: 1,
    destinationRegistrationId: await registrationId(peer.aci, 1),
    content: toBase64(new Uint8Array(40)),
    ...change,
  };
}
const send = (messages: unknown, more: object = {}, to = peer.aci): Promise<RawResponse> =>
  socket.request('PUT', `/v1/messages/${to}`, { json: { messages, timestamp: Date.now(), ...more } });

describe('a send', () => {
  describe('is refused', () => {
    beforeEach(() => start());
    it.each<[string, Partial<Entry>, number]>([
      ['type 2', { type: 2 }, 422],
      ['type 5', { type: 5 }, 422],
      ['empty content', { content: '' }, 422],
      ['url-safe base64', { content: '-_-_' }, 422],
      ['a device id above 255', { destinationDeviceId: 256 }, 422],
      ['no registration id', { destinationRegistrationId: 0 }, 410],
      ['content of 98,305 bytes', { content: toBase64(new Uint8Array(98_305)) }, 413],
    ])('with %s', async (_what, change, status) => {
      expect((await send([await entry(change)])).status).toBe(status);
    });

    it('with the same device twice, no list, an empty list, or a time out of range', async () => {
      const one = await entry();
      expect((await send([one, one])).status).toBe(422);
      expect((await send(null)).status).toBe(422);
      expect((await send([])).status).toBe(422);
      expect((await send([one], { timestamp: 8_640_000_000_000_001 })).status).toBe(422);
    });

    it('to an unknown account, to a number, to the own PNI', async () => {
      const one = await entry();
      expect((await send([one], {}, '00000000-0000-4000-8000-000000000000')).status).toBe(404);
      expect((await send([one], {}, '+14155550100')).status).toBe(404);
      expect((await send([one], {}, encodeURIComponent(phone.pni))).status).toBe(403);
    });
  });

  it.each(['jun25', 'dec25'] as const)(
    'takes 262,144 bytes and no more in %s, where a list may be empty',
    async (dialect) => {
      await start({ dialect });
      const large = (size: number): Promise<Entry> => entry({ content: toBase64(new Uint8Array(size)) });
      expect((await send([await large(262_144)])).status).toBe(200);
      expect((await send([await large(262_145)])).status).toBe(413);
      expect((await send([])).status).toBe(409);
      expect((await send(null)).status).toBe(500);
    },
  );

  it('takes 98,304 bytes in aug26, and type 0', async () => {
    await start();
    expect((await send([await entry({ content: toBase64(new Uint8Array(98_304)) })])).status).toBe(200);
    expect((await send([await entry({ type: 0 })])).status).toBe(200);
  });

  it('answers 409 when a device was added and 410 before it when one was relinked', async () => {
    await start();
    const added = await server.addSecondaryDevice(peer.aci);
    const first = await send([await entry(), await entry({ destinationDeviceId: 9 })]);
    expect(first).toMatchObject({ status: 409, json: { missingDevices: [added], extraDevices: [9] } });
    const old = await registrationId(peer.aci, added);
    for (;;) {
      await server.relinkSecondaryDevice(peer.aci, added);
      if ((await registrationId(peer.aci, added)) !== old) break; // one in 16,383 is the same again
    }
    const second = await send([await entry({ destinationDeviceId: added, destinationRegistrationId: old })]);
    expect(second).toMatchObject({ status: 410, json: { staleDevices: [added] } });
    expect(await peer.messages()).toEqual([]);
  });

  it('to the own account has every device but this one', async () => {
    await start();
    const to = phone.aci;
    const one = await entry({ destinationRegistrationId: await registrationId(to, 1) });
    const two = {
      ...one,
      destinationDeviceId: 2,
      destinationRegistrationId: device.identities.aci.registrationId,
    };
    expect(await send([one, two], {}, to)).toMatchObject({
      status: 409,
      json: { missingDevices: [], extraDevices: [2] },
    });
    expect(await send([one], {}, to)).toMatchObject({ status: 200, json: { needsSync: false } });
  });

  it('never fails at what it does to the phone, which keeps it as undecodable', async () => {
    await start();
    const timestamp = Date.now();
    expect((await send([await entry({ type: 3 })], { timestamp })).status).toBe(200);
    expect(await peer.messages({ waitMs: 20_000 })).toEqual([
      { from: phone.aci, device: 2, kind: 'undecodable', timestamp },
    ]);
  });

  it('carries the sender into the envelope and counts', async () => {
    await start();
    const other = await RawDevice.link(server, peer);
    const theirs = await other.connect();
    const timestamp = Date.now();
    const messages = await Promise.all(
      [1, 2].map((id) => device.encrypt(socket, peer.aci, id, textContent('hi', timestamp))),
    );
    expect((await send(messages, { timestamp, urgent: false })).status).toBe(200);
    const envelope = await theirs.envelope(0);
    expect(envelope.sourceDevice).toBe(2);
    expect(envelope.urgent).toBe(false);
    expect((await other.open(envelope)).dataMessage?.body).toBe('hi');
    expect(await server.stats()).toMatchObject({ sends: 1, devices: 4 });
    await theirs.close();
  });

  it('is limited to 60 at once and one a second to each account, only when told', async () => {
    await start({ platform: testPlatform() }); // no time passes by itself
    const one = await entry();
    for (let i = 0; i < 70; i++) expect((await send([one])).status).toBe(200);
    server.faults.rateLimits = true;
    const statuses = [];
    for (let i = 0; i < 61; i++) statuses.push((await send([one])).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(60);
    const refused = await send([one]);
    expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': '1' } });
    server.clock.advance(1000);
    expect((await send([one])).status).toBe(200);
  });
});

describe('a sealed send', () => {
  let anonymous: RawSocket;
  const accessKey = (): string => toBase64(new ProfileKey(device.profileKey).deriveAccessKey());
  beforeEach(async () => {
    await start();
    anonymous = await RawSocket.open(server.url);
  });
  afterEach(() => anonymous.close());

  it('needs the access key of the recipient and hides the sender', async () => {
    const other = await RawDevice.link(server, peer);
    const theirs = await other.connect();
    const timestamp = Date.now();
    const messages = [
      await other.seal(theirs, phone.aci, 1, textContent('sealed', timestamp)),
      await other.seal(theirs, phone.aci, 2, textContent('sealed', timestamp)),
    ];
    const put = (...headers: string[]): Promise<RawResponse> =>
      anonymous.request('PUT', `/v1/messages/${phone.aci}`, { json: { messages, timestamp }, headers });
    expect((await put()).status).toBe(401);
    expect((await put(`unidentified-access-key:${toBase64(new Uint8Array(16))}`)).status).toBe(401);
    expect((await put('unidentified-access-key:AAAA')).status).toBe(401);
    expect(await put(`unidentified-access-key:${accessKey()}`)).toMatchObject({
      status: 200,
      json: { needsSync: false },
    });
    const envelope = await socket.envelope(0);
    expect([envelope.type, envelope.sourceDevice, envelope.sourceServiceIdBinary]).toEqual([6, null, null]);
    expect((await device.open(envelope)).dataMessage?.body).toBe('sealed');
    expect(await phone.messages({ waitMs: 20_000 })).toMatchObject([
      { from: peer.aci, device: 2, kind: 'text', text: 'sealed' },
    ]);
    await theirs.close();
  });

  it('is not sealed on an authenticated socket', async () => {
    const other = await RawDevice.link(server, peer);
    const theirs = await other.connect();
    const messages = [1, 2].map(async (id) => ({
      ...(await entry({ type: 6, destinationDeviceId: id })),
      destinationRegistrationId: await registrationId(peer.aci, id),
    }));
    expect((await send(await Promise.all(messages))).status).toBe(200);
    expect((await theirs.envelope(0)).sourceDevice).toBe(2);
    await theirs.close();
  });

  it('takes no group token that the server has not issued, and none beside other auth', async () => {
    const headers = ['group-send-token:AAAA'];
    const json = { messages: [await entry()], timestamp: 1 };
    expect((await anonymous.request('PUT', `/v1/messages/${peer.aci}`, { json, headers })).status).toBe(401);
    expect((await socket.request('PUT', `/v1/messages/${peer.aci}`, { json, headers })).status).toBe(400);
  });
});
