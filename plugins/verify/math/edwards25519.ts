/**
 * edwards25519: the check of what a peer sends, for either suite, and the group of RFC 9382.
 *
 * No frame names the RFC's suite on this curve; it is here because its vectors are the only second reading of our
 * transcript and key schedule. Points are 32 bytes as in RFC 8032, the cofactor is 8.
 * Spec: verification brief, sections 1 and 2, V-5.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import type { Bytes } from '../../../src/index.ts';
import { nobleGroup } from './noble-group.ts';
import type { Blind, Group } from './spake2.ts';

export const { Point } = ed25519;
export type Ed25519Point = InstanceType<typeof Point>;

export const POINT_BYTES = 32;

/** RFC 9382, section 4; a test derives them from their seeds. */
export const RFC_POINTS: Readonly<Record<Blind, string>> = {
  M: 'd048032c6ea0b6d697ddc2e86bda85a33adac920f1bf18e1b0c6d166a5cecdaf',
  N: 'd3bfb518f44f3430f29d0c92af503865a1ed3281dc69b35dd868ba85f886c4ab',
};

/** RFC 9382 on edwards25519: K is multiplied by h = 8. */
export function rfcEdwards25519(): Group {
  return nobleGroup({
    order: Point.Fn.ORDER,
    base: Point.BASE,
    fixed: { M: Point.fromHex(RFC_POINTS.M), N: Point.fromHex(RFC_POINTS.N) },
    encode: encodePoint,
    decode: decodePoint,
    clear: (point) => point.clearCofactor(),
  });
}

/**
 * Strict: 32 bytes, canonical, not the identity, in the prime-order subgroup (V-5). Peer libraries skip most of it (V-7).
 * @returns undefined otherwise
 */
export function decodePoint(bytes: Uint8Array): Ed25519Point | undefined {
  if (bytes.length !== POINT_BYTES) return undefined;
  try {
    const point = Point.fromBytes(bytes); // strict RFC 8032: no y at or above the field prime, no negative zero
    return !point.is0() && point.isTorsionFree() ? point : undefined;
  } catch {
    return undefined;
  }
}

export function encodePoint(point: Ed25519Point): Bytes {
  return Uint8Array.from(point.toBytes());
}
