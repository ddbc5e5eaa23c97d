import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { RawSocket } from '../support/raw-client.ts';
import { RawDevice, type WireKey } from '../support/raw-device.ts';
import { provision } from '../support/raw-provisioning.ts';

let server: DevServer;
let phone: Phone;
let device: RawDevice;
let socket: RawSocket;

async function start(options: DevServerOptions = {}, keys = 4): Promise<void> {
  server = await startDevServer(options);
  phone = await server.createPhone();
  device = await RawDevice.link(server, phone, { keys });
  socket = await device.connect();
}
afterEach(async () => {
  await socket.close();
  await server.close();
});

const put = async (body: unknown, identity = 'aci'): Promise<number> =>
  (await socket.request('PUT', `/v2/keys?identity=${identity}`, { json: body })).status;

describe('an upload of keys', () => {
  it('leaves 100 one-time keys of each kind for both identities on the mock', async () => {
    await start({}, 100);
    for (const kind of ['aci', 'pni'] as const) {
      expect(await server.keyCounts(phone.aci, 2, kind)).toEqual({ ec: 100, kyber: 100 });
      const { json } = await socket.request('GET', `/v2/keys?identity=${kind}`);
      expect(json).toEqual({ count: 100, pqCount: 100 });
    }
  });

  it('replaces what it names and leaves the rest', async () => {
    await start();
    const { aci } = device.identities;
    expect(await put({ preKeys: aci.ec(7) })).toBe(204);
    expect(await server.keyCounts(phone.aci, 2, 'aci')).toEqual({ ec: 7, kyber: 4 });
    expect(await put({ preKeys: [], pqPreKeys: aci.kyberKeys(9) })).toBe(204);
    expect(await server.keyCounts(phone.aci, 2, 'aci')).toEqual({ ec: 7, kyber: 9 });
    expect(await put({ preKeys: null, pqPreKeys: null, signedPreKey: aci.signedKey() })).toBe(204);
    expect(await put({})).toBe(204);
    expect(await server.keyCounts(phone.aci, 2, 'aci')).toEqual({ ec: 7, kyber: 9 });
    expect(await server.keyCounts(phone.aci, 2, 'pni')).toEqual({ ec: 4, kyber: 4 });
  });

  it.each(['Kyber keys first', 'EC keys twice'])('goes through while linking with %s', async (order) => {
    server = await startDevServer();
    phone = await server.createPhone();
    const provisioned = await provision(server, phone);
    ({ device } = await RawDevice.register(server, provisioned));
    socket = await device.connect();
    for (const kind of ['aci', 'pni'] as const) {
      const identity = device.identities[kind];
      if (order === 'EC keys twice') expect(await put({ preKeys: identity.ec(2) }, kind)).toBe(204);
      expect(await put({ pqPreKeys: identity.kyberKeys(3) }, kind)).toBe(204);
      expect(await put({ preKeys: identity.ec(3) }, kind)).toBe(204);
    }
    expect(await provisioned.scanned).toBe(2);
    expect(await server.keyCounts(phone.aci, 2, 'pni')).toEqual({ ec: 3, kyber: 3 });
  });

  describe('is refused with 422', () => {
    beforeEach(() => start());
    it.each<[string, () => unknown]>([
      ['with more than 100 keys', () => ({ preKeys: device.identities.aci.ec(101) })],
      [
        'with a wrong Kyber signature',
        () => ({ pqPreKeys: [unsigned(device.identities.aci.kyberKeys(1)[0])] }),
      ],
      ['with a wrong signed key', () => ({ signedPreKey: unsigned(device.identities.aci.signedKey()) })],
      [
        'with a last-resort key of the other identity',
        () => ({ pqLastResortPreKey: device.identities.pni.kyberKeys(1)[0] }),
      ],
      [
        'with a short EC key',
        () => ({ preKeys: [{ keyId: 1, publicKey: toBase64(new Uint8Array(32).fill(5)) }] }),
      ],
      [
        'with an EC key of another type',
        () => ({ preKeys: [{ keyId: 1, publicKey: toBase64(new Uint8Array(33)) }] }),
      ],
      ['with url-safe base64', () => ({ preKeys: [{ keyId: 1, publicKey: '-'.repeat(44) }] })],
      [
        'with a key id above 2^31-1',
        () => ({ preKeys: [{ ...device.identities.aci.ec(1)[0], keyId: 2 ** 31 }] }),
      ],
    ])('%s', async (_what, body) => {
      expect(await put(body())).toBe(422);
    });
  });

  it('takes any key id before 2026', async () => {
    await start({ dialect: 'dec25' });
    expect(await put({ preKeys: [{ ...device.identities.aci.ec(1)[0], keyId: 2 ** 31 }] })).toBe(204);
  });

  it('needs JSON by its content type, and an authenticated socket', async () => {
    await start();
    const plain = await socket.request('PUT', '/v2/keys', { body: new Uint8Array([123, 125]) });
    expect(plain.status).toBe(415);
    const anonymous = await RawSocket.open(server.url);
    expect((await anonymous.request('PUT', '/v2/keys', { json: {} })).status).toBe(401);
    await anonymous.close();
  });
});

