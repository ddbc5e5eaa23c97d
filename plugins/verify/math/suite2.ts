/**
 * Suite 2: SPAKE2 on Ed25519 as python-spake2, the Rust crate `spake2` and magic-wormhole speak it; not RFC 9382.
 *
 * A share is a side byte (41 A, 42 B, 53 symmetric) and a point of 32 bytes, 33 in all. The symmetric mode has one blinding
 * point S for both sides, so a reflection must be caught by hand. The scalar comes from the password without a
 * memory-hard function, and the key is not confirmed here: 3.7 says how the plugin does that.
 * Spec: verification brief, sections 2 and 3.7, V-5, V-6, V-8.
 */
import { bytesToNumberBE, concatBytes } from '@noble/curves/utils.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import type { Bytes } from '../../../src/index.ts';
import { decodePoint, encodePoint, Point, type Ed25519Point } from './edwards25519.ts';
import {
  assertScalars,
  drawScalar,
  isSame,
  toScalarBytes,
  type Random,
  type Refusal,
  type Role,
  type Share,
} from './spake2.ts';

/** A and B where roles are settled, else S on both sides. */
export type Side = Role | 'S';

/** python-spake2's constants, `arbitraryElement` of the seeds "M", "N", "symmetric"; a test derives them. */
export const SUITE2_POINTS: Readonly<Record<'M' | 'N' | 'S', string>> = {
  M: '15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312',
  N: 'f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3',
  S: '6f00dae87c1be1a73b5922ef431cd8f57879569c222d22b1cd71e8546ab8e6f1',
};

/** Side byte, the point that blinds the own share, and the peer's side. */
const SIDES = {
  A: { byte: 0x41, blind: Point.fromHex(SUITE2_POINTS.M), peer: 'B' },
  B: { byte: 0x42, blind: Point.fromHex(SUITE2_POINTS.N), peer: 'A' },
  S: { byte: 0x53, blind: Point.fromHex(SUITE2_POINTS.S), peer: 'S' },
} as const satisfies Record<Side, { byte: number; blind: Ed25519Point; peer: Side }>;

const ORDER = Point.Fn.ORDER;
const PASSWORD_INFO = utf8ToBytes('SPAKE2 pw');

export interface SymmetricExchange {
  /** Raw, as both sides know it. */
  readonly password: Uint8Array;
  /** Own share, from `startSuite2`. */
  readonly own: Share;
  readonly peerShare: Uint8Array;
  /** The identity of the two together; empty where there is none. */
  readonly id: Uint8Array;
}

export interface RoleExchange extends Omit<SymmetricExchange, 'id'> {
  readonly idA: Uint8Array;
  readonly idB: Uint8Array;
}

/** What goes into the key besides the identities; shares without their side byte. */
export interface Shared {
  readonly password: Uint8Array;
  readonly shares: readonly [Uint8Array, Uint8Array];
  readonly k: Uint8Array;
}

/** Draws a scalar and makes the share of it, 33 bytes. The same secret is never used for a second share. */
export function startSuite2(side: Side, password: Uint8Array, random: Random): Share {
  const secret = drawScalar(ORDER, random);
  return { secret, share: suite2ShareOf(side, password, secret) };
}

/**
 * The share of a scalar that is there already.
 * @throws RangeError when the secret is not in [1, order - 2]
 */
export function suite2ShareOf(side: Side, password: Uint8Array, secret: Uint8Array): Bytes {
  const { byte, blind } = SIDES[side];
  const [w, x] = scalars(password, secret);
  const point = blind.multiply(w).add(Point.BASE.multiply(x));
  return concatBytes(new Uint8Array([byte]), encodePoint(point));
}

/**
 * The symmetric mode.
 * @returns an alleged key of 32 bytes; 3.7 puts it where suite 1 has Ke
 */
export function finishSymmetric(exchange: SymmetricExchange): Bytes | Refusal {
  const { password, own, peerShare, id } = exchange;
  const k = sharedPoint('S', exchange);
  if (typeof k === 'string') return k;
  return symmetricKey(id, { password, shares: [own.share.subarray(1), peerShare.subarray(1)], k });
}

/** The mode with roles. @returns an alleged key of 32 bytes */
export function finishRole(role: Role, exchange: RoleExchange): Bytes | Refusal {
  const { password, own, peerShare, idA, idB } = exchange;
  const k = sharedPoint(role, exchange);
  if (typeof k === 'string') return k;
  const [x, y] = role === 'A' ? [own.share, peerShare] : [peerShare, own.share];
  return roleKey(idA, idB, { password, shares: [x.subarray(1), y.subarray(1)], k });
}

/** SHA-256(SHA-256(password) | SHA-256(id) | smaller share | larger share | K); the shares come in any order. */
export function symmetricKey(id: Uint8Array, { password, shares: [one, other], k }: Shared): Bytes {
  const sorted = bytesToNumberBE(one) < bytesToNumberBE(other) ? [one, other] : [other, one];
  return sha256(concatBytes(sha256(password), sha256(id), ...sorted, k));
}

/** SHA-256(SHA-256(password) | SHA-256(idA) | SHA-256(idB) | A's share | B's share | K). */
export function roleKey(idA: Uint8Array, idB: Uint8Array, { password, shares, k }: Shared): Bytes {
  return sha256(concatBytes(sha256(password), sha256(idA), sha256(idB), ...shares, k));
}

/** HKDF-SHA-256(password, empty salt, "SPAKE2 pw", 48 bytes), big-endian, mod the order. @returns 32 bytes, big-endian */
export function passwordToScalar(password: Uint8Array): Bytes {
  const okm = hkdf(sha256, password, undefined, PASSWORD_INFO, 48);
  return toScalarBytes(bytesToNumberBE(okm) % ORDER);
}

/** K = x * (peer - w * blind), encoded; not multiplied by the cofactor, as its peers do not. */
function sharedPoint(
  side: Side,
  { password, own, peerShare }: Pick<SymmetricExchange, 'password' | 'own' | 'peerShare'>,
): Bytes | Refusal {
  if (isSame(own.share, peerShare)) return 'reflection';
  const { byte, blind } = SIDES[SIDES[side].peer];
  if (peerShare[0] !== byte) return 'bad-share';
  const peer = decodePoint(peerShare.subarray(1));
  if (peer === undefined) return 'bad-share';
  const [w, x] = scalars(password, own.secret);
  const unblinded = peer.subtract(blind.multiply(w));
  return unblinded.is0() ? 'bad-share' : encodePoint(unblinded.multiply(x));
}

function scalars(password: Uint8Array, secret: Uint8Array): readonly [w: bigint, x: bigint] {
  const w = bytesToNumberBE(passwordToScalar(password));
  const x = bytesToNumberBE(secret);
  assertScalars(ORDER, w, x);
  return [w, x];
}
