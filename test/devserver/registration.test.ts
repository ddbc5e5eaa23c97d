/**
 * Each rule of sections 2.8 and 14 of the protocol brief, with the wrong thing and the right refusal.
 */
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { toBase64, toUtf8 } from '../../src/bytes.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import { parseProfile } from '../../src/service/profile.ts';
import type { Requester, Response } from '../../src/transport/request.ts';
import { CAPTCHA, Primary } from '../support/primary.ts';
import { until } from '../support/until.ts';
import { RawSocket, type RawResponse } from '../support/raw-client.ts';
import { RawDevice } from '../support/raw-device.ts';
import * as raw from '../support/raw-primary.ts';
import {
  basic, NUMBER, registrationBody, SESSION, type RegistrationBody, type Session,
} from '../support/raw-primary.ts'; // prettier-ignore

let server: DevServer;
let socket: RawSocket;

async function start(options: DevServerOptions = {}): Promise<void> {
  server = await startDevServer(options);
  socket = await RawSocket.open(server.url);
}
afterEach(async () => {
  await server.close();
});

const begin = (number?: string): ReturnType<typeof raw.begin> => raw.begin(socket, number);
const verify = (number?: string): Promise<string> => raw.verify(socket, number);
const registerRaw = (alter?: (body: RegistrationBody) => void, headers?: string[]): Promise<RawResponse> =>
  raw.registerRaw(socket, alter, headers);

describe('verification', () => {
  it.each(['15550003333', '+0123456789', 'me', ''])('refuses %j as a number with 422', async (number) => {
    await start();
    expect((await socket.request('POST', SESSION, { json: { number } })).status).toBe(422);
  });

  it('gives ids as the Java servers do, and asks for a captcha', async () => {
    await start();
    const { json, status } = await socket.request('POST', SESSION, { json: { number: NUMBER } });
    expect([status, json]).toMatchObject([
      200,
      { allowedToRequestCode: false, requestedInformation: ['captcha'], verified: false },
    ]);
    expect((json as Session).id).toMatch(/^[A-Za-z0-9_-]{22}==$/);
  });

  it.each(['other.noop.registration.x', 'noop.key.registration.x', 'noop.noop.challenge.x', 'x'])(
    'refuses the captcha %s with 400',
    async (captcha) => {
      await start();
      const { path } = await begin();
      expect((await socket.request('PATCH', path, { json: { captcha } })).status).toBe(400);
    },
  );

  it('answers 409 to a code that is asked for before the captcha, and 422 to an unknown transport', async () => {
    await start();
    const { path } = await begin();
    const json = { transport: 'sms', client: 'desktop' };
    expect((await socket.request('POST', `${path}/code`, { json })).status).toBe(409);
    await socket.request('PATCH', path, { json: { captcha: CAPTCHA } });
    expect((await socket.request('POST', `${path}/code`, { json: { ...json, transport: 'x' } })).status).toBe(
      422,
    );
    expect((await socket.request('POST', `${path}/code`, { json })).status).toBe(200);
  });

  it('does not verify by a wrong code', async () => {
    await start();
    const { path } = await begin();
    await socket.request('PATCH', path, { json: { captcha: CAPTCHA } });
    await socket.request('POST', `${path}/code`, { json: { transport: 'sms', client: 'desktop' } });
    const wrong = await socket.request('PUT', `${path}/code`, { json: { code: '123456' } });
    expect([wrong.status, wrong.json]).toMatchObject([200, { verified: false }]);
  });

  it('forgets a session after ten minutes, and knows no others', async () => {
    await start();
    const { path } = await begin();
    expect((await socket.request('GET', path)).status).toBe(200);
    server.clock.advance(600_001);
    socket = await RawSocket.open(server.url);
    expect((await socket.request('GET', path)).status).toBe(404);
    expect((await socket.request('GET', `${SESSION}/AAECAwQFBgcICQoLDA0ODw%3D%3D`)).status).toBe(404);
  });
});

