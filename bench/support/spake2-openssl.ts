/**
 * The fixed baseline of SPAKE2's suite 1: one side on P-256 in the fewest calls that OpenSSL can do it in, through
 * `node:crypto` alone but for the additions, which are noble's. It is what the plugin is measured against and shares no
 * line with it, so it does not change when the plugin does; no checks beyond the decoding, no interfaces, no reuse.
 */
import { createECDH, createHash, createHmac, ECDH, hkdfSync } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';

const { Point } = p256;
const { Fp } = Point;
const CURVE = 'prime256v1';
const M = Point.fromHex('02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f');
const N = Point.fromHex('03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49');

type P256Point = InstanceType<typeof Point>;

export interface Side {
  readonly w: bigint;
  readonly x: bigint;
  /** B's share, 65 bytes. */
  readonly peerShare: Uint8Array;
  readonly idA: Uint8Array;
  readonly idB: Uint8Array;
  readonly aad: Uint8Array;
}

/** A's share, alleged keys and both MACs. @returns pA | cA | cB */
export function baselineSide({ w, x, peerShare, idA, idB, aad }: Side): Buffer {
  const base = createECDH(CURVE);
  base.setPrivateKey(bytesOf(x));
  const pA = multiply(M, w)
    .add(Point.fromBytes(Uint8Array.from(base.getPublicKey())))
    .toBytes(false);
  const k = multiply(Point.fromBytes(peerShare).subtract(multiply(N, w)), x).toBytes(false);
  const parts = [idA, idB, pA, peerShare, k, bytesOf(w)];
  const transcript = Buffer.concat(parts.flatMap((part) => [lengthOf(part), part]));
  const ka = createHash('sha256').update(transcript).digest().subarray(16);
  const info = Buffer.concat([Buffer.from('ConfirmationKeys'), aad]);
  const kc = Buffer.from(hkdfSync('sha256', ka, '', info, 32));
  const mac = (key: Buffer): Buffer => createHmac('sha256', key).update(transcript).digest();
  return Buffer.concat([pA, mac(kc.subarray(0, 16)), mac(kc.subarray(16))]);
}

function multiply(q: P256Point, k: bigint): P256Point {
  const encoded = q.toBytes(false);
  const ecdh = createECDH(CURVE);
  ecdh.setPrivateKey(bytesOf(k));
  const even = Buffer.concat([EVEN, ecdh.computeSecret(encoded)]);
  ecdh.setPrivateKey(bytesOf(k + 1n));
  const nextX = Fp.fromBytes(Uint8Array.from(ecdh.computeSecret(encoded)));
  const decoded = ECDH.convertKey(even, CURVE, undefined, undefined, 'uncompressed') as Buffer;
  const root = Point.fromBytes(Uint8Array.from(decoded));
  const sum = root.add(q);
  return Fp.eql(sum.X, Fp.mul(nextX, sum.Z)) ? root : root.negate();
}

const EVEN = Buffer.from([2]);

function bytesOf(scalar: bigint): Buffer {
  return Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex');
}

function lengthOf(part: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeUInt32LE(part.length);
  return length;
}
