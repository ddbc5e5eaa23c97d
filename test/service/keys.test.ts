import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { toBase64, type Bytes } from '../../src/bytes.ts';
import { checkKeys, countKeys, fetchBundles, keysDigest, uploadKeys } from '../../src/service/keys.ts';
import { FakeRequester, jsonOf } from '../support/fake-socket.ts';

const aci = parseAci('11111111-1111-4111-8111-111111111111');
const bytes = (length: number, fill: number): Bytes => new Uint8Array(length).fill(fill);
const unpadded = (value: Bytes): string => toBase64(value).replace(/=+$/, '');
const ec = { id: 5, publicKey: bytes(33, 5) };
const signed = { ...ec, signature: bytes(64, 1) };
const kyber = { id: 6, publicKey: bytes(1569, 8), signature: bytes(64, 2) };

function device(deviceId: number, changes: object = {}): object {
  return {
    deviceId,
    registrationId: 1000 + deviceId,
    signedPreKey: { keyId: 5, publicKey: unpadded(ec.publicKey), signature: unpadded(signed.signature) },
    preKey: { keyId: 5, publicKey: toBase64(ec.publicKey) },
    pqPreKey: { keyId: 6, publicKey: toBase64(kyber.publicKey), signature: unpadded(kyber.signature) },
    ...changes,
  };
}

function answer(devices: object[], identityKey = toBase64(bytes(33, 9))) {
  return new FakeRequester({ status: 200, body: { identityKey, devices, later: true } });
}

describe('fetchBundles', () => {
  it('reads keys with and without padding, and leaves out devices that are not usable yet', async () => {
    const requester = answer([
      device(1),
      device(2, { preKey: null }),
      device(3, { signedPreKey: null }),
      device(4, { pqPreKey: undefined }),
    ]);
    const outcome = await fetchBundles(requester, aci, '*', bytes(16, 0));
    expect(requester.requests[0]).toMatchObject({ verb: 'GET', path: `/v2/keys/${aci}/*` });
    expect(requester.requests[0]?.headers).toEqual({ 'unidentified-access-key': 'AAAAAAAAAAAAAAAAAAAAAA==' });
    expect(outcome).toEqual({
      kind: 'bundle',
      bundle: {
        identityKey: bytes(33, 9),
        devices: [
          { deviceId: 1, registrationId: 1001, signedPrekey: signed, prekey: ec, kyberPrekey: kyber },
          { deviceId: 2, registrationId: 1002, signedPrekey: signed, prekey: undefined, kyberPrekey: kyber },
        ],
      },
    });
  });

  it.each([
    ['a short identity key', answer([], toBase64(bytes(32, 5)))],
    ['a device id of 128', answer([device(128)])],
    ['a registration id of 0', answer([device(1, { registrationId: 0 })])],
    [
      'a short Kyber key',
      answer([device(1, { pqPreKey: { keyId: 1, publicKey: 'AAAA', signature: toBase64(bytes(64, 1)) } })]),
    ],
    ['url-safe base64', answer([device(1, { preKey: { keyId: 1, publicKey: '_'.repeat(44) } })])],
    ['too many devices', answer(Array.from({ length: 128 }, () => device(1)))],
    ['no JSON', new FakeRequester({ status: 200, body: bytes(3, 0x7b) })],
  ])('does not believe %s', async (_name, requester) => {
    await expect(fetchBundles(requester, aci, 1)).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
  });

  it.each([
    [404, { kind: 'unregistered' }],
    [401, { kind: 'unauthorized' }],
    [429, { kind: 'rate-limited', retryAfterMs: 30_000 }],
    [500, { kind: 'unavailable', status: 500, retryAfterMs: undefined }],
    [422, { kind: 'refused', status: 422 }],
  ])('reads status %i', async (status, outcome) => {
    const requester = new FakeRequester({ status });
    expect(await fetchBundles(requester, aci, 1)).toEqual(outcome);
    expect(requester.requests[0]).toMatchObject({ path: `/v2/keys/${aci}/1`, headers: {} });
  });
});

describe('own keys', () => {
  it('are sent with an array of one-time keys, even an empty one', async () => {
    const requester = new FakeRequester({ status: 204 });
    expect(await uploadKeys(requester, 'pni', { kyber: [kyber] })).toEqual({ kind: 'stored' });
    await uploadKeys(requester, 'aci', { ec: [ec], signed, lastResort: kyber });
    const wire = { keyId: 6, publicKey: toBase64(kyber.publicKey), signature: toBase64(kyber.signature) };
    expect(requester.requests[0]?.path).toBe('/v2/keys?identity=pni');
    expect(jsonOf(requester.requests[0])).toEqual({ preKeys: [], pqPreKeys: [wire] });
    expect(jsonOf(requester.requests[1])).toEqual({
      preKeys: [{ keyId: 5, publicKey: toBase64(ec.publicKey) }],
      signedPreKey: { keyId: 5, publicKey: toBase64(ec.publicKey), signature: toBase64(signed.signature) },
      pqLastResortPreKey: wire,
    });
  });

  it.each([
    [422, { kind: 'rejected', status: 422 }],
    [400, { kind: 'rejected', status: 400 }],
    [500, { kind: 'unavailable', status: 500, retryAfterMs: undefined }],
    [401, { kind: 'unauthorized' }],
  ])('can be answered %i', async (status, outcome) => {
    expect(await uploadKeys(new FakeRequester({ status }), 'aci', {})).toEqual(outcome);
  });

  it('are counted', async () => {
    expect(
      await countKeys(new FakeRequester({ status: 200, body: { count: 7, pqCount: 9 } }), 'aci'),
    ).toEqual({ ec: 7, kyber: 9 });
    const bad = new FakeRequester({ status: 200, body: { count: '7' } });
    await expect(countKeys(bad, 'aci')).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
    for (const [status, code] of [
      [401, 'DEVICE_UNLINKED'],
      [429, 'RATE_LIMITED'],
      [502, 'SERVER_UNREACHABLE'],
      [418, 'REQUEST_REFUSED'],
    ] as const) {
      await expect(countKeys(new FakeRequester({ status }), 'aci')).rejects.toMatchObject({ code });
    }
  });

  it('are compared by a digest over identity, ids and keys', async () => {
    const digest = keysDigest({
      identityKey: bytes(33, 1),
      signedId: 258,
      signedPublic: bytes(33, 2),
      lastResortId: 3,
      lastResortPublic: bytes(1569, 4),
    });
    const u64 = (value: number): Buffer => Buffer.from(value.toString(16).padStart(16, '0'), 'hex');
    const plain = Buffer.concat([bytes(33, 1), u64(258), bytes(33, 2), u64(3), bytes(1569, 4)]);
    expect(toBase64(digest)).toBe(createHash('sha256').update(plain).digest('base64'));
    const requester = new FakeRequester({ status: 200 });
    expect(await checkKeys(requester, 'pni', digest)).toBe('same');
    expect(requester.requests[0]).toMatchObject({ verb: 'POST', path: '/v2/keys/check' });
    expect(jsonOf(requester.requests[0])).toEqual({ identityType: 'PNI', digest: toBase64(digest) });
    expect(await checkKeys(new FakeRequester({ status: 409 }), 'aci', digest)).toBe('differs');
    expect(await checkKeys(new FakeRequester({ status: 404 }), 'aci', digest)).toBe('not-offered');
    await expect(checkKeys(new FakeRequester({ status: 500 }), 'aci', digest)).rejects.toMatchObject({
      code: 'SERVER_UNREACHABLE',
    });
  });
});
