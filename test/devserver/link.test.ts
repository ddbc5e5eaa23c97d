import { afterEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import {
  startDevServer,
  type DevServer,
  type DevServerOptions,
  type PhoneOptions,
} from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { RawSocket } from '../support/raw-client.ts';
import { ALL_CAPABILITIES, RawDevice, type LinkBody } from '../support/raw-device.ts';
import { provision } from '../support/raw-provisioning.ts';

let server: DevServer;
let phone: Phone;
async function start(options: DevServerOptions = {}, wanted: PhoneOptions = {}): Promise<void> {
  server = await startDevServer(options);
  phone = await server.createPhone(wanted);
}
afterEach(async () => {
  await server.close();
});

/** The status of a link request that was changed. */
async function statusOf(alter: (body: LinkBody) => void): Promise<number> {
  const { response } = await RawDevice.register(server, await provision(server, phone), { alter });
  return response.status;
}

describe('linking', () => {
  it('gives an address as the Java servers do', async () => {
    await start();
    const socket = await RawSocket.open(server.url, { path: '/v1/websocket/provisioning/' });
    const { body } = await socket.delivery(0, '/v1/address');
    expect(Buffer.from(body.subarray(2)).toString()).toMatch(/^[A-Za-z0-9_-]{22}==$/);
    await socket.close();
  });

  it('refuses a wrong signature of each of the four keys with 422', async () => {
    await start();
    for (const field of [
      'aciSignedPreKey',
      'pniSignedPreKey',
      'aciPqLastResortPreKey',
      'pniPqLastResortPreKey',
    ] as const) {
      expect(await statusOf((body) => (body[field].signature = toBase64(new Uint8Array(64)))), field).toBe(
        422,
      );
    }
  });

  it('refuses keys that the other identity has signed', async () => {
    await start();
    const swap = (body: LinkBody): void => {
      [body.aciSignedPreKey, body.pniSignedPreKey] = [body.pniSignedPreKey, body.aciSignedPreKey];
    };
    expect(await statusOf(swap)).toBe(422);
  });

  it.each([
    ['a registration id of 0', { registrationId: 0 }],
    ['a registration id above 16383', { registrationId: 0x4000 }],
    ['a PNI registration id out of range', { pniRegistrationId: 20_000 }],
    ['no way to fetch messages', { fetchesMessages: false }],
    ['a name above 225 bytes', { name: toBase64(new Uint8Array(226)) }],
    ['a name that is not base64', { name: 'not base64!' }],
    ['no capabilities', { capabilities: null }],
  ])('refuses %s with 422', async (_what, change) => {
    await start();
    expect(await statusOf((body) => Object.assign(body.accountAttributes, change))).toBe(422);
  });

  it('takes a name of 225 bytes, and none', async () => {
    await start();
    expect(await statusOf((body) => (body.accountAttributes['name'] = toBase64(new Uint8Array(225))))).toBe(
      200,
    );
    expect(await statusOf((body) => delete body.accountAttributes['name'])).toBe(200);
  });

  it('asks for a push token or fetching, not both', async () => {
    await start();
    expect(await statusOf((body) => (body['gcmToken'] = { gcmRegistrationId: 'x' }))).toBe(422);
  });

  it('takes any username, since only the password counts', async () => {
    await start();
    const { device, response } = await RawDevice.register(server, await provision(server, phone), {
      username: 'rubbish',
    });
    expect(response).toMatchObject({ status: 200, json: { uuid: phone.aci, deviceId: 2 } });
    await (await device.connect()).close();
  });

  it.each([
    ['jun25', 500],
    ['dec25', 400],
    ['aug26', 400],
  ] as const)('answers a missing Basic header in %s with %i', async (dialect, status) => {
    await start({ dialect });
    const { response } = await RawDevice.register(server, await provision(server, phone), { basic: false });
    expect(response.status).toBe(status);
  });

  it('takes a token once', async () => {
    await start();
    const provisioned = await provision(server, phone);
    const first = await RawDevice.register(server, provisioned);
    const second = await RawDevice.register(server, provisioned);
    expect([first.response.status, second.response.status]).toEqual([200, 403]);
  });

  it('refuses a token that nobody gave out', async () => {
    await start();
    expect(await statusOf((body) => (body.verificationCode = '0011223344556677'))).toBe(403);
  });

  it('refuses a token after ten minutes', async () => {
    await start();
    const provisioned = await provision(server, phone);
    server.clock.advance(600_001);
    expect((await RawDevice.register(server, provisioned)).response.status).toBe(403);
  });

  it('does not use the token up by a refusal', async () => {
    await start();
    const provisioned = await provision(server, phone);
    const alter = (body: LinkBody): void => void (body.accountAttributes['capabilities'] = {});
    expect((await RawDevice.register(server, provisioned, { alter })).response.status).toBe(409);
    expect((await RawDevice.register(server, provisioned)).response.status).toBe(200);
  });

  it('allows six devices and answers 411 with both figures to the seventh', async () => {
    await start();
    for (let id = 2; id <= 6; id++)
      expect((await RawDevice.link(server, phone, { keys: 1 })).deviceId).toBe(id);
    await expect(RawDevice.link(server, phone)).rejects.toMatchObject({ code: 'DEVICE_LIMIT' });
    const provisioned = await provision(server, phone, { ignoreLimit: true });
    const { response } = await RawDevice.register(server, provisioned);
    expect(response).toMatchObject({ status: 411, json: { current: 6, max: 6 } });
    await expect(provisioned.scanned).rejects.toMatchObject({ code: 'LINK_FAILED' });
  });
});

describe('capabilities at linking', () => {
  const without = (name: string): Record<string, boolean> =>
    Object.fromEntries(Object.entries(ALL_CAPABILITIES).filter(([key]) => key !== name));
  const refusedWithout = async (): Promise<string[]> => {
    const refused: string[] = [];
    for (const name of Object.keys(ALL_CAPABILITIES)) {
      const { response } = await RawDevice.register(server, await provision(server, phone), {
        alter: (body) => (body.accountAttributes['capabilities'] = without(name)),
      });
      if (response.status === 409) refused.push(name);
      else await phone.removeDevice(2);
    }
    return refused;
  };

  it.each([
    ['jun25', ['deleteSync', 'ssre2', 'spqr']],
    ['dec25', []],
    ['aug26', ['spqr', 'usernameChangeSyncMessage']],
  ] as const)('%s answers 409 without exactly %j', async (dialect, names) => {
    await start({ dialect });
    expect(await refusedWithout()).toEqual(names);
  });

  it.each([
    ['jun25', []],
    ['aug26', ['spqr']],
  ] as const)('%s asks a new device of an account that has none of them for %j', async (dialect, names) => {
    await start({ dialect }, { capabilities: [] });
    expect(await refusedWithout()).toEqual(names);
  });
});

describe('a provisioning socket', () => {
  it('ends after 90 s with 1000, whatever is sent on it', async () => {
    await start();
    const socket = await RawSocket.open(server.url, { path: '/v1/websocket/provisioning/' });
    await socket.delivery(0, '/v1/address');
    server.clock.advance(50_000);
    expect((await socket.request('GET', '/v1/keepalive/provisioning')).status).toBe(200);
    server.clock.advance(40_000);
    expect(await socket.closed).toEqual({ code: 1000, reason: 'Timeout' });
  });

  it('ends after 60 s without a frame with 1001', async () => {
    await start();
    const socket = await RawSocket.open(server.url, { path: '/v1/websocket/provisioning/' });
    await socket.delivery(0, '/v1/address');
    server.clock.advance(60_000);
    expect((await socket.closed).code).toBe(1001);
  });

  it('serves two at a time, in any order', async () => {
    await start();
    const second = await server.createPhone();
    const [a, b] = await Promise.all([provision(server, phone), provision(server, second)]);
    expect([a.aci, b.aci]).toEqual([phone.aci, second.aci]);
  });

  it('leaves a link that was never shown alone', async () => {
    await start();
    const url = `sgnl://linkdevice?uuid=${encodeURIComponent('AAAAAAAAAAAAAAAAAAAAAA==')}&pub_key=`;
    await expect(phone.link(url)).rejects.toMatchObject({ code: 'LINK_FAILED' });
  });
});
