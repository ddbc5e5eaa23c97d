/**
 * Feldman: one dealer's part of a joint key, verifiable secret sharing over G2.
 *
 * The dealer i draws f_i(X) = a_0 + a_1 X + ... + a_t X^t and publishes A_k = a_k * G2 with a proof that a_0 is known
 * (Schnorr). Party j gets the share f_i(j) and checks f_i(j) * G2 = sum of A_k * j^k. The joint secret is the sum of all
 * a_0 and is never put together; the share of party j is the sum of what all dealers gave it.
 * In a refresh a_0 is zero and A_0 the identity, so that the joint secret stays as it was.
 * Source: P. Feldman, A Practical Scheme for Non-interactive Verifiable Secret Sharing, 1987; the proof of the constant
 * term as in C. Komlo and I. Goldberg, FROST, 2020, section 5.
 */
import type { Bytes } from '../../../src/index.ts';
import {
  challenge, commit, decodeG2, decodeScalar, encodePoint, encodeScalar, Fr, G2, scalarFromSeed, SEED_SIZE, type G2Point,
} from './curve.ts'; // prettier-ignore

/** Draws random bytes. */
export interface Random {
  bytes(length: number): Bytes;
}

/** Coefficients, the constant term first. */
export type Polynomial = readonly bigint[];

/** 96 bytes R, then 32 bytes s. */
export const PROOF_SIZE = 96 + 32;

/** @param degree t, of which t + 1 coefficients are drawn @param constant given for a refresh: zero */
export function drawPolynomial(degree: number, random: Random, constant?: 0n): Polynomial {
  const drawn = Array.from({ length: degree + 1 }, () => scalarFromSeed(random.bytes(SEED_SIZE)));
  return constant === undefined ? drawn : [constant, ...drawn.slice(1)];
}

export function commitments(polynomial: Polynomial): G2Point[] {
  return polynomial.map(commit);
}

/** f(index). @param index of a party, from 1 */
export function shareFor(polynomial: Polynomial, index: number): bigint {
  const x = BigInt(index);
  return polynomial.reduceRight((sum, coefficient) => Fr.add(Fr.mul(sum, x), coefficient), 0n);
}

/** f(index) * G2 from the commitments alone. */
export function expectedShare(published: readonly G2Point[], index: number): G2Point {
  const x = BigInt(index);
  // Horner: public values only, so the time it takes may depend on them.
  return published.reduceRight((sum, point) => sum.multiplyUnsafe(x).add(point), G2.ZERO);
}

/** Whether a share is the one that its dealer's commitments promise to this party. */
export function isShareOf(published: readonly G2Point[], index: number, share: bigint): boolean {
  return commit(share).equals(expectedShare(published, index));
}

/**
 * Proves that the constant term is known, bound to `context` (ceremony and dealer).
 * Layout: R 96 | s 32, with R = k * G2, c = challenge(context, A_0, R), s = k + c * a_0.
 */
export function proveConstant(constant: bigint, context: Bytes, random: Random): Bytes {
  const k = scalarFromSeed(random.bytes(SEED_SIZE));
  const R = encodePoint(commit(k));
  const c = challengeOf(context, encodePoint(commit(constant)), R);
  const s = Fr.add(k, Fr.mul(c, constant));
  return new Uint8Array([...R, ...encodeScalar(s)]);
}

/** Whether s * G2 = R + c * A_0. */
export function isProofOf(published: G2Point, context: Bytes, proof: Bytes): boolean {
  if (proof.length !== PROOF_SIZE) return false;
  const R = decodeG2(proof.subarray(0, 96));
  const s = decodeScalar(proof.subarray(96));
  if (R === undefined || s === undefined) return false;
  const c = challengeOf(context, encodePoint(published), encodePoint(R));
  return commit(s).equals(R.add(published.multiplyUnsafe(c)));
}

/** Sum of what all dealers committed to: its constant term is the joint public key. */
export function sumCommitments(all: readonly (readonly G2Point[])[]): G2Point[] {
  const [first = [], ...rest] = all;
  return first.map((point, k) => rest.reduce((sum, other) => sum.add(other[k] ?? G2.ZERO), point));
}

export function sumShares(shares: readonly bigint[]): bigint {
  return shares.reduce((sum, share) => Fr.add(sum, share), 0n);
}

function challengeOf(context: Bytes, A0: Bytes, R: Bytes): bigint {
  return challenge('countersign bls proof of constant term v1', [context, A0, R]);
}