describe('registration', () => {
  it.each(['jun25', 'dec25', 'aug26'] as const)(
    'takes what Java takes in %s, and keeps the ACI',
    async (dialect) => {
      await start({ dialect });
      const first = await registerRaw();
      expect([first.status, first.json]).toMatchObject([200, { number: NUMBER, reregistration: false }]);
      const { uuid } = first.json as { uuid: string };
      const device = await RawSocket.open(server.url, { username: `${uuid}.1`, password: 'secret' });
      const second = await registerRaw(undefined, basic(NUMBER, 'other'));
      expect([second.status, second.json]).toMatchObject([200, { uuid, reregistration: true }]);
      expect(await device.closed).toMatchObject({ code: 4401 });
      await expect(RawSocket.open(server.url, { username: uuid, password: 'secret' })).rejects.toMatchObject({
        status: 403,
      });
      await (await RawSocket.open(server.url, { username: uuid, password: 'other' })).close();
    },
  );

  it.each(['aciSignedPreKey', 'pniSignedPreKey', 'aciPqLastResortPreKey', 'pniPqLastResortPreKey'])(
    'refuses a wrong signature of %s, and its lack, with 422',
    async (field) => {
      await start();
      const forged = (body: RegistrationBody): void => {
        body[field] = { ...(body[field] as object), signature: toBase64(new Uint8Array(64)) };
      };
      expect((await registerRaw(forged)).status).toBe(422);
      expect((await registerRaw((body) => Reflect.deleteProperty(body, field))).status).toBe(422);
    },
  );

  it.each([
    ['a registration id of 0', { registrationId: 0 }],
    ['a PNI registration id out of range', { pniRegistrationId: 16_384 }],
    ['no way to fetch messages', { fetchesMessages: false }],
    ['an access key without padding', { unidentifiedAccessKey: 'AAAAAAAAAAAAAAAAAAAAAA' }],
    ['an access key of another size', { unidentifiedAccessKey: toBase64(new Uint8Array(15)) }],
    ['no access key', { unidentifiedAccessKey: null }],
  ])('refuses %s with 422', async (_what, change) => {
    await start();
    expect((await registerRaw((body) => Object.assign(body.accountAttributes, change))).status).toBe(422);
  });

  it('takes an access key as numbers, and none from who takes messages from all', async () => {
    await start();
    const numbers = (body: RegistrationBody): void => {
      body.accountAttributes['unidentifiedAccessKey'] = Array.from({ length: 16 }, () => 7);
    };
    expect((await registerRaw(numbers)).status).toBe(200);
    const open = { unidentifiedAccessKey: null, unrestrictedUnidentifiedAccess: true };
    expect((await registerRaw((body) => Object.assign(body.accountAttributes, open))).status).toBe(200);
  });

  it.each([
    ['jun25', 200, 500],
    ['dec25', 200, 422],
    ['aug26', 499, 500],
  ] as const)('in %s answers %i without spqr, %i without attributes', async (dialect, lacks, none) => {
    await start({ dialect });
    const without = (body: RegistrationBody): void => void (body.accountAttributes['capabilities'] = {});
    expect((await registerRaw(without)).status).toBe(lacks);
    expect(
      (await registerRaw((body) => delete (body as Record<string, unknown>)['accountAttributes'])).status,
    ).toBe(none);
  });

  it('answers 400 without Authorization or with another number, 401 without a verified session', async () => {
    await start();
    expect((await registerRaw(undefined, [])).status).toBe(400);
    expect((await registerRaw(undefined, basic('+15550004444'))).status).toBe(400);
    const { id } = await begin();
    expect((await registerRaw((body) => (body['sessionId'] = id))).status).toBe(401);
    expect((await registerRaw((body) => (body['sessionId'] = 'rubbish'))).status).toBe(401);
    const recovery = (body: RegistrationBody): void => {
      delete body['sessionId'];
      body['recoveryPassword'] = toBase64(new Uint8Array(32));
    };
    expect((await registerRaw(recovery)).status).toBe(403);
  });

  it('answers 409 for the number of a phone unless told to skip the transfer', async () => {
    await start();
    await server.createPhone({ number: NUMBER });
    expect((await registerRaw((body) => (body['skipDeviceTransfer'] = false))).status).toBe(409);
    expect((await registerRaw()).status).toBe(200);
  });

  it('answers 409 to a repeat of the request that declared the transfer', async () => {
    await start();
    const body = registrationBody(await verify());
    const ask = async (change: object): Promise<number> => {
      const json = { ...body, skipDeviceTransfer: false, ...change };
      return (await socket.request('POST', '/v1/registration', { json, headers: basic(NUMBER) })).status;
    };
    const attributes = body.accountAttributes;
    expect(await ask({})).toBe(200);
    expect(
      await ask({ accountAttributes: { ...attributes, capabilities: { spqr: true, transfer: true } } }),
    ).toBe(200);
    expect(await ask({})).toBe(409);
    expect(await ask({ skipDeviceTransfer: true })).toBe(200);
    expect(await ask({})).toBe(200);
  });

  it('takes the recovery password that the number was registered with in place of a session', async () => {
    await start();
    const secret = toBase64(new Uint8Array(32).fill(7));
    const keep = (body: RegistrationBody): void => void (body.accountAttributes['recoveryPassword'] = secret);
    const recover =
      (recoveryPassword: string) =>
      (body: RegistrationBody): void => {
        body['sessionId'] = undefined;
        body['recoveryPassword'] = recoveryPassword;
      };
    const { uuid } = (await registerRaw(keep)).json as { uuid: string };
    expect((await registerRaw(recover(toBase64(new Uint8Array(32))))).status).toBe(403);
    const again = await registerRaw(recover(secret));
    expect([again.status, again.json]).toMatchObject([200, { uuid, reregistration: true }]);
    expect((await registerRaw(recover(secret))).status).toBe(200); // kept, though the last one named none
    expect((await registerRaw(recover(secret), basic('+15550004444'))).status).toBe(403);
    const both = (body: RegistrationBody): void => void (body['recoveryPassword'] = secret);
    expect((await registerRaw(both)).status).toBe(422);
  });

  it('closes sockets before it takes an account over: who is back at once stays until he is displaced', async () => {
    await start();
    const { uuid } = (await registerRaw()).json as { uuid: string };
    const old = { username: `${uuid}.1`, password: 'secret' };
    const first = await RawSocket.open(server.url, old);
    const taken = registerRaw(undefined, basic(NUMBER, 'other'));
    expect(await first.closed).toMatchObject({ code: 4401 });
    const back = await RawSocket.open(server.url, old);
    expect((await taken).status).toBe(200);
    await expect(RawSocket.open(server.url, old)).rejects.toMatchObject({ status: 403 });
    const next = await RawSocket.open(server.url, { username: uuid, password: 'other' });
    expect(await back.closed).toMatchObject({ code: 4409 });
    await next.close();
  });

  it('answers 423 to who does not know the registration lock', async () => {
    await start();
    const lock = (body: RegistrationBody): void =>
      void (body.accountAttributes['registrationLock'] = 'ab'.repeat(32));
    expect((await registerRaw(lock)).status).toBe(200);
    const refused = await registerRaw();
    expect([refused.status, refused.json]).toMatchObject([
      423,
      { timeRemaining: expect.any(Number) as number },
    ]);
    expect((await registerRaw(lock)).status).toBe(200);
  });
});

