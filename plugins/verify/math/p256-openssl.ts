/**
 * P-256 for suite 1 where OpenSSL multiplies: faster than noble, and in constant time, which BigInt arithmetic is not.
 *
 * `createECDH` gives k * P whole, but only the x-coordinate of k * Q. The x of (k + 1) * Q decides the sign of y: either
 * root is taken, Q is added to it with noble, and where the sum has another x, the root was that of -(k * Q).
 * Spec: verification brief, section 15, "How OpenSSL multiplies".
 */
import { createECDH, ECDH } from 'node:crypto';
import { concatBytes } from '@noble/curves/utils.js';
import { decodePoint, encodePoint, FIXED_POINTS, Point, type P256Point } from './p256.ts';
import { assertScalars, toScalarBytes, type Group } from './spake2.ts';

const CURVE = 'prime256v1';
const EVEN_Y = new Uint8Array([0x02]);
const order = Point.Fn.ORDER;
const { Fp } = Point;
const fixed = { M: Point.fromHex(FIXED_POINTS.M), N: Point.fromHex(FIXED_POINTS.N) };

export const opensslP256: Group = {
  order,
  blinded: (blind, w, x) => {
    assertScalars(order, w, x);
    return encodePoint(multiply(fixed[blind], w).add(multiplyBase(x)));
  },
  shared: (blind, w, x, share) => {
    assertScalars(order, w, x);
    const peer = decodePoint(share);
    if (peer === undefined) return undefined;
    const unblinded = peer.subtract(multiply(fixed[blind], w));
    return unblinded.is0() ? undefined : encodePoint(multiply(unblinded, x));
  },
};

function multiplyBase(k: bigint): P256Point {
  const ecdh = createECDH(CURVE);
  ecdh.setPrivateKey(toScalarBytes(k));
  return fromOpenssl(ecdh.getPublicKey());
}

/** @param k from 1 to order - 2, so that neither k * Q nor (k + 1) * Q is the identity */
function multiply(q: P256Point, k: bigint): P256Point {
  const ecdh = createECDH(CURVE);
  const encoded = encodePoint(q);
  const multiplyX = (by: bigint): Uint8Array => {
    ecdh.setPrivateKey(toScalarBytes(by));
    return ecdh.computeSecret(encoded);
  };
  const root = fromOpenssl(withEvenY(multiplyX(k)));
  const sum = root.add(q);
  const next = Fp.fromBytes(multiplyX(k + 1n));
  // x = X / Z without the division. The sum is the identity where the root is -q, which is never the right one.
  const isRoot = !Fp.is0(sum.Z) && Fp.eql(sum.X, Fp.mul(next, sum.Z));
  return isRoot ? root : root.negate();
}

/** The point at x whose y is even, uncompressed. */
function withEvenY(x: Uint8Array): Uint8Array {
  const compressed = concatBytes(EVEN_Y, x);
  // Typed as text or bytes; without an encoding for the answer it is bytes.
  return ECDH.convertKey(compressed, CURVE, undefined, undefined, 'uncompressed') as Buffer;
}

function fromOpenssl(uncompressed: Uint8Array): P256Point {
  return Point.fromBytes(Uint8Array.from(uncompressed));
}
