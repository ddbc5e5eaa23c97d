import { readFileSync } from 'node:fs';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { fromUtf8, own } from '../../src/bytes.ts';
import {
  loadPairing,
  RFC9380_DST,
  RFC9380_VECTORS,
  type VerifyByPairing,
} from '../../src/cli/demo-pairing.ts';

const file = new URL('../vectors/rfc9380-g1-vectors.json', import.meta.url);
const { dst, vectors } = JSON.parse(readFileSync(file, 'utf8')) as {
  dst: string;
  vectors: { msg: string; P: { x: string; y: string } }[];
};

describe('the hash to G1', () => {
  it.each(vectors)('is that of RFC 9380 for $msg', ({ msg, P }) => {
    const point = bls12_381.G1.hashToCurve(fromUtf8(msg), { DST: dst }).toAffine();
    expect([point.x, point.y]).toEqual([BigInt(`0x${P.x}`), BigInt(`0x${P.y}`)]);
  });

  it('is held against vectors of the RFC by the demo', () => {
    expect(vectors).toHaveLength(5);
    expect(RFC9380_DST).toBe(dst);
    for (const { message, x, y } of RFC9380_VECTORS)
      expect(vectors.find(({ msg }) => msg === message)?.P).toEqual({ x, y });
  });
});

describe('the pairing of another library', () => {
  const scheme = bls12_381.shortSignatures;
  const secret = bls12_381.utils.randomSecretKey();
  const publicKey = own(scheme.getPublicKey(secret).toBytes());
  const message = fromUtf8('pay 3');
  const signature = own(scheme.sign(scheme.hash(message), secret).toBytes());
  let verify: VerifyByPairing;

  beforeAll(async () => {
    verify = await loadPairing();
  });

  it('takes a signature of the key and the message, and no other', () => {
    expect(verify(publicKey, signature, message)).toBe(true);
    expect(verify(publicKey, signature, fromUtf8('pay 4'))).toBe(false);
    const other = own(scheme.getPublicKey(bls12_381.utils.randomSecretKey()).toBytes());
    expect(verify(other, signature, message)).toBe(false);
  });

  it('takes no bytes that are no point, and not the identity', () => {
    const nothing = Uint8Array.of(0xc0, ...new Uint8Array(47));
    expect(verify(publicKey, nothing, message)).toBe(false);
    expect(verify(Uint8Array.of(0xc0, ...new Uint8Array(95)), nothing, message)).toBe(false);
    expect(verify(publicKey, new Uint8Array(48).fill(0xff), message)).toBe(false);
    expect(verify(publicKey, signature.slice(1), message)).toBe(false);
  });

  it('is asked for with the command that installs it where it is missing', async () => {
    const empty = Object.assign(() => {
      throw new Error('not found');
    }, {}) as unknown as NodeJS.Require;
    await expect(loadPairing(empty)).rejects.toMatchObject({
      code: 'DEVSERVER_MISSING',
      next: 'Install it: npm install --save-dev mcl-wasm',
    });
  });
});
