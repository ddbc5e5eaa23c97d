import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { RawSocket, type RawResponse } from '../support/raw-client.ts';
import { RawDevice, textContent } from '../support/raw-device.ts';

let server: DevServer;
let phone: Phone;
let peer: Phone;
let device: RawDevice;

beforeEach(async () => {
  server = await startDevServer();
  [phone, peer] = [await server.createPhone(), await server.createPhone()];
  device = await RawDevice.link(server, phone);
});
afterEach(() => server.close());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function sendText(socket: RawSocket, body: string): Promise<RawResponse> {
  const timestamp = Date.now();
  const messages = [await device.encrypt(socket, peer.aci, 1, textContent(body, timestamp))];
  return socket.request('PUT', `/v1/messages/${peer.aci}`, { json: { messages, timestamp } });
}
const bodies = async (socket: RawSocket, count: number): Promise<(string | null | undefined)[]> => {
  const all = [];
  for (let i = 0; i < count; i++) all.push((await device.open(await socket.envelope(i))).dataMessage?.body);
  return all;
};

describe('a fault for requests', () => {
  it('answers a status in place of the server, as often as told, only what matches', async () => {
    const socket = await device.connect();
    server.faults.add({
      verb: 'PUT',
      path: '/v1/messages/',
      count: 2,
      action: { status: 429, retryAfter: 7 },
    });
    expect((await socket.request('GET', '/v1/devices')).status).toBe(200);
    for (let i = 0; i < 2; i++) {
      expect(await sendText(socket, 'x')).toMatchObject({ status: 429, headers: { 'retry-after': '7' } });
    }
    expect((await sendText(socket, 'y')).status).toBe(200);
    expect((await peer.messages({ waitMs: 20_000 })).map(({ text }) => text)).toEqual(['y']);
    await socket.close();
  });

  it('gives 411, 413 and 428 their bodies, or the one that is asked for', async () => {
    const socket = await device.connect();
    for (const status of [411, 413, 428]) server.faults.add({ action: { status } });
    server.faults.add({ action: { status: 409, body: { missingDevices: [4], extraDevices: [] } } });
    const next = async (): Promise<unknown> => (await socket.request('GET', '/v1/devices')).json;
    expect(await next()).toEqual({ current: 6, max: 6 });
    expect(await next()).toMatchObject({ code: 413 });
    expect(await next()).toMatchObject({ options: ['captcha'] });
    expect(await next()).toEqual({ missingDevices: [4], extraDevices: [] });
    await socket.close();
  });

  it('matches the account of the socket, and on an anonymous one the account in the path', async () => {
    const socket = await device.connect();
    const anonymous = await RawSocket.open(server.url);
    server.faults.add({ aci: peer.aci, count: 5, action: { status: 503 } });
    expect((await socket.request('GET', `/v2/keys/${peer.aci}/1`)).status).toBe(200);
    expect((await anonymous.request('GET', `/v2/keys/${peer.aci}/1`)).status).toBe(503);
    expect((await anonymous.request('GET', `/v2/keys/${phone.aci}/1`)).status).toBe(401);
    await Promise.all([socket.close(), anonymous.close()]);
  });

  it('closes the socket with a code', async () => {
    const socket = await device.connect();
    server.faults.add({ path: '/v1/devices', action: { close: 1011 } });
    socket.ask('GET', '/v1/devices');
    expect((await socket.closed).code).toBe(1011);
  });

  it('drops the answer of what was carried out', async () => {
    const socket = await device.connect();
    server.faults.add({ path: '/v1/messages/', action: { drop: true } });
    const answered = sendText(socket, 'heard').then(() => 'answered');
    expect((await peer.messages({ waitMs: 20_000 })).map(({ text }) => text)).toEqual(['heard']);
    expect(await Promise.race([answered, pause(100).then(() => 'silence')])).toBe('silence');
    await socket.close();
  });

  it('carries a request out twice', async () => {
    const socket = await device.connect();
    server.faults.add({ path: '/v1/messages/', action: { duplicate: true } });
    expect((await sendText(socket, 'x')).status).toBe(200);
    expect((await peer.messages({ count: 2, waitMs: 20_000 })).map(({ kind }) => kind)).toEqual([
      'text',
      'undecodable',
    ]);
    await socket.close();
  });

  it('lets the next request pass', async () => {
    const socket = await device.connect();
    server.faults.add({ path: '/v1/devices', action: { reorder: true } });
    const order: string[] = [];
    await Promise.all([
      socket.request('GET', '/v1/devices').then(() => order.push('devices')),
      socket.request('GET', '/v1/accounts/whoami').then(() => order.push('whoami')),
    ]);
    expect(order).toEqual(['whoami', 'devices']);
    await socket.close();
  });

  it('is slow by the server clock', async () => {
    const socket = await device.connect();
    server.faults.add({ path: '/v1/devices', action: { delayMs: 3_600_000 } });
    const answered = socket.request('GET', '/v1/devices').then(({ status }) => status);
    expect(await Promise.race([answered, pause(50)])).toBeUndefined();
    await socket.close(); // and a socket that goes away frees it
  });
});

