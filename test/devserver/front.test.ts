import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { fromBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { signal } from '../../src/proto/messages.js';
import { RawSocket } from '../support/raw-client.ts';
import { RawDevice } from '../support/raw-device.ts';
import { quiet } from '../support/until.ts';

let server: DevServer;
let phone: Phone;
let device: RawDevice;

async function start(options: DevServerOptions = {}): Promise<void> {
  server = await startDevServer(options);
  phone = await server.createPhone();
  device = await RawDevice.link(server, phone);
}
afterEach(() => server.close());

describe('an upgrade', () => {
  it('is refused with 403 for bad credentials, an unknown device, a number, or an unreadable header', async () => {
    await start();
    for (const [username, password] of [
      [`${phone.aci}.2`, 'wrong'],
      [`${phone.aci}.3`, device.password],
      [phone.number, device.password],
    ] as const) {
      await expect(RawSocket.open(server.url, { username, password })).rejects.toMatchObject({ status: 403 });
    }
    const headers = { Authorization: 'Bearer x' };
    await expect(RawSocket.open(server.url, { headers })).rejects.toMatchObject({ status: 403 });
  });

  it('needs the trailing slash', async () => {
    await start();
    await expect(RawSocket.open(server.url, { path: '/v1/websocket' })).rejects.toMatchObject({
      status: 404,
    });
  });

  it('with credentials in the query only is anonymous', async () => {
    await start();
    const path = `/v1/websocket/?login=${phone.aci}.2&password=${encodeURIComponent(device.password)}`;
    const socket = await RawSocket.open(server.url, { path });
    expect((await socket.request('GET', '/v1/accounts/whoami')).status).toBe(401);
    await socket.close();
  });

  it('works over TLS with the CA of the profile', async () => {
    server = await startDevServer({ tls: true });
    expect(server.profile.chat).toMatch(/^https:/);
    const ws = new WebSocket(`${server.url.replace('https', 'wss')}/v1/websocket/`, {
      ca: server.profile.ca,
    });
    await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
    ws.terminate();
  });
});

describe('a chat socket', () => {
  it('answers keepalives and ordinary calls with the server time', async () => {
    await start();
    const socket = await device.connect();
    await quiet();
    const alive = await socket.request('GET', '/v1/keepalive');
    expect(alive.status).toBe(200);
    expect(Math.abs(Number(alive.headers['x-signal-timestamp']) - Date.now())).toBeLessThan(5_000);
    const { json } = await socket.request('GET', '/v1/accounts/whoami');
    expect(json).toMatchObject({ uuid: phone.aci, pni: phone.pni.slice(4), number: phone.number });
    expect((await socket.request('GET', '/v1/nowhere')).status).toBe(404);
    await socket.close();
  });

  it('ignores an Authorization inside, text frames, and requests without an id', async () => {
    await start();
    const anonymous = await RawSocket.open(server.url);
    anonymous.ws.send('text');
    anonymous.send({
      type: signal.WebSocketMessage.Type.REQUEST,
      request: { verb: 'GET', path: '/v1/keepalive', headers: [] },
    });
    const basic = Buffer.from(`${phone.aci}.2:${device.password}`).toString('base64');
    const { status } = await anonymous.request('GET', '/v1/accounts/whoami', {
      headers: [`authorization:Basic ${basic}`],
    });
    expect(status).toBe(401);
    await anonymous.close();
  });

  it('closes 1007 for what is no frame, 1009 for one above 512 KiB, 1011 for a path that is no URI', async () => {
    await start();
    const closeCode = async (act: (socket: RawSocket) => void): Promise<number> => {
      const socket = await device.connect();
      act(socket);
      return (await socket.closed).code;
    };
    expect(
      await closeCode((socket) => {
        socket.ws.send(Buffer.from([0xff, 0xff, 0xff]));
      }),
    ).toBe(1007);
    expect(
      await closeCode((socket) => {
        socket.ws.send(Buffer.alloc(524_289));
      }),
    ).toBe(1009);
    for (const path of ['/v1/a b', '/v1/a|b', '/v1/%zz']) {
      expect(
        await closeCode((socket) => {
          socket.ask('GET', path);
        }),
        path,
      ).toBe(1011);
    }
  });

  it('drops a header that has not exactly one colon', async () => {
    await start();
    const socket = await device.connect();
    const headers = ['content-type:application/json:x'];
    const body = new TextEncoder().encode('{"spqr":true}');
    expect((await socket.request('PUT', '/v1/devices/capabilities', { headers, body })).status).toBe(415);
    expect((await socket.request('PUT', '/v1/devices/capabilities', { json: { spqr: true } })).status).toBe(
      204,
    );
    await socket.close();
  });

  it('closes 1001 after 90 s without a frame', async () => {
    await start();
    const socket = await device.connect();
    // Ten seconds are left for what the test itself takes: the clock runs on meanwhile.
    server.clock.advance(80_000);
    await quiet();
    await socket.request('GET', '/v1/keepalive');
    server.clock.advance(80_000);
    await quiet();
    expect(socket.ws.readyState).toBe(WebSocket.OPEN);
    server.clock.advance(10_000);
    expect((await socket.closed).code).toBe(1001);
  });

  it.each(['jun25', 'dec25', 'aug26'] as const)(
    'gives way to a second one with 4409 in %s',
    async (dialect) => {
      await start({ dialect });
      const other = await server.createPhone();
      const first = await device.connect();
      await first.delivery(0, '/api/v1/queue/empty');
      const second = await device.connect();
      expect(await first.closed).toEqual({ code: 4409, reason: 'Connected elsewhere' });
      await second.delivery(0, '/api/v1/queue/empty');
      await other.send(phone.aci, 'hello');
      if (dialect === 'aug26') {
        await second.delivery(0);
        await second.close();
        return;
      }
      await quiet(); // the newer one is deaf, and its keepalive tells
      expect(second.count()).toBe(0);
      second.ask('GET', '/v1/keepalive');
      expect((await second.closed).code).toBe(1000);
      const third = await device.connect();
      await third.delivery(0);
      await third.close();
    },
  );

  it('answers a keepalive in the moment of opening by close 1000 since dec25', async () => {
    await start({ dialect: 'dec25' });
    const socket = await device.connect();
    socket.ask('GET', '/v1/keepalive');
    expect((await socket.closed).code).toBe(1000);
  });
});

describe('devices', () => {
  it.each([
    ['jun25', ['created', 'id', 'lastSeen', 'name']],
    ['dec25', ['created', 'createdAtCiphertext', 'id', 'lastSeen', 'name', 'registrationId']],
    ['aug26', ['createdAtCiphertext', 'id', 'lastSeen', 'name', 'registrationId']],
  ] as const)('are listed in %s with %j', async (dialect, fields) => {
    await start({ dialect });
    const socket = await device.connect();
    const { json } = await socket.request('GET', '/v1/devices');
    const { devices } = json as { devices: Record<string, unknown>[] };
    expect(devices.map(({ id }) => id)).toEqual([1, 2]);
    expect(Object.keys(devices[1] ?? {}).sort()).toEqual(fields);
    await socket.close();
  });

  it('seal their creation time for the identity key', async () => {
    await start();
    const socket = await device.connect();
    const { json } = await socket.request('GET', '/v1/devices');
    const row = (json as { devices: { createdAtCiphertext: string }[] }).devices[1];
    const { key, registrationId } = device.identities.aci;
    const associated = Buffer.alloc(5);
    associated.writeUInt8(2);
    associated.writeUInt32BE(registrationId, 1);
    const info = new TextEncoder().encode('deviceCreatedAt');
    const plain = key.open(fromBase64(row?.createdAtCiphertext ?? ''), info, new Uint8Array(associated));
    const created = Number(Buffer.from(plain).readBigInt64BE());
    expect(Math.abs(created - Date.now())).toBeLessThan(10_000);
    await socket.close();
  });

  it('remove themselves: 4401, then 403, and the id is free again', async () => {
    await start();
    const socket = await device.connect();
    socket.ask('DELETE', '/v1/devices/2');
    expect(await socket.closed).toEqual({ code: 4401, reason: 'Reauthentication required' });
    await expect(device.connect()).rejects.toMatchObject({ status: 403 });
    const next = await RawDevice.link(server, phone);
    expect(next.deviceId).toBe(2);
    expect(next.password).not.toBe(device.password);
  });

  it('take the lowest free id', async () => {
    await start();
    await RawDevice.link(server, phone, { keys: 1 });
    await RawDevice.link(server, phone, { keys: 1 });
    await phone.removeDevice(3);
    expect((await RawDevice.link(server, phone, { keys: 1 })).deviceId).toBe(3);
    expect((await RawDevice.link(server, phone, { keys: 1 })).deviceId).toBe(5);
    expect((await phone.devices()).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5]);
  });

  it('may not remove each other or the primary', async () => {
    await start();
    await RawDevice.link(server, phone, { keys: 1 });
    const socket = await device.connect();
    expect((await socket.request('DELETE', '/v1/devices/3')).status).toBe(401);
    expect((await socket.request('DELETE', '/v1/devices/1')).status).toBe(401);
    await socket.close();
  });

  it('are removed by the phone: 4401, then 403, their queue gone', async () => {
    await start();
    const other = await server.createPhone();
    const socket = await device.connect({ autoAck: false });
    await other.send(phone.aci, 'kept for nobody');
    await socket.delivery(0);
    expect(await phone.removeDevice(2)).toBe(true);
    expect(await phone.removeDevice(2)).toBe(false);
    expect((await socket.closed).code).toBe(4401);
    await expect(device.connect()).rejects.toMatchObject({ status: 403 });
    expect((await server.stats()).queued).toBe(0);
  });
});

describe('what only some servers have', () => {
  it.each([
    ['jun25', [200, 404, 501], [401, 404, 401]],
    ['dec25', [404, 200, 501], [404, 401, 401]],
    ['aug26', [404, 200, 404], [404, 401, 404]],
  ] as const)(
    'in %s shows as %j to a device, and as %j without credentials',
    async (dialect, known, none) => {
      await start({ dialect });
      const sockets = [await device.connect(), await RawSocket.open(server.url)];
      const seen: number[][] = [];
      for (const socket of sockets) {
        const statuses: number[] = [];
        for (const path of ['/v1/config', '/v2/config', '/v1/messages'])
          statuses.push((await socket.request('GET', path)).status);
        seen.push(statuses);
        await socket.close();
      }
      expect(seen).toEqual([known, none]);
    },
  );
});

describe('frames', () => {
  it('come back with ids above 2^53 exactly', async () => {
    await start();
    const socket = await device.connect(); // RawSocket counts from 2^62 + 1 and matches answers exactly
    const two = await Promise.all([
      socket.request('GET', '/v1/devices'),
      socket.request('GET', '/v1/accounts/whoami'),
    ]);
    expect(two.map(({ status }) => status)).toEqual([200, 200]);
    await socket.close();
  });
});
