/**
 * SPAKE2 of RFC 9382 with SHA-256, HKDF and HMAC: shares, alleged keys, confirmation.
 *
 * Pure, and free of Node: the group that multiplies is handed in, so a page takes `p256` on noble and a bot the one in
 * which OpenSSL multiplies; both give the same bytes. Scalars travel as 32 bytes, big-endian.
 * Spec: verification brief, sections 1 and 2; RFC 9382, sections 3 and 4.
 */
import { bytesToNumberBE, concatBytes, numberToBytesBE } from '@noble/curves/utils.js';
import { expand, extract } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import type { Bytes } from '../../../src/index.ts';

/** A created the code, B typed it. */
export type Role = 'A' | 'B';

/** The fixed points: A blinds its share with M, B with N. */
export type Blind = 'M' | 'N';

/** Random bytes, as the platform gives them. */
export interface Random {
  bytes(length: number): Bytes;
}

/** What the protocol asks of a group of prime order with generator P. Both throw RangeError unless 1 <= w, x <= order - 2. */
export interface Group {
  readonly order: bigint;
  /** w * blind + x * P, encoded. */
  blinded(blind: Blind, w: bigint, x: bigint): Bytes;
  /**
   * K = h * x * (share - w * blind), encoded.
   * @returns undefined when the share is not the one encoding of a group element (V-4, V-5) or K is the identity (V-6)
   */
  shared(blind: Blind, w: bigint, x: bigint, share: Uint8Array): Bytes | undefined;
}

export interface Share {
  /** x or y. Storable; never used for a second share, which would allow a dictionary attack. */
  readonly secret: Bytes;
  /** pA or pB: 65 bytes on P-256, 32 on edwards25519. */
  readonly share: Bytes;
}

export interface Exchange {
  /** From `codeToW`, the same on both sides. */
  readonly w: Uint8Array;
  /** Own share, from `makeShare`. */
  readonly own: Share;
  readonly peerShare: Uint8Array;
  /** Identities of A and of B; empty where absent. */
  readonly idA: Uint8Array;
  readonly idB: Uint8Array;
}

/** Keys that are believed only once the peer has confirmed them. */
export interface Alleged {
  /** 16 bytes: the only ones that leave the protocol. */
  readonly ke: Bytes;
  /** 16 bytes: for confirmation alone. */
  readonly ka: Bytes;
  /** TT: len(A)|A|len(B)|B|len(pA)|pA|len(pB)|pB|len(K)|K|len(w)|w, each len 8 bytes little-endian. Holds w and K: a secret. */
  readonly transcript: Bytes;
}

/** `bad-share`: not a group element, or K is the identity. `reflection`: the peer's share is our own. Both end the run. */
export type Refusal = 'bad-share' | 'reflection';

export interface ConfirmationKeys {
  /** 16 bytes each: A confirms with `kcA`, B with `kcB`. */
  readonly kcA: Bytes;
  readonly kcB: Bytes;
}

const SCALAR_BYTES = 32;
const MAX_AAD_BYTES = 8176;
const CONFIRMATION = utf8ToBytes('ConfirmationKeys');

/**
 * Draws a scalar and makes the share of it.
 * @throws RangeError when w is not in [1, order - 2]
 */
export function makeShare(group: Group, role: Role, w: Uint8Array, random: Random): Share {
  const secret = drawScalar(group.order, random);
  return { secret, share: shareOf(group, role, w, secret) };
}

/**
 * The share of a scalar that is there already.
 * @throws RangeError when w or the secret is not in [1, order - 2]
 */
export function shareOf(group: Group, role: Role, w: Uint8Array, secret: Uint8Array): Bytes {
  return group.blinded(blindOf(role), scalar(w), scalar(secret));
}

/**
 * Turns the peer's share into alleged keys (V-4 to V-6).
 * @throws RangeError when w or the own secret is not in [1, order - 2]
 */
export function finish(group: Group, role: Role, exchange: Exchange): Alleged | Refusal {
  const { w, own, peerShare, idA, idB } = exchange;
  if (isSame(own.share, peerShare)) return 'reflection';
  const k = group.shared(blindOf(role === 'A' ? 'B' : 'A'), scalar(w), scalar(own.secret), peerShare);
  if (k === undefined) return 'bad-share';
  const [pA, pB] = role === 'A' ? [own.share, peerShare] : [peerShare, own.share];
  const transcript = lengthPrefixed(idA, idB, pA, pB, k, w);
  const hash = sha256(transcript);
  return { ke: hash.slice(0, 16), ka: hash.slice(16), transcript };
}

/**
 * KcA | KcB = HKDF-SHA-256(Ka, no salt, "ConfirmationKeys" | AAD, 32).
 * @param aad at most 8176 bytes
 * @throws RangeError when it is longer
 */
export function confirmationKeys(ka: Uint8Array, aad: Uint8Array): ConfirmationKeys {
  if (aad.length > MAX_AAD_BYTES) throw new RangeError('associated data is at most 8176 bytes');
  const keys = expand(sha256, extract(sha256, ka), concatBytes(CONFIRMATION, aad), 32);
  return { kcA: keys.slice(0, 16), kcB: keys.slice(16) };
}

/** cA or cB: HMAC-SHA-256 over the transcript, 32 bytes. Compare it in constant time only. */
export function confirm(key: Uint8Array, transcript: Uint8Array): Bytes {
  return hmac(sha256, key, transcript);
}

/**
 * Uniform in [1, order - 2] by rejection of whole draws of 32 bytes, from which the bits above the order are cut.
 * The RFC says [0, order): the three left out change nothing measurable, and OpenSSL needs them out (`p256-openssl.ts`).
 * @returns 32 bytes, big-endian
 */
export function drawScalar(order: bigint, random: Random): Bytes {
  const surplusBits = 8 * SCALAR_BYTES - order.toString(2).length;
  for (;;) {
    const bytes = random.bytes(SCALAR_BYTES);
    bytes[0] = (bytes[0] ?? 0) & (0xff >>> surplusBits);
    const value = bytesToNumberBE(bytes);
    if (value >= 1n && value <= order - 2n) return bytes;
  }
}

/** @throws RangeError unless both are in [1, order - 2] */
export function assertScalars(order: bigint, w: bigint, x: bigint): void {
  const isIn = (value: bigint): boolean => value >= 1n && value <= order - 2n;
  if (!isIn(w) || !isIn(x)) throw new RangeError('a scalar is out of range');
}

/** A number as 32 bytes, big-endian. @throws when it does not fit */
export function toScalarBytes(value: bigint): Bytes {
  return numberToBytesBE(value, SCALAR_BYTES);
}

function scalar(bytes: Uint8Array): bigint {
  if (bytes.length !== SCALAR_BYTES) throw new RangeError('a scalar is 32 bytes');
  return bytesToNumberBE(bytes);
}

function blindOf(role: Role): Blind {
  return role === 'A' ? 'M' : 'N';
}

/** For shares, which are public: it takes as long as they agree. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function lengthPrefixed(...parts: readonly Uint8Array[]): Bytes {
  return concatBytes(
    ...parts.flatMap((part) => {
      const length = new Uint8Array(8);
      new DataView(length.buffer).setUint32(0, part.length, true);
      return [length, part];
    }),
  );
}
