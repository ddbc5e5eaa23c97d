/**
 * Who may ask what: sockets and what is said inside them, access keys, group tokens, certificates, profile versions.
 */
import { Aci, PublicKey, SenderCertificate } from '@signalapp/libsignal-client';
import { ProfileKey } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidFromBytes } from '../../src/address.ts';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { groupToken } from '../support/group-token.ts';
import { RawSocket } from '../support/raw-client.ts';
import { RawDevice } from '../support/raw-device.ts';
import { accessKey, DIALECTS, Stage } from '../support/stage.ts';
import { quiet } from '../support/until.ts';

const DAY_MS = 86_400_000;
const STRANGER = '00000000-0000-4000-8000-000000000000';

describe.each(DIALECTS)('%s', (dialect) => {
  let stage: Stage;
  let version: string;
  beforeAll(async () => {
    stage = await Stage.open({ dialect });
    const { profileKey, aci } = stage.device;
    version = new ProfileKey(profileKey).getProfileKeyVersion(Aci.parseFromServiceIdString(aci)).toString();
  });
  afterAll(() => stage.close());

  const key = (): Uint8Array => new ProfileKey(stage.device.profileKey).deriveAccessKey();
  const ask = async (from: RawSocket, verb: string, path: string, ...headers: string[]): Promise<number> =>
    (await from.request(verb, path, { headers })).status;

  it.each([
    ['GET', '/v1/accounts/whoami'],
    ['GET', '/v1/devices'],
    ['DELETE', '/v1/devices/2'],
    ['PUT', '/v1/devices/capabilities'],
    ['PUT', '/v1/accounts/name'],
    ['PUT', '/v1/accounts/attributes/'],
    ['GET', '/v1/devices/provisioning/code'],
    ['GET', '/v2/keys'],
    ['PUT', '/v2/keys'],
    ['POST', '/v2/keys/check'],
    ['GET', '/v1/certificate/delivery'],
    ['GET', '/v1/storage/auth'],
    ['GET', '/v4/attachments/form/upload'],
    ['PUT', '/v1/profile'],
  ])('%s %s is 401 on an anonymous socket, whatever the request says inside', async (verb, path) => {
    const { aci, deviceId, password } = stage.device;
    const basic = toBase64(Buffer.from(`${aci}.${String(deviceId)}:${password}`));
    expect(await ask(stage.anonymous, verb, path, `authorization:Basic ${basic}`)).toBe(401);
  });

  it('stays who opened the socket, whoever a request says it is', async () => {
    const other = await RawDevice.link(stage.server, stage.peer, { keys: 1 });
    const basic = toBase64(Buffer.from(`${other.aci}.2:${other.password}`));
    for (const said of [basic, toBase64(Buffer.from('x:y'))]) {
      const { json } = await stage.get('/v1/accounts/whoami', stage.socket, [`authorization:Basic ${said}`]);
      expect(json).toMatchObject({ uuid: stage.phone.aci });
    }
    await stage.peer.removeDevice(other.deviceId);
  });

  it('wants the access key of the very account for keys, profiles and sends', async () => {
    const { aci, pni } = stage.phone;
    const short = accessKey(key().slice(0, 15));
    const urlSafe = `unidentified-access-key:${'-'.repeat(22)}==`;
    for (const path of [`/v2/keys/${aci}/1`, `/v2/keys/${aci}/*`, `/v1/profile/${aci}/${version}`]) {
      expect(await ask(stage.anonymous, 'GET', path), path).toBe(401);
      for (const wrong of [accessKey(new Uint8Array(16)), short, urlSafe]) {
        expect(await ask(stage.anonymous, 'GET', path, wrong), path).toBe(401);
      }
      expect(await ask(stage.anonymous, 'GET', path, accessKey(key())), path).toBe(200);
      const unpadded = accessKey(key()).replace(/=+$/, '');
      expect(await ask(stage.anonymous, 'GET', path, unpadded), path).toBe(200);
    }
    const pniPath = `/v2/keys/${encodeURIComponent(pni)}/1`;
    expect(await ask(stage.anonymous, 'GET', pniPath, accessKey(key()))).toBe(401);
    expect(await ask(stage.anonymous, 'GET', `/v2/keys/${STRANGER}/1`, accessKey(key()))).toBe(401);
    expect(await ask(stage.socket, 'GET', `/v1/profile/${STRANGER}`)).toBe(404);
    const sent = await stage.send([await stage.entry()], {
      from: stage.anonymous,
      headers: [accessKey(key())],
    });
    expect(sent.status).toBe(401); // the key of another
  });

  it('takes any key for an unrestricted account, in 2026 of 16 bytes', async () => {
    const own = toBase64(key());
    const restrict = (isOff: boolean): Promise<number> =>
      stage.put('/v1/accounts/attributes/', {
        unidentifiedAccessKey: own,
        unrestrictedUnidentifiedAccess: isOff,
      });
    const fetch = (bytes: number): Promise<number> =>
      ask(stage.anonymous, 'GET', `/v2/keys/${stage.phone.aci}/1`, accessKey(new Uint8Array(bytes)));
    expect(await restrict(true)).toBe(204);
    expect([await fetch(16), await fetch(5)]).toEqual([200, dialect === 'aug26' ? 401 : 200]);
    expect(await ask(stage.anonymous, 'GET', `/v2/keys/${stage.phone.aci}/1`)).toBe(401);
    expect(await restrict(false)).toBe(204);
    expect(await fetch(16)).toBe(401);
    expect(await stage.put('/v1/accounts/attributes/', {})).toBe(dialect === 'aug26' ? 422 : 204);
  });

  it('attaches the source to what is sealed on an authenticated socket, right key or wrong', async () => {
    const other = await RawDevice.link(stage.server, stage.peer, { keys: 1 });
    const theirs = await other.connect();
    const peerKey = new ProfileKey(other.profileKey).deriveAccessKey();
    for (const [n, sent] of [peerKey, new Uint8Array(16)].entries()) {
      const messages = [
        await stage.entry({ type: 6 }),
        {
          ...(await stage.entry({ type: 6, destinationDeviceId: other.deviceId })),
          destinationRegistrationId: other.identities.aci.registrationId,
        },
      ];
      expect((await stage.send(messages, { headers: [accessKey(sent)] })).status).toBe(200);
      expect(await theirs.envelope(n)).toMatchObject({ type: 6, sourceDevice: 2 });
    }
    await theirs.close();
    await stage.peer.removeDevice(other.deviceId);
  });

  it('takes types 1 and 3 without a source on an anonymous socket', async () => {
    const { aci } = stage.phone;
    const [first, second] = [await stage.registrationId(aci, 1), await stage.registrationId(aci, 2)];
    const before = stage.socket.count();
    const messages = [
      { type: 1, destinationDeviceId: 1, destinationRegistrationId: first, content: 'AAAA' },
      { type: 3, destinationDeviceId: 2, destinationRegistrationId: second, content: 'AAAA' },
    ];
    const sent = await stage.send(messages, { to: aci, from: stage.anonymous, headers: [accessKey(key())] });
    expect(sent).toMatchObject({ status: 200, json: { needsSync: false } });
    const envelope = await stage.socket.envelope(before);
    expect(envelope).toMatchObject({ type: 3, sourceDevice: null, sourceServiceId: null });
    expect(envelope.sourceServiceIdBinary).toBeNull();
  });

  it('checks no access for a story, names no sender in it, and knows no account that is not there', async () => {
    const options = { query: '?story=true', from: stage.anonymous };
    const one = await stage.entry();
    expect((await stage.send([one], options)).status).toBe(200);
    expect((await stage.send([one], { ...options, to: STRANGER })).status).toBe(200);
    expect((await stage.send([one], { ...options, headers: ['group-send-token:AAAA'] })).status).toBe(400);
    const listener = await RawDevice.link(stage.server, stage.peer, { keys: 1 });
    const theirs = await listener.connect({ headers: { 'X-Signal-Receive-Stories': 'true' } });
    const two = {
      ...(await stage.entry({ destinationDeviceId: listener.deviceId })),
      destinationRegistrationId: listener.identities.aci.registrationId,
    };
    expect((await stage.send([one, two], { query: '?story=true' })).status).toBe(200);
    expect(await theirs.envelope(0)).toMatchObject({ story: true, sourceDevice: null });
    await theirs.close();
    await stage.peer.removeDevice(listener.deviceId);
  });

  it('takes a group token of an endorsement for this account, in its time, and nothing beside it', async () => {
    const { peer, phone } = stage;
    const { server } = stage;
    const token = await groupToken(server, phone.aci, [peer.aci]);
    const foreign = await groupToken(server, peer.aci, [phone.aci]);
    const send = async (headers: string[], from = stage.anonymous): Promise<number> =>
      (await stage.send([await stage.entry()], { from, headers })).status;
    const header = (value: string): string => `group-send-token:${value}`;
    expect(await send([header(token)])).toBe(200);
    expect(await send([header(foreign)])).toBe(401);
    expect(await send([header('AAAA')])).toBe(401);
    expect(await send([header(token), accessKey(key())])).toBe(400);
    expect(await send([header(token)], stage.socket)).toBe(400);
    expect(await ask(stage.anonymous, 'GET', `/v2/keys/${peer.aci}/*`, header(token))).toBe(200);
    expect(await ask(stage.anonymous, 'GET', `/v2/keys/${phone.aci}/*`, header(token))).toBe(401);
  });

  it('shows a profile to its version only', async () => {
    const { aci, pni } = stage.phone;
    const get = async (path: string): Promise<Record<string, unknown>> =>
      (await stage.get(`/v1/profile/${path}`)).json as Record<string, unknown>;
    expect((await get(`${aci}/${version}`))['name']).toEqual(expect.any(String));
    const other = await get(`${aci}/${'0'.repeat(64)}`);
    expect(other).toMatchObject({ name: null, about: null, avatar: null, uuid: aci, badges: [] });
    expect(other['identityKey']).toEqual(expect.any(String));
    expect(await get(aci)).not.toHaveProperty('name');
    expect((await stage.get(`/v1/profile/${encodeURIComponent(pni)}`)).status).toBe(200);
  });

  it('gives a certificate that ends after a week, in the form of its generation', async () => {
    const certificate = async (query: string): Promise<SenderCertificate> => {
      const { json } = await stage.get(`/v1/certificate/delivery${query}`);
      return SenderCertificate.deserialize(fromBase64((json as { certificate: string }).certificate));
    };
    const [own, named] = [await certificate('?includeE164=false'), await certificate('')];
    const roots = stage.server.profile.sealedSender.trustRoots.map((root) =>
      PublicKey.deserialize(fromBase64(root)),
    );
    const now = stage.server.clock.now();
    const isValid = (at: number): boolean => roots.some((root) => own.validate(root, at));
    expect([isValid(now), isValid(now + 7 * DAY_MS - 60_000), isValid(now + 7 * DAY_MS + 1)]).toEqual([
      true,
      true,
      false,
    ]);
    expect([own.senderUuid(), own.senderDeviceId(), own.senderE164()]).toEqual([stage.phone.aci, 2, null]);
    expect(named.senderE164()).toBe(stage.phone.number);
    const text = Buffer.from(own.serialize());
    expect(text.includes(stage.phone.aci)).toBe(dialect !== 'aug26');
    const raw = Buffer.from(stage.phone.aci.replaceAll('-', ''), 'hex');
    expect(text.includes(raw)).toBe(dialect === 'aug26');
    expect(uuidFromBytes(new Uint8Array(raw))).toBe(stage.phone.aci);
  });

  it('closes 1011 for a path that is no URI, and loses what else was asked there', async () => {
    for (const path of ['/v1/a b', '/v1/a|b', '/v1/%zz', 'http://[']) {
      const socket = await RawSocket.open(stage.server.url);
      socket.ask('GET', path);
      expect((await socket.closed).code, path).toBe(1011);
    }
    await quiet();
    expect(await ask(stage.anonymous, 'GET', '/v1/keepalive')).toBe(200);
  });

  it('says nothing in the body of a 401, 403 or 404', async () => {
    const asked = [
      await stage.get('/v1/nowhere'),
      await stage.get(`/v2/keys/${STRANGER}/1`),
      await stage.get(`/v2/keys/${stage.peer.aci}/9`),
      await stage.get(`/v1/profile/${STRANGER}`),
      await stage.get('/v1/devices', stage.anonymous),
      await stage.get(`/v2/keys/${stage.peer.aci}/1`, stage.anonymous),
      await stage.send([await stage.entry()], { to: STRANGER }),
      await stage.send([await stage.entry()], { to: stage.phone.pni }),
    ];
    expect(asked.map(({ status }) => status)).toEqual([404, 404, 404, 404, 401, 401, 404, 403]);
    expect(asked.map(({ body }) => body.length)).toEqual(asked.map(() => 0));
    for (const { headers } of asked) expect(Number(headers['x-signal-timestamp'])).toBeGreaterThan(0);
  });

  it('has the reasons of a 422 in a list', async () => {
    const refused = await stage.send([await stage.entry({ type: 2 })]);
    expect(refused).toMatchObject({ status: 422, json: { errors: [expect.any(String) as string] } });
  });

  it('lets only the primary name or remove another device', async () => {
    const name = (id: number): Promise<number> =>
      stage.put(`/v1/accounts/name?deviceId=${String(id)}`, { deviceName: toBase64(new Uint8Array(20)) });
    expect([await name(2), await name(1)]).toEqual([204, 403]);
    expect(await stage.put('/v1/accounts/name', { deviceName: toBase64(new Uint8Array(226)) })).toBe(422);
    expect(await stage.put('/v1/accounts/name', { deviceName: '' })).toBe(422);
    expect(await ask(stage.socket, 'DELETE', '/v1/devices/1')).toBe(401);
  });
});