describe("the primary's side of linking", () => {
  const primary = (): ReturnType<typeof raw.rawPrimary> => raw.rawPrimary(server, socket);

  it('gives a token with its identifier to the primary, 401 to others', async () => {
    await start();
    const { raw } = await primary();
    const { json } = await raw.request('GET', '/v1/devices/provisioning/code');
    const { verificationCode, tokenIdentifier } = json as Record<
      'verificationCode' | 'tokenIdentifier',
      string
    >;
    expect(tokenIdentifier).toBe(createHash('sha256').update(verificationCode).digest('base64url'));
    const linked = await (await RawDevice.link(server, await server.createPhone())).connect();
    expect((await linked.request('GET', '/v1/devices/provisioning/code')).status).toBe(401);
    expect((await linked.request('GET', '/v1/devices/wait_for_linked_device/x?timeout=1')).status).toBe(500);
    expect((await socket.request('GET', '/v1/devices/provisioning/code')).status).toBe(401);
  });

  it('answers 411 at the device limit before it looks at who asks', async () => {
    await start();
    const phone = await server.createPhone();
    const linked = await (await RawDevice.link(server, phone)).connect();
    for (let id = 3; id <= 6; id++) await server.addSecondaryDevice(phone.aci);
    const refused = await linked.request('GET', '/v1/devices/provisioning/code');
    expect([refused.status, refused.json]).toEqual([411, { current: 6, max: 6 }]);
  });

  it('relays to who waits, answers 404 where nobody does and 400 above 256 KiB', async () => {
    await start();
    const { raw } = await primary();
    const waiting = await RawSocket.open(server.url, { path: '/v1/websocket/provisioning/' });
    const { body } = await waiting.delivery(0, '/v1/address');
    const address = encodeURIComponent(Buffer.from(body.subarray(2)).toString());
    const put = async (to: string, bytes: Uint8Array): Promise<number> =>
      (await raw.request('PUT', `/v1/provisioning/${to}`, { json: { body: toBase64(bytes) } })).status;
    expect(await put('AAECAwQFBgcICQoLDA0ODw%3D%3D', new Uint8Array(3))).toBe(404);
    expect(await put(address, new Uint8Array(262_145))).toBe(400);
    expect(await put(address, Uint8Array.of(1, 2, 3))).toBe(204);
    expect([...(await waiting.delivery(0, '/v1/message')).body]).toEqual([1, 2, 3]);
    expect(await waiting.closed).toMatchObject({ code: 1000 });
    expect(await put(address, Uint8Array.of(1))).toBe(404);
  });

  it('relays all that comes before the first is answered, and closes then', async () => {
    await start();
    const { raw } = await primary();
    const path = '/v1/websocket/provisioning/';
    const waiting = await RawSocket.open(server.url, { path, autoAck: false });
    const shown = await waiting.delivery(0, '/v1/address');
    shown.answer();
    const address = encodeURIComponent(Buffer.from(shown.body.subarray(2)).toString());
    for (const byte of [1, 2]) {
      const json = { body: toBase64(Uint8Array.of(byte)) };
      expect((await raw.request('PUT', `/v1/provisioning/${address}`, { json })).status).toBe(204);
    }
    const second = await waiting.delivery(1, '/v1/message');
    expect([...second.body]).toEqual([2]);
    expect(waiting.ws.readyState).toBe(1);
    second.answer();
    expect(await waiting.closed).toMatchObject({ code: 1000 });
  });

  it('answers a wait that is open or of no device with 204, and a wrong time with 400', async () => {
    await start();
    const { raw } = await primary();
    const path = '/v1/devices/wait_for_linked_device/nothing';
    expect((await raw.request('GET', `${path}?timeout=1`)).status).toBe(204);
    for (const timeout of ['0', '3601', 'x']) {
      expect((await raw.request('GET', `${path}?timeout=${timeout}`)).status, timeout).toBe(400);
    }
  });

  it('names the device that came of a token, as long as nothing waits in the own queue', async () => {
    await start();
    const profile = parseProfile(JSON.stringify(server.profile), '/');
    const alice = await Primary.start(profile);
    const { requester } = alice.bot;
    let path = '';
    let open: Promise<Response> | undefined;
    const recording: Requester = {
      request: async (request, options) => {
        const response = await requester.request(request, options);
        if (request.path !== '/v1/devices/provisioning/code') return response;
        const { tokenIdentifier } = JSON.parse(toUtf8(response.body)) as { tokenIdentifier: string };
        path = `/v1/devices/wait_for_linked_device/${tokenIdentifier}`;
        open = requester.request({ verb: 'GET', path: `${path}?timeout=20` });
        return response;
      },
    };
    await alice.link('Door bot', undefined, recording);
    const found = await requester.request({ verb: 'GET', path: `${path}?timeout=1` });
    expect([found.status, JSON.parse(toUtf8(found.body))]).toMatchObject([200, { id: 2 }]);
    // Nobody wakes the call that was open when the device came.
    expect(await Promise.race([open, Promise.resolve('asleep')])).toBe('asleep');
    server.clock.advance(20_000);
    expect((await open)?.status).toBe(204);

    await alice.stop();
    const phone = await server.createPhone();
    await phone.send(alice.account.aci, 'waits');
    const { aci: username, password } = alice.account;
    const socket = await RawSocket.open(server.url, { username, password, autoAck: false });
    const waiting = await socket.delivery(0, '/api/v1/message');
    const asked = socket.request('GET', `${path}?timeout=1`);
    expect((await asked).status).toBe(204);
    waiting.answer();
    await until(async () => (await socket.request('GET', `${path}?timeout=1`)).status === 200);
  });

  it('takes a profile with version, commitment and fixed sizes only', async () => {
    await start();
    const { raw, aci } = await primary();
    const profile = {
      version: 'ab'.repeat(32),
      commitment: toBase64(new Uint8Array(97)),
      name: toBase64(new Uint8Array(81)),
    };
    const put = async (change: object): Promise<number> =>
      (await raw.request('PUT', '/v1/profile', { json: { ...profile, ...change } })).status;
    expect(await put({ version: 'ab' })).toBe(422);
    expect(await put({ commitment: null })).toBe(422);
    expect(await put({ name: toBase64(new Uint8Array(80)) })).toBe(422);
    expect(await put({})).toBe(200);
    const read = async (version: string): Promise<unknown> =>
      ((await raw.request('GET', `/v1/profile/${aci}/${version}`)).json as { name: unknown }).name;
    expect(await read(profile.version)).toBe(profile.name);
    expect(await read('cd'.repeat(32))).toBeNull();
    await raw.request('PUT', '/v1/devices/capabilities', { json: { spqr: true, profiles_v2: true } });
    expect(await put({})).toBe(412);
  });

  it('limits the rates of 1.9 where a test turns them on', async () => {
    await start();
    const { raw } = await primary();
    server.faults.rateLimits = true;
    const statuses: number[] = [];
    for (let n = 0; n < 7; n++)
      statuses.push((await raw.request('GET', '/v1/devices/provisioning/code')).status);
    expect(statuses).toEqual([200, 200, 200, 200, 200, 200, 429]);
  });
});
