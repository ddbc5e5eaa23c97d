/**
 * The buckets of the Java servers (protocol brief, 1.9), which the mock has none of: how much at once, how long until one
 * comes back, and whose bucket it is. Off until a test says `rateLimits`.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { testPlatform } from '../support/clock.ts';
import type { RawResponse } from '../support/raw-client.ts';
import { RawDevice } from '../support/raw-device.ts';
import { provision } from '../support/raw-provisioning.ts';
import { basic, begin, NUMBER, rawPrimary, registrationBody } from '../support/raw-primary.ts';
import { accessKey, DIALECTS, Stage } from '../support/stage.ts';
import { quiet } from '../support/until.ts';

let stage: Stage;
beforeEach(async () => {
  stage = await Stage.open({ dialect: 'jun25', platform: testPlatform() }); // no time passes by itself
});
afterEach(() => stage.close());

/** Asks so often, all at once, and says which statuses came how often. */
async function burst(times: number, ask: () => Promise<RawResponse>): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const { status } of await Promise.all(Array.from({ length: times }, ask))) {
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

/** One more is refused, with this Retry-After and nothing in the body; after that time one passes again. */
async function expectEmpty(ask: () => Promise<RawResponse>, seconds: number, passes = 200): Promise<void> {
  const refused = await ask();
  expect(refused.status).toBe(429);
  expect(refused.headers['retry-after']).toBe(String(seconds));
  expect(refused.body).toHaveLength(0);
  for (let left = seconds * 1000 - 1; left > 0; left -= 60_000) {
    stage.server.clock.advance(Math.min(left, 60_000));
    for (const socket of [stage.socket, stage.anonymous]) await stage.get('/v1/keepalive', socket);
  }
  expect((await ask()).status).toBe(429);
  stage.server.clock.advance(1);
  expect((await ask()).status).toBe(passes);
}

const on = (): void => {
  stage.server.faults.rateLimits = true;
};

describe('has no limit', () => {
  it('unless a test wants it', async () => {
    expect(await burst(20, () => stage.get(`/v2/keys/${stage.peer.aci}/1`))).toEqual({ 200: 20 });
  });

  it('for sends to the own account, anonymous sends and anonymous key fetches', async () => {
    const own = { ...(await stage.entry({}, stage.phone.aci)), content: 'AAAA' };
    on();
    const to = stage.phone.aci;
    expect(await burst(70, () => stage.send([own], { to }))).toEqual({ 200: 70 });
    const headers = [accessKey(new Uint8Array(16))];
    const ask = (): Promise<RawResponse> => stage.get(`/v2/keys/${to}/1`, stage.anonymous, headers);
    expect(await burst(20, ask)).toEqual({ 401: 20 });
  });
});

describe('limits', () => {
  it('messages to each account: 60, one a second', async () => {
    const one = await stage.entry();
    const to = stage.phone.pni;
    on();
    expect(await burst(60, () => stage.send([one]))).toEqual({ 200: 60 });
    expect((await stage.send([one], { to })).status).toBe(403); // what is refused anyway costs nothing
    await expectEmpty(() => stage.send([one]), 1);
  });

  it('bytes for each account: 128 MiB', async () => {
    const content = toBase64(new Uint8Array(262_144));
    on();
    const headers = [accessKey(new Uint8Array(16))]; // wrong: what is refused later has its bytes counted
    const one = { type: 6, destinationDeviceId: 1, destinationRegistrationId: 1, content };
    const ask = (): Promise<RawResponse> => stage.send([one], { from: stage.anonymous, headers });
    for (let n = 0; n < 16; n++) expect(await burst(32, ask)).toEqual({ 401: 32 });
    const small = { ...one, content: toBase64(new Uint8Array(2_000)) };
    await expectEmpty(() => stage.send([small], { from: stage.anonymous, headers }), 1, 401);
  }, 60_000);

  it('stories to each account: 5,000, one in eight seconds', async () => {
    const one = { type: 1, destinationDeviceId: 9, destinationRegistrationId: 1, content: 'AAAA' };
    on();
    const ask = (): Promise<RawResponse> =>
      stage.send([one], { query: '?story=true', from: stage.anonymous });
    for (let n = 0; n < 10; n++) expect(await burst(500, ask)).toEqual({ 409: 500 });
    await expectEmpty(ask, 8, 409);
  }, 60_000);

  it('key fetches of each device and target: 6, one in ten minutes; all devices are a target of their own', async () => {
    on();
    const { aci } = stage.peer;
    expect(await burst(6, () => stage.get(`/v2/keys/${aci}/1`))).toEqual({ 200: 6 });
    expect(await burst(6, () => stage.get(`/v2/keys/${aci}/*`))).toEqual({ 200: 6 });
    expect((await stage.get(`/v2/keys/${stage.phone.aci}/1`)).status).toBe(200);
    await expectEmpty(() => stage.get(`/v2/keys/${aci}/1`), 600);
  });

  it('registrations of each number: 6, one in 30 s, verified or not', async () => {
    on();
    const json = registrationBody('nothing');
    const ask = (number = NUMBER): Promise<RawResponse> =>
      stage.anonymous.request('POST', '/v1/registration', { json, headers: basic(number) });
    expect(await burst(6, () => ask())).toEqual({ 401: 6 });
    await expectEmpty(() => ask(), 30, 401);
    expect((await ask('+15550004444')).status).toBe(401);
  });

  it('captchas of each number: 10, one in 30 s, right or wrong', async () => {
    on();
    const [one, other] = [await begin(stage.anonymous), await begin(stage.anonymous, '+15550004444')];
    const ask = ({ path }: { path: string }): Promise<RawResponse> =>
      stage.anonymous.request('PATCH', path, { json: { captcha: 'wrong' } });
    expect(await burst(10, () => ask(one))).toEqual({ 400: 10 });
    await expectEmpty(() => ask(one), 30, 400);
    expect((await ask(other)).status).toBe(400);
  });

  it('waits for a linked device: 10, one in 30 s', async () => {
    const { raw } = await rawPrimary(stage.server, stage.anonymous);
    on();
    const ask = (): Promise<RawResponse> =>
      raw.request('GET', '/v1/devices/wait_for_linked_device/nothing?timeout=1');
    const open = burst(10, ask);
    await quiet();
    const refused = await ask();
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '30']);
    stage.server.clock.advance(29_999);
    expect(await open).toEqual({ 204: 10 });
    expect((await ask()).status).toBe(429);
    stage.server.clock.advance(1);
    const next = ask();
    await quiet();
    stage.server.clock.advance(1_000);
    expect((await next).status).toBe(204);
  });

  it('links to each account: 6, one in two minutes, whatever becomes of them', async () => {
    const there = await stage.server.createPhone();
    const provisioned = await provision(stage.server, there);
    on();
    const ask = async (): Promise<RawResponse> =>
      (
        await RawDevice.register(stage.server, provisioned, {
          alter: (body) => (body.accountAttributes['capabilities'] = {}),
        })
      ).response;
    for (let n = 0; n < 6; n++) expect((await ask()).status).toBe(409);
    await expectEmpty(ask, 120, 409);
    const fresh = await provision(stage.server, await stage.server.createPhone());
    expect((await RawDevice.register(stage.server, fresh)).response.status).toBe(200);
  });

  it('forms for attachments: 50, one in 1.2 s', async () => {
    on();
    const ask = (): Promise<RawResponse> => stage.get('/v4/attachments/form/upload');
    expect(await burst(50, ask)).toEqual({ 200: 50 });
    expect((await ask()).headers['retry-after']).toBe('2');
    stage.server.clock.advance(1_200);
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 429]);
  });

  it('credentials for storage: 100, one in 15 minutes', async () => {
    on();
    const ask = (): Promise<RawResponse> => stage.get('/v1/storage/auth');
    expect(await burst(100, ask)).toEqual({ 200: 100 });
    expect((await ask()).headers['retry-after']).toBe('900');
  });

  it('profiles: 4,320, one in 20 s', async () => {
    on();
    const ask = (): Promise<RawResponse> => stage.get(`/v1/profile/${stage.peer.aci}`);
    for (let n = 0; n < 9; n++) expect(await burst(480, ask)).toEqual({ 200: 480 });
    await expectEmpty(ask, 20);
  }, 60_000);
});

it.each(DIALECTS)('key fetches of a device that is linked again, in %s', async (dialect) => {
  await stage.close();
  stage = await Stage.open({ dialect, platform: testPlatform() });
  const ask = (socket = stage.socket): Promise<RawResponse> =>
    stage.get(`/v2/keys/${stage.peer.aci}/1`, socket);
  on();
  expect(await burst(7, () => ask())).toEqual({ 200: 6, 429: 1 });
  const { registrationId } = stage.device.identities.aci;
  let again: RawDevice;
  do {
    await stage.phone.removeDevice(2);
    again = await RawDevice.link(stage.server, stage.phone);
  } while (again.identities.aci.registrationId === registrationId);
  expect(again.deviceId).toBe(2);
  const socket = await again.connect();
  expect((await ask(socket)).status).toBe(dialect === 'jun25' ? 429 : 200);
  await socket.close();
});
