/**
 * Curve: BLS12-381 as the scheme uses it, and the checks that nobody else makes. Curve and hashes are noble's.
 *
 * Signatures and message points are in G1 (48 bytes), public keys and commitments in G2 (96 bytes), both compressed.
 * noble's `fromBytes` refuses what is not in the subgroup and accepts the identity; here the identity is refused too,
 * except where zero is what is asked for (the constant term of a refresh).
 * Spec: draft-irtf-cfrg-bls-signature-05, suite `BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_`.
 */
import { mapHashToField } from '@noble/curves/abstract/modular.js';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { bytesToNumberBE, numberToBytesBE } from '@noble/curves/utils.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { Bytes } from '../../../src/index.ts';

export const G1 = bls12_381.G1.Point;
export const G2 = bls12_381.G2.Point;
export type G1Point = InstanceType<typeof G1>;
export type G2Point = InstanceType<typeof G2>;

/** Field of the scalars. */
export const Fr = bls12_381.fields.Fr;

export const SCALAR_SIZE = 32;
export const SIGNATURE_SIZE = 48;
export const PUBLIC_KEY_SIZE = 96;
/** Random bytes behind one scalar: 128 bits more than the order has, so that none is likelier than another. */
export const SEED_SIZE = 48;

/** A scalar from 1 to r - 1. @param seed 48 random bytes */
export function scalarFromSeed(seed: Uint8Array): bigint {
  return bytesToNumberBE(mapHashToField(seed, Fr.ORDER));
}

/** 32 bytes, big-endian. */
export function encodeScalar(scalar: bigint): Bytes {
  return new Uint8Array(numberToBytesBE(scalar, SCALAR_SIZE));
}

/** @returns undefined unless it is 32 bytes of a number below the order; zero is a scalar too */
export function decodeScalar(bytes: Uint8Array): bigint | undefined {
  if (bytes.length !== SCALAR_SIZE) return undefined;
  const scalar = bytesToNumberBE(bytes);
  return scalar < Fr.ORDER ? scalar : undefined;
}

/** A point of G2 in 96 bytes, in the subgroup. @returns undefined for anything else, and for the identity unless it is allowed */
export function decodeG2(bytes: Uint8Array, { identity = false } = {}): G2Point | undefined {
  if (bytes.length !== PUBLIC_KEY_SIZE) return undefined;
  try {
    const point = G2.fromBytes(bytes);
    return point.is0() && !identity ? undefined : point;
  } catch {
    return undefined;
  }
}

/** A point of G1 in 48 bytes, in the subgroup and not the identity. @returns undefined for anything else */
export function decodeG1(bytes: Uint8Array): G1Point | undefined {
  if (bytes.length !== SIGNATURE_SIZE) return undefined;
  try {
    const point = G1.fromBytes(bytes);
    return point.is0() ? undefined : point;
  } catch {
    return undefined;
  }
}

export function encodePoint(point: G1Point | G2Point): Bytes {
  return new Uint8Array(point.toBytes());
}

/** `scalar` times the generator of G2; zero gives the identity. */
export function commit(scalar: bigint): G2Point {
  return scalar === 0n ? G2.ZERO : G2.BASE.multiply(scalar);
}

/**
 * A challenge: SHA-256 twice over `label` and the parts, each part behind its length (4 bytes, big-endian), 48 bytes of
 * it reduced by the order.
 */
export function challenge(label: string, parts: readonly Uint8Array[]): bigint {
  const first = hashParts(`${label} 1`, parts);
  const second = hashParts(`${label} 2`, parts);
  return scalarFromSeed(Uint8Array.of(...first, ...second.subarray(0, SEED_SIZE - first.length)));
}

/** SHA-256 of a label and parts, each behind its length (4 bytes, big-endian). */
export function hashParts(label: string, parts: readonly Uint8Array[]): Bytes {
  const hash = sha256.create();
  for (const part of [new TextEncoder().encode(label), ...parts]) {
    hash.update(numberToBytesBE(part.length, 4));
    hash.update(part);
  }
  return new Uint8Array(hash.digest());
}