describe('keys/check', () => {
  it('says 200 to the same keys and 409 to others, for each identity', async () => {
    await start();
    for (const kind of ['aci', 'pni'] as const) {
      const identity = device.identities[kind];
      const signedPreKey = identity.signedKey();
      const pqLastResortPreKey = identity.kyberKeys(1)[0] ?? fail();
      await put({ signedPreKey, pqLastResortPreKey }, kind);
      const digest = createHash('sha256')
        .update(identity.key.getPublicKey().serialize())
        .update(u64(signedPreKey.keyId))
        .update(fromBase64(signedPreKey.publicKey))
        .update(u64(pqLastResortPreKey.keyId))
        .update(fromBase64(pqLastResortPreKey.publicKey))
        .digest();
      const check = async (bytes: Uint8Array): Promise<number> =>
        (
          await socket.request('POST', '/v2/keys/check', {
            json: { identityType: kind, digest: toBase64(bytes) },
          })
        ).status;
      expect([await check(digest), await check(digest.reverse())]).toEqual([200, 409]);
    }
  });
});

describe('fetching keys', () => {
  it('uses up one key of each kind per device, then falls back to the last resort', async () => {
    await start({}, 1);
    const fetch = async (): Promise<{ preKey: unknown; pqPreKey: { keyId: number } } | undefined> => {
      const { json } = await socket.request('GET', `/v2/keys/${phone.aci}/2`);
      return (json as { devices: { preKey: unknown; pqPreKey: { keyId: number } }[] }).devices[0];
    };
    const first = await fetch();
    const second = await fetch();
    expect(first?.preKey).not.toBeNull();
    expect(second?.preKey).toBeNull();
    expect(second?.pqPreKey.keyId).not.toBe(first?.pqPreKey.keyId);
    expect((await fetch())?.pqPreKey.keyId).toBe(second?.pqPreKey.keyId);
  });

  it('gives all devices for a star, and signatures without padding', async () => {
    await start();
    const { json } = await socket.request('GET', `/v2/keys/${phone.aci}/*`);
    const { devices } = json as { devices: { deviceId: number; signedPreKey: { signature: string } }[] };
    expect(devices.map(({ deviceId }) => deviceId)).toEqual([1, 2]);
    expect(devices[0]?.signedPreKey.signature).toHaveLength(86);
  });

  it('wants an access key of anonymous callers', async () => {
    await start();
    const anonymous = await RawSocket.open(server.url);
    const fetch = async (aci: string, ...headers: string[]): Promise<number> =>
      (await anonymous.request('GET', `/v2/keys/${aci}/1`, { headers })).status;
    const unknown = '00000000-0000-4000-8000-000000000000';
    const wrong = `unidentified-access-key:${toBase64(new Uint8Array(16))}`;
    expect(await fetch(phone.aci)).toBe(401);
    expect(await fetch(phone.aci, wrong)).toBe(401);
    expect(await fetch(unknown, wrong)).toBe(401);
    expect((await socket.request('GET', `/v2/keys/${unknown}/1`)).status).toBe(404);
    expect((await socket.request('GET', `/v2/keys/${phone.aci}/128`)).status).toBe(422);
    await anonymous.close();
  });
});

function fail(): never {
  throw new Error('no key was made');
}

function unsigned(key: WireKey | undefined): WireKey {
  return { keyId: 1, publicKey: '', ...key, signature: toBase64(new Uint8Array(64)) };
}

function u64(id: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(id));
  return bytes;
}
