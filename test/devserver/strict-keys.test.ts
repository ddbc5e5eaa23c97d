/**
 * What the Java servers refuse of keys, and the mock does not: signatures, counts, ids, base64.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import type { WireKey } from '../support/raw-device.ts';
import { DIALECTS, Stage } from '../support/stage.ts';

const KINDS = ['aci', 'pni'] as const;
const LONG = 2 ** 53;

describe.each(DIALECTS)('%s', (dialect) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open({ dialect });
  });
  afterAll(() => stage.close());

  const upload = (body: unknown, kind = 'aci'): Promise<number> =>
    stage.put(`/v2/keys?identity=${kind}`, body);

  describe.each(KINDS)('of the %s', (kind) => {
    const keys = (): Stage['device']['identities']['aci'] => stage.device.identities[kind];
    const other = (): Stage['device']['identities']['aci'] =>
      stage.device.identities[kind === 'aci' ? 'pni' : 'aci'];
    const first = (made: readonly Required<WireKey>[]): Required<WireKey> => made[0] ?? keys().signedKey();

    it.each<[string, () => object]>([
      ['one-time Kyber keys', () => ({ pqPreKeys: [...keys().kyberKeys(1), ...other().kyberKeys(1)] })],
      ['a signed prekey', () => ({ signedPreKey: other().signedKey() })],
      ['a last-resort key', () => ({ pqLastResortPreKey: first(other().kyberKeys(1)) })],
    ])('refuses %s that the other identity has signed', async (_what, body) => {
      expect(await upload(body(), kind)).toBe(422);
    });

    it('refuses a signature over another key, and one cut short', async () => {
      const [a, b] = [keys().signedKey(), keys().signedKey()];
      expect(await upload({ signedPreKey: { ...a, signature: b.signature } }, kind)).toBe(422);
      const short = toBase64(Buffer.from(a.signature, 'base64').subarray(0, 63));
      expect(await upload({ signedPreKey: { ...a, signature: short } }, kind)).toBe(422);
    });

    it('takes 100 one-time keys of a kind and refuses 101', async () => {
      expect(await upload({ preKeys: keys().ec(100) }, kind)).toBe(204);
      expect(await upload({ preKeys: keys().ec(101) }, kind)).toBe(422);
      expect(await upload({ pqPreKeys: keys().kyberKeys(101) }, kind)).toBe(422);
      const { ec } = await stage.server.keyCounts(stage.phone.aci, 2, kind);
      expect(ec).toBe(100);
    });
  });

  it.each([-1, 2 ** 31, LONG])(
    `${dialect === 'aug26' ? 'refuses' : 'takes'} the key id %d of every kind of key`,
    async (keyId) => {
      const keys = stage.device.identities.aci;
      const bodies = [
        { preKeys: [{ ...keys.ec(1)[0], keyId }] },
        { signedPreKey: { ...keys.signedKey(), keyId } },
        { pqLastResortPreKey: { ...keys.kyberKeys(1)[0], keyId } },
        { pqPreKeys: [{ ...keys.kyberKeys(1)[0], keyId }] },
      ];
      const statuses = [];
      for (const body of bodies) statuses.push(await upload(body));
      expect(new Set(statuses)).toEqual(new Set([dialect === 'aug26' ? 422 : 204]));
    },
  );

  it('takes the key ids 0 and 2^31-1', async () => {
    const keys = stage.device.identities.aci;
    for (const keyId of [0, 2 ** 31 - 1]) {
      expect(await upload({ preKeys: [{ ...keys.ec(1)[0], keyId }] })).toBe(204);
    }
  });

  it('takes base64 without its padding, and no other alphabet, no line break, no odd digit', async () => {
    const key = stage.device.identities.aci.signedKey();
    const unpadded = key.signature.replace(/=+$/, '');
    expect(await upload({ signedPreKey: { ...key, signature: unpadded } })).toBe(204);
    for (const wrong of [
      `${unpadded}=`,
      `${unpadded.slice(0, -1)}\n`,
      unpadded.slice(0, -1),
      `-${unpadded.slice(1)}==`,
      `_${unpadded.slice(1)}==`,
    ]) {
      expect(await upload({ signedPreKey: { ...key, signature: wrong } }), wrong).toBe(422);
    }
  });

  it('leaves what is there untouched by null, nothing, or an empty list', async () => {
    const before = await stage.server.keyCounts(stage.phone.aci, 2, 'pni');
    for (const body of [{}, { preKeys: null, pqPreKeys: null }, { preKeys: [], pqPreKeys: [] }]) {
      expect(await upload(body, 'pni')).toBe(204);
    }
    expect(await stage.server.keyCounts(stage.phone.aci, 2, 'pni')).toEqual(before);
  });

  it('answers what is no JSON with 400 and a message, and no content type with 415', async () => {
    const body = new TextEncoder().encode('{"preKeys":');
    const headers = ['content-type:application/json'];
    expect(await stage.socket.request('PUT', '/v2/keys', { body, headers })).toMatchObject({
      status: 400,
      json: { code: 400, message: expect.any(String) as string },
    });
    expect((await stage.socket.request('PUT', '/v2/keys', { body })).status).toBe(415);
  });

  it('checks a digest of 32 bytes, for either identity in either case', async () => {
    const check = async (identityType: string, bytes: number): Promise<number> => {
      const json = { identityType, digest: toBase64(new Uint8Array(bytes)) };
      return (await stage.socket.request('POST', '/v2/keys/check', { json })).status;
    };
    expect([await check('ACI', 32), await check('pni', 32)]).toEqual([409, 409]);
    expect([await check('ACI', 31), await check('ACI', 33)]).toEqual([422, 422]);
  });

  it('refuses to fetch for a device that is no number from 1 to 127, and for what is no service id', async () => {
    for (const id of ['0', '128', '-1', 'x']) {
      expect((await stage.get(`/v2/keys/${stage.peer.aci}/${id}`)).status, id).toBe(422);
    }
    expect((await stage.get('/v2/keys/+15550001111/1')).status).toBe(404);
    expect((await stage.get(`/v2/keys/${stage.peer.aci}/9`)).status).toBe(404);
  });
});
