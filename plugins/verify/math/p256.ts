/**
 * P-256 for suite 1: the fixed points, the check of what a peer sends, and the group in which noble multiplies.
 *
 * Shares are SEC1 uncompressed: 04 | x 32 | y 32, 65 bytes. The cofactor is 1.
 * Spec: verification brief, section 1, V-4.
 */
import { p256 } from '@noble/curves/nist.js';
import type { Bytes } from '../../../src/index.ts';
import { nobleGroup } from './noble-group.ts';
import type { Blind, Group } from './spake2.ts';

export const { Point } = p256;
export type P256Point = InstanceType<typeof Point>;

/** RFC 9382, section 4; a test derives them from their seeds. SEC1 compressed. */
export const FIXED_POINTS: Readonly<Record<Blind, string>> = {
  M: '02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f',
  N: '03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49',
};

export const SHARE_BYTES = 65;
const UNCOMPRESSED = 0x04;
const WINDOW_BITS = 6;

export interface NobleOptions {
  /** Makes tables for M and N at the first use: 0.1 s each, once, and then less than half the time for each share. */
  readonly tables?: boolean;
}

/** The group in which noble multiplies; for pages, and for tests to hold OpenSSL against. */
export function nobleP256({ tables = false }: NobleOptions = {}): Group {
  const fixed = { M: Point.fromHex(FIXED_POINTS.M), N: Point.fromHex(FIXED_POINTS.N) };
  if (tables) {
    fixed.M.precompute(WINDOW_BITS);
    fixed.N.precompute(WINDOW_BITS);
  }
  return nobleGroup({
    order: Point.Fn.ORDER,
    base: Point.BASE,
    fixed,
    encode: encodePoint,
    decode: decodePoint,
  });
}

/**
 * Strict: 65 bytes, 04 first, both coordinates below the field prime, on the curve (V-4).
 * @returns undefined otherwise
 */
export function decodePoint(share: Uint8Array): P256Point | undefined {
  if (share.length !== SHARE_BYTES || share[0] !== UNCOMPRESSED) return undefined;
  try {
    return Point.fromBytes(share);
  } catch {
    return undefined;
  }
}

export function encodePoint(point: P256Point): Bytes {
  return point.toBytes(false);
}