describe('a fault for deliveries', () => {
  const ordered = { path: '/api/v1/message' };

  it('sends one twice', async () => {
    const socket = await device.connect();
    server.faults.add({ ...ordered, aci: phone.aci, action: { duplicate: true } });
    await peer.send(phone.aci, 'one');
    const [a, b] = [await socket.envelope(0), await socket.envelope(1)];
    expect(a.serverGuidBinary).toEqual(b.serverGuidBinary);
    expect((await socket.delivery(0)).id).not.toBe((await socket.delivery(1)).id);
    await expect.poll(async () => (await server.stats()).queued).toBe(0);
    await socket.close();
  });

  it('changes the order of two, in a backlog and live', async () => {
    server.faults.add({ ...ordered, action: { reorder: true } });
    await peer.send(phone.aci, 'one');
    await peer.send(phone.aci, 'two');
    const socket = await device.connect();
    expect(await bodies(socket, 2)).toEqual(['two', 'one']);
    server.faults.add({ ...ordered, action: { reorder: true } });
    await peer.send(phone.aci, 'three');
    await peer.send(phone.aci, 'four');
    expect((await device.open(await socket.envelope(2))).dataMessage?.body).toBe('four');
    expect((await device.open(await socket.envelope(3))).dataMessage?.body).toBe('three');
    await socket.close();
  });

  it('loses one, which comes on the next connection', async () => {
    const first = await device.connect();
    await first.delivery(0, '/api/v1/queue/empty');
    server.faults.add({ ...ordered, action: { drop: true } });
    await peer.send(phone.aci, 'one');
    await peer.send(phone.aci, 'two');
    expect(await bodies(first, 1)).toEqual(['two']);
    await first.close();
    const second = await device.connect();
    expect(await bodies(second, 1)).toEqual(['one']);
    await second.close();
  });

  it('closes in place of delivering, and keeps the message', async () => {
    const first = await device.connect();
    server.faults.add({ ...ordered, action: { close: 4401 } });
    await peer.send(phone.aci, 'one');
    expect((await first.closed).code).toBe(4401);
    const second = await device.connect();
    expect(await bodies(second, 1)).toEqual(['one']);
    await second.close();
  });
});

describe('a fault for upgrades', () => {
  it('refuses with a status and Retry-After, closes at once, or is silent', async () => {
    const path = '/v1/websocket/';
    server.faults.add({ path, action: { status: 503, retryAfter: 9 } });
    await expect(device.connect()).rejects.toMatchObject({ status: 503, retryAfter: '9' });
    server.faults.add({ path, action: { close: 4409 } });
    expect((await (await device.connect()).closed).code).toBe(4409);
    server.faults.add({ path, action: { drop: true } });
    const opened = device.connect().then(() => 'open');
    opened.catch(() => undefined); // ends with the server
    expect(await Promise.race([opened, pause(100).then(() => 'silence')])).toBe('silence');
    await (await device.connect()).close();
  });
});

describe('a fault without a path', () => {
  it('is for requests, not for deliveries or upgrades', async () => {
    server.faults.add({ count: 2, action: { status: 503 } });
    const socket = await device.connect();
    await peer.send(phone.aci, 'one');
    expect(await bodies(socket, 1)).toEqual(['one']);
    expect((await socket.request('GET', '/v1/devices')).status).toBe(503);
    expect(server.faults.list).toHaveLength(1);
    await socket.close();
  });
});

describe('all faults', () => {
  it('are gone once cleared', async () => {
    const socket = await device.connect();
    server.faults.add({ count: 100, action: { status: 500 } });
    server.faults.rateLimits = true;
    server.faults.clear();
    expect(server.faults.rateLimits).toBe(false);
    expect((await socket.request('GET', '/v1/devices')).status).toBe(200);
    await socket.close();
  });
});
