import { request as httpRequest } from 'node:http';
import { CiphertextMessageType, DecryptionErrorMessage, PlaintextContent } from '@signalapp/libsignal-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copy, EMPTY, toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { RawSocket } from '../support/raw-client.ts';
import { RawDevice, textContent } from '../support/raw-device.ts';
import { provision } from '../support/raw-provisioning.ts';

let server: DevServer;
beforeEach(async () => {
  server = await startDevServer();
});
afterEach(() => server.close());

async function call(verb: string, path: string, body?: unknown): Promise<{ status: number; json: unknown }> {
  const response = await fetch(server.controlUrl + path, {
    method: verb,
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, json: await response.json() };
}

describe('the control API', () => {
  it("makes phones with a number and name of one's own, or free ones", async () => {
    const { json } = await call('POST', '/phones', { number: '+14155550123', name: 'Ada' });
    expect(json).toMatchObject({ number: '+14155550123', name: 'Ada' });
    const { aci, pni } = json as { aci: string; pni: string };
    expect([aci, pni].every((id) => /^[0-9a-f-]{36}$/.test(id))).toBe(true);
    const second = (await call('POST', '/phones')).json as { number: string };
    expect(second.number).toMatch(/^\+1\d{10}$/);
    expect(server.phones.get(aci)?.name).toBe('Ada');
  });

  it('scans, sends, lists messages and devices, and removes', async () => {
    const [a, b] = [await server.createPhone(), await server.createPhone()];
    const device = await RawDevice.link(server, a);
    const socket = await device.connect();
    const sent = await call('POST', `/phones/${b.aci}/send`, { to: a.aci, text: 'hi', sealed: true });
    expect(sent).toEqual({ status: 200, json: { timestamp: expect.any(Number) as number } });
    expect((await device.open(await socket.envelope(0))).dataMessage?.body).toBe('hi');
    const got = await call('GET', `/phones/${a.aci}/messages?waitMs=5000&count=1`);
    expect(got.json).toEqual([
      { from: b.aci, device: 1, kind: 'text', text: 'hi', ...(sent.json as object) },
    ]);
    const { json } = await call('GET', `/phones/${a.aci}/devices`);
    expect((json as { devices: { id: number }[] }).devices.map(({ id }) => id)).toEqual([1, 2]);
    expect((await call('DELETE', `/phones/${a.aci}/devices/2`)).status).toBe(200);
    expect((await socket.closed).code).toBe(4401);
    expect((await call('DELETE', `/phones/${a.aci}/devices/2`)).status).toBe(404);
  });

  it('links by the text of the QR code', async () => {
    const phone = await server.createPhone();
    const scan = (url: string): Promise<number> =>
      call('POST', `/phones/${phone.aci}/link`, { url }).then(
        ({ json }) => (json as { deviceId: number }).deviceId,
      );
    const provisioned = await provision(server, { link: scan });
    const { device } = await RawDevice.register(server, provisioned);
    const socket = await device.connect();
    for (const kind of ['aci', 'pni'] as const) {
      const json = {
        preKeys: device.identities[kind].ec(1),
        pqPreKeys: device.identities[kind].kyberKeys(1),
      };
      expect((await socket.request('PUT', `/v2/keys?identity=${kind}`, { json })).status).toBe(204);
    }
    expect(await provisioned.scanned).toBe(2);
    await socket.close();
  });

  it('lies between two accounts, tells what was read, and is honest again', async () => {
    const [a, b] = [await server.createPhone(), await server.createPhone()];
    const device = await RawDevice.link(server, a);
    const between = [a.aci, b.aci];
    const { json } = await call('POST', '/lies', { between });
    expect(json).toMatchObject({ lies: [{ between, relayed: 0, overheard: [] }] });
    const [told] = (json as { lies: { falseKeys: Record<string, string> }[] }).lies;
    const falseKey = told?.falseKeys[b.aci];
    const socket = await device.connect();
    const keyOfB = async (): Promise<unknown> => {
      const { json: keys } = await socket.request('GET', `/v2/keys/${b.aci}/1`);
      return (keys as { identityKey: string }).identityKey;
    };
    expect(await keyOfB()).toBe(falseKey);
    expect((await call('GET', '/lies')).json).toEqual(json);
    expect((await call('DELETE', '/lies')).json).toEqual({ lies: [] });
    expect(await keyOfB()).not.toBe(falseKey);
    for (const wrong of [
      { between: [a.aci, a.aci] },
      { between, deceives: [a.pni.slice(4)] },
      { between: [a.aci] },
    ])
      expect((await call('POST', '/lies', wrong)).status).toBe(400);
    await socket.close();
  });

  it('waits for messages no longer than told', async () => {
    const phone = await server.createPhone();
    const before = Date.now();
    expect((await call('GET', `/phones/${phone.aci}/messages?waitMs=150&count=3`)).json).toEqual([]);
    expect(Date.now() - before).toBeGreaterThanOrEqual(140);
    expect((await call('GET', `/phones/${phone.aci}/messages`)).json).toEqual([]);
  });

  it('moves the clock, orders faults, counts', async () => {
    const phone = await server.createPhone();
    const device = await RawDevice.link(server, phone);
    expect(await call('POST', '/clock', { advanceMs: 60_000 })).toMatchObject({ status: 200 });
    expect(server.clock.now()).toBeGreaterThan(Date.now() + 59_000);
    expect(
      (await call('POST', '/faults', { verb: 'GET', path: '/v1/devices', action: { status: 508 } })).status,
    ).toBe(200);
    expect((await call('POST', '/faults', { rateLimits: true })).json).toMatchObject({
      rateLimits: true,
      faults: [{}],
    });
    const socket = await device.connect();
    expect((await socket.request('GET', '/v1/devices')).status).toBe(508);
    expect((await call('POST', '/faults', { action: { close: 4401 }, count: 3 })).status).toBe(200);
    expect((await call('DELETE', '/faults')).json).toEqual({ rateLimits: false, faults: [] });
    const anonymous = await RawSocket.open(server.url);
    const { json } = await call('GET', '/stats');
    expect(json).toMatchObject({
      sockets: { authenticated: 1, anonymous: 1, provisioning: 0 },
      devices: 2,
      sends: 0,
    });
    expect((json as { requests: Record<string, number> }).requests).toMatchObject({
      'PUT /v1/devices/link': 1,
      'PUT /v2/keys': 4,
    });
    await Promise.all([socket.close(), anonymous.close()]);
  });

  it.each([
    ['POST', '/phones', { number: '12' }, 400, 'USAGE'],
    ['POST', '/phones', 'no json', 400, 'USAGE'],
    ['POST', '/phones/nobody/send', { to: 'x', text: 'y' }, 404, 'RECIPIENT_UNKNOWN'],
    ['POST', '/faults', { action: { explode: true } }, 400, 'USAGE'],
    ['POST', '/faults', { action: { status: 500, close: 1000 } }, 400, 'USAGE'],
    ['POST', '/clock', { advanceMs: -1 }, 400, 'USAGE'],
    ['GET', '/nowhere', undefined, 400, 'USAGE'],
    ['POST', '/phones', { name: 'x'.repeat(1024 * 1024) }, 400, 'USAGE'],
  ])('refuses %s %s %j with %i', async (verb, path, body, status, code) => {
    const refused = await call(verb, path, body);
    expect(refused.status).toBe(status);
    const text = expect.any(String) as string;
    expect(refused.json).toEqual({ error: { code, message: text, next: text } });
  });

  it('says what is wrong with a link, and with a recipient', async () => {
    const phone = await server.createPhone();
    expect(await call('POST', `/phones/${phone.aci}/link`, { url: 'https://example.org' })).toMatchObject({
      status: 409,
      json: { error: { code: 'LINK_FAILED' } },
    });
    const to = '00000000-0000-4000-8000-000000000000';
    expect(await call('POST', `/phones/${phone.aci}/send`, { to, text: 'x' })).toMatchObject({
      status: 404,
      json: { error: { code: 'RECIPIENT_UNREGISTERED' } },
    });
  });

  it('gives a number once, also to who asks at the same time', async () => {
    const number = '+14155550124';
    const both = await Promise.all([
      call('POST', '/phones', { number }),
      call('POST', '/phones', { number }),
      call('POST', '/phones', { number: '+14155550125' }),
    ]);
    expect(both.map(({ status }) => status)).toEqual([200, 400, 200]);
    expect((await call('POST', '/phones', { number })).json).toMatchObject({ error: { code: 'USAGE' } });
    expect(server.phones.size).toBe(2);
  });

  it.each([
    ['under another name', { Host: 'evil.example' }],
    ['of another origin', { Origin: 'https://evil.example', 'Content-Type': 'text/plain' }],
    ['without an origin to name', { Origin: 'null', 'Content-Type': 'text/plain' }],
  ])('is not for pages %s', async (_, headers) => {
    const { port } = new URL(server.controlUrl);
    const status = await new Promise((resolve) => {
      httpRequest({ host: '127.0.0.1', port, path: '/phones', method: 'POST', headers }, (response) => {
        resolve(response.statusCode);
        response.resume();
      }).end('{}');
    });
    expect(status).toBe(400);
    expect(server.phones.size).toBe(0);
  });
});

describe('a phone', () => {
  it('keeps whatever comes, by kind', async () => {
    const [a, b] = [await server.createPhone(), await server.createPhone()];
    const device = await RawDevice.link(server, a);
    const socket = await device.connect();
    const timestamp = Date.now();
    const contents = [
      textContent('text', timestamp),
      { nullMessage: { padding: new Uint8Array(17) } },
      { receiptMessage: { type: 0, timestamp: [1] } },
      { typingMessage: { timestamp: 1, action: 0 } },
      { dataMessage: { profileKey: device.profileKey } },
      { callMessage: new Uint8Array(0) },
    ];
    for (const content of contents) {
      const messages = [await device.encrypt(socket, b.aci, 1, content)];
      const { status } = await socket.request('PUT', `/v1/messages/${b.aci}`, {
        json: { messages, timestamp },
      });
      expect(status).toBe(200);
    }
    const kinds = (await b.messages({ count: 6, waitMs: 20_000 })).map(({ kind }) => kind);
    expect(kinds).toEqual(['text', 'null', 'receipt', 'typing', 'other', 'other']);
    await socket.close();
  });

  it('writes to itself by a transcript to its linked devices, and hears theirs', async () => {
    const phone = await server.createPhone();
    const device = await RawDevice.link(server, phone);
    const socket = await device.connect();
    const { timestamp } = await phone.send(phone.aci, 'note');
    const sync = (await device.open(await socket.envelope(0))).syncMessage?.sent;
    expect(sync?.message?.body).toBe('note');
    const content = { syncMessage: { sent: { timestamp, message: { body: 'answer' } } } };
    const messages = [await device.encrypt(socket, phone.aci, 1, content)];
    await socket.request('PUT', `/v1/messages/${phone.aci}`, { json: { messages, timestamp } });
    expect(await phone.messages({ waitMs: 20_000 })).toEqual([
      { from: phone.aci, device: 2, kind: 'sync', text: 'answer', timestamp },
    ]);
    await socket.close();
  });

  it('reaches devices that were added later, and one that was relinked', async () => {
    const [a, b] = [await server.createPhone(), await server.createPhone()];
    const first = await RawDevice.link(server, a);
    await b.send(a.aci, 'one');
    const second = await RawDevice.link(server, a);
    await b.send(a.aci, 'two');
    const [one, two] = [await first.connect(), await second.connect()];
    expect((await first.open(await one.envelope(0))).dataMessage?.body).toBe('one');
    expect((await first.open(await one.envelope(1))).dataMessage?.body).toBe('two');
    expect((await second.open(await two.envelope(0))).dataMessage?.body).toBe('two');
    await a.removeDevice(2);
    const again = await RawDevice.link(server, a);
    expect(again.deviceId).toBe(2);
    await b.send(a.aci, 'three');
    const three = await again.connect();
    expect((await again.open(await three.envelope(0))).dataMessage?.body).toBe('three');
    await Promise.all([two.close(), three.close()]);
  });

  it('answers a retry request with the same text and timestamp on a fresh session', async () => {
    const [a, b] = [await server.createPhone(), await server.createPhone()];
    const device = await RawDevice.link(server, a);
    const socket = await device.connect();
    const { timestamp } = await b.send(a.aci, 'lost');
    const lost = await socket.envelope(0);
    const error = DecryptionErrorMessage.forOriginal(
      copy(lost.content ?? EMPTY),
      CiphertextMessageType.PreKey,
      timestamp,
      1,
    );
    const entry = {
      type: 8,
      destinationDeviceId: 1,
      destinationRegistrationId: await device.registrationIdOf(socket, b.aci, 1),
      content: toBase64(PlaintextContent.from(error).serialize()),
    };
    const json = { messages: [entry], timestamp: timestamp + 1 };
    expect((await socket.request('PUT', `/v1/messages/${b.aci}`, { json })).status).toBe(200);
    await socket.delivery(2); // the receipt for the request and the text again, in either order
    const again = [await socket.envelope(1), await socket.envelope(2)].find(({ type }) => type === lost.type);
    expect(again?.clientTimestamp).toEqual(lost.clientTimestamp);
    expect(again === undefined ? '' : (await device.open(again)).dataMessage?.body).toBe('lost');
    await socket.close();
  });

  it('writes to a device whose one-time keys are used up', async () => {
    const [a, b] = [await server.createPhone(), await server.createPhone()];
    const device = await RawDevice.link(server, a);
    await server.exhaustKeys(a.aci, 2);
    expect(await server.keyCounts(a.aci, 2, 'aci')).toEqual({ ec: 0, kyber: 0 });
    await b.send(a.aci, 'still');
    const socket = await device.connect();
    expect((await device.open(await socket.envelope(0))).dataMessage?.body).toBe('still');
    await socket.close();
  });
});
