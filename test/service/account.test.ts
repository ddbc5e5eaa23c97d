import { describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { senderCertificate, whoami } from '../../src/service/account.ts';
import { listDevices, removeDevice } from '../../src/service/devices.ts';
import { linkDevice } from '../../src/service/link.ts';
import { FakeRequester, jsonOf, type Answer } from '../support/fake-socket.ts';

const uuid = '11111111-1111-4111-8111-111111111111';
const aci = parseAci(uuid);
const pni = '22222222-2222-4222-8222-222222222222';
const from = (status: number, body?: object): FakeRequester =>
  new FakeRequester({ status, ...(body && { body }) } satisfies Answer);

describe('whoami', () => {
  it('reads accounts with and without a number', async () => {
    expect(await whoami(from(200, { uuid, pni, number: '+1', entitlements: {} }))).toEqual({
      aci,
      pni: `PNI:${pni}`,
      number: '+1',
    });
    expect(await whoami(from(200, { uuid, pni: null, number: null }))).toEqual({
      aci,
      pni: undefined,
      number: undefined,
    });
  });

  it('tells bad credentials from other trouble', async () => {
    expect(await whoami(from(401))).toBe('unauthorized');
    await expect(whoami(from(503))).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await expect(whoami(from(200, { uuid: 'x' }))).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
    await expect(whoami(from(200, { uuid, pni: 'x' }))).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
  });
});

describe('senderCertificate', () => {
  it('asks for one without the number', async () => {
    const requester = from(200, { certificate: 'AQI' });
    expect(await senderCertificate(requester)).toEqual(Uint8Array.of(1, 2));
    expect(requester.requests[0]?.path).toBe('/v1/certificate/delivery?includeE164=false');
    await expect(senderCertificate(from(200, { certificate: '' }))).rejects.toMatchObject({
      code: 'ANSWER_INVALID',
    });
  });
});

describe('devices', () => {
  it('are listed in the shapes of all servers', async () => {
    const devices = [
      { id: 1, name: null, lastSeen: 5, created: 4 },
      { id: 2, name: 'AQI=', lastSeen: 6, registrationId: 7, createdAtCiphertext: 'AA==' },
      { id: 3, name: 'My laptop!', lastSeen: 6, registrationId: 0 },
    ];
    expect(await listDevices(from(200, { devices }))).toEqual([
      { id: 1, encryptedName: undefined, lastSeen: 5, registrationId: undefined },
      { id: 2, encryptedName: Uint8Array.of(1, 2), lastSeen: 6, registrationId: 7 },
      { id: 3, encryptedName: undefined, lastSeen: 6, registrationId: undefined },
    ]);
    expect(await listDevices(from(404))).toBe('not-offered');
    await expect(listDevices(from(200, { devices: [{ id: 0 }] }))).rejects.toMatchObject({
      code: 'ANSWER_INVALID',
    });
  });

  it('are removed where the server lets us', async () => {
    const requester = from(204);
    expect(await removeDevice(requester, 3)).toBe('removed');
    expect(requester.requests[0]).toMatchObject({ verb: 'DELETE', path: '/v1/devices/3' });
    expect(await removeDevice(from(404), 3)).toBe('not-offered');
    expect(await removeDevice(from(403), 1)).toBe('refused');
    await expect(removeDevice(from(500), 3)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });
});

describe('linkDevice', () => {
  const link = { aci, password: 'secret', body: { verificationCode: 'c' } };

  it('sends the body with bare ACI and password', async () => {
    const requester = from(200, { uuid, pni, deviceId: 2 });
    expect(await linkDevice(requester, link)).toEqual({
      kind: 'linked',
      aci,
      pni: `PNI:${pni}`,
      deviceId: 2,
    });
    const [request] = requester.requests;
    expect(request).toMatchObject({ verb: 'PUT', path: '/v1/devices/link' });
    expect(request?.headers?.['authorization']).toBe(
      `Basic ${Buffer.from(`${uuid}:secret`).toString('base64')}`,
    );
    expect(jsonOf(request)).toEqual({ verificationCode: 'c' });
  });

  it.each([
    [
      'no PNI',
      from(200, { uuid, pni: null, deviceId: 2 }),
      { kind: 'linked', aci, pni: undefined, deviceId: 2 },
    ],
    ['403', from(403), { kind: 'expired' }],
    ['409', from(409), { kind: 'capability' }],
    ['411', from(411, { current: 6, max: 6 }), { kind: 'limit', current: 6, max: 6 }],
    ['411 without figures', from(411), { kind: 'limit', current: undefined, max: undefined }],
    ['422', from(422), { kind: 'invalid', status: 422 }],
    ['401', from(401), { kind: 'invalid', status: 401 }],
    [
      '429',
      new FakeRequester({ status: 429, headers: { 'retry-after': '120' } }),
      { kind: 'rate-limited', retryAfterMs: 120_000 },
    ],
    ['500', from(500), { kind: 'unavailable', status: 500 }],
  ])('reads %s', async (_name, requester, outcome) => {
    expect(await linkDevice(requester, link)).toEqual(outcome);
  });

  it('does not take an answer for another account, or with an impossible device', async () => {
    await expect(linkDevice(from(200, { uuid: pni, pni, deviceId: 2 }), link)).rejects.toMatchObject({
      code: 'ANSWER_INVALID',
    });
    await expect(linkDevice(from(200, { uuid, pni, deviceId: 200 }), link)).rejects.toMatchObject({
      code: 'ANSWER_INVALID',
    });
  });
});
