/**
 * Signing: partial signatures in G1, their check, and how t + 1 of them make the signature of the joint key.
 *
 *   message point   H(m), hash to G1 with the suite's tag
 *   partial of j    x_j * H(m), checked against the public share X_j = x_j * G2 by pairing
 *   signature       sum of lambda_j * partial_j, with Lagrange's lambda_j at 0 over the signers' indexes
 *
 * Any BLS library verifies the result under the same suite (minimal signature size).
 */
import { bls12_381 } from '@noble/curves/bls12-381.js';
import type { Bytes } from '../../../src/index.ts';
import { decodeG1, decodeG2, encodePoint, Fr, G1, type G1Point, type G2Point } from './curve.ts';

const scheme = bls12_381.shortSignatures;

/** What one signer has given. */
export interface Partial {
  /** From 1. */
  readonly index: number;
  readonly signature: G1Point;
}

/** The point of G1 that stands for a message, under the suite's own tag. */
export function messagePoint(message: Uint8Array): G1Point {
  return G1.fromBytes(scheme.hash(message).toBytes());
}

/** @param share from 1 to r - 1 */
export function signPartially(point: G1Point, share: bigint): G1Point {
  return point.multiply(share);
}

/** Whether a partial signature was made with the share behind this public share. */
export function isPartialOf(publicShare: G2Point, point: G1Point, partial: G1Point): boolean {
  return scheme.verify(partial, point, publicShare);
}

/** Puts partial signatures together. @param partials of t + 1 different indexes, each checked */
export function combine(partials: readonly Partial[]): G1Point {
  const indexes = partials.map(({ index }) => BigInt(index));
  return partials.reduce(
    (sum, { index, signature }) => sum.add(signature.multiplyUnsafe(lagrange(BigInt(index), indexes))),
    G1.ZERO,
  );
}

/**
 * Verifies a signature of the joint key.
 * @param publicKey 96 bytes @param signature 48 bytes
 * @returns false as well for points that are not in their subgroup, or are the identity
 */
export function verify(publicKey: Bytes, signature: Bytes, message: Uint8Array): boolean {
  const key = decodeG2(publicKey);
  const point = decodeG1(signature);
  return key !== undefined && point !== undefined && scheme.verify(point, messagePoint(message), key);
}

export function encodeSignature(signature: G1Point): Bytes {
  return encodePoint(signature);
}

/** The product of x_m / (x_m - x_j) over the other signers m. */
function lagrange(own: bigint, all: readonly bigint[]): bigint {
  let [numerator, denominator] = [1n, 1n];
  for (const other of all) {
    if (other === own) continue;
    numerator = Fr.mul(numerator, other);
    denominator = Fr.mul(denominator, Fr.sub(other, own));
  }
  return Fr.div(numerator, denominator);
}
