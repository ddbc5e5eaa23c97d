/**
 * Key schedule: what is bound, and what is made of the key that SPAKE2 gives.
 *
 *   AAD        "spake2-signal v1" | SHA-256(OFFER) | SHA-256(REPLY up to, not including, lv cB) | lv channel
 *   PRK        HKDF-Extract(salt = SHA-256("spake2-signal v1 keys" | AAD), Ke)
 *   payload A  HKDF-Expand(PRK, "payload A" | SHA-256(OFFER | REPLY), 64)          = cipher key | MAC key
 *   payload B  HKDF-Expand(PRK, "payload B" | SHA-256(OFFER | REPLY | PROOF), 64)  = cipher key | MAC key
 *   vh         HKDF-Expand(PRK, "verify" | SHA-256(OFFER | REPLY | PROOF | ACCEPT), 32)
 *   done MAC   HMAC-SHA-256(HKDF-Expand(PRK, "done", 32), vh)
 *
 * In suite 2 the AAD is of the two HELLOs, low first, HELLO low | CONFIRM low stand for OFFER, and those of high for
 * REPLY. Frames are hashed as received. The hashes are noble's, in a bot and in a page alike.
 * Spec: verification brief, sections 3.4, 3.7 and, for texts of a page, issue 5 point 3.
 */
import { expand, extract } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import type { Bytes } from '../../src/index.ts';
import type { Role } from './math/spake2.ts';
import { withoutConfirmation } from './messages/frame.ts';
import { concat, lv } from './messages/wire.ts';

/** The frames of a run that its later keys depend on, as they were on the wire. */
export interface Transcript {
  readonly offer: Bytes;
  readonly reply: Bytes;
}

/** Keys for the texts of two programs of which one has no ratchet; 64 bytes each, `cipher key | MAC key`. */
export interface PageKeys {
  readonly fromA: Bytes;
  readonly fromB: Bytes;
}

const VERSION = utf8ToBytes('spake2-signal v1');

export function sha256Of(...parts: readonly Uint8Array[]): Bytes {
  return sha256(concat(...parts));
}

/** @param channel what both programs were told to bind; at most 8,000 bytes, so that the AAD stays within RFC 9382 */
export function associatedData({ offer, reply }: Transcript, channel: Uint8Array): Bytes {
  return concat(VERSION, sha256(offer), sha256(withoutConfirmation(reply)), lv(channel));
}

/** Suite 2: the HELLO of whoever sent the smaller share, then the other. */
export function symmetricAssociatedData(low: Bytes, high: Bytes, channel: Uint8Array): Bytes {
  return concat(VERSION, sha256(low), sha256(high), lv(channel));
}

/** PRK, 32 bytes. @param ke 16 bytes in suite 1, the 32-byte key of SPAKE2 in suite 2 */
export function extractKey(ke: Uint8Array, aad: Uint8Array): Bytes {
  const salt = sha256Of(utf8ToBytes('spake2-signal v1 keys'), aad);
  return extract(sha256, ke, salt);
}

/** Suite 2: the key that a side confirms with, 32 bytes. */
export function symmetricConfirmationKey(prk: Bytes, side: 'low' | 'high'): Bytes {
  return derive(prk, `confirm ${side}`, [], 32);
}

/** `HMAC-SHA-256`, 32 bytes. Compare it in constant time only. */
export function mac(key: Uint8Array, message: Uint8Array): Bytes {
  return hmac(sha256, key, message);
}

/** 64 bytes: cipher key, then MAC key. @param proof for B's payload; absent for A's */
export function payloadKeys(prk: Bytes, { offer, reply }: Transcript, proof?: Bytes): Bytes {
  const from: Role = proof === undefined ? 'A' : 'B';
  return derive(prk, `payload ${from}`, [sha256Of(offer, reply, ...(proof ? [proof] : []))], 64);
}

/** vh, the verification hash: 32 bytes, a one-way output and no secret. @param frames the last ones, PROOF and ACCEPT */
export function verificationHash(
  prk: Bytes,
  { offer, reply }: Transcript,
  ...frames: readonly Bytes[]
): Bytes {
  return derive(prk, 'verify', [sha256Of(offer, reply, ...frames)], 32);
}

/** 32 bytes: DONE itself, or what is sealed in it. */
export function doneMac(prk: Bytes, vh: Bytes): Bytes {
  return mac(derive(prk, 'done', [], 32), vh);
}

export function pageKeys(prk: Bytes, vh: Bytes): PageKeys {
  return { fromA: derive(prk, 'page A', [vh], 64), fromB: derive(prk, 'page B', [vh], 64) };
}

/** What B seals as the first message of a new session, 32 bytes (section 7). */
export function initialPlaintext({ offer, reply }: Transcript, proof: Bytes): Bytes {
  return sha256Of(utf8ToBytes('initial'), offer, reply, proof);
}

function derive(prk: Bytes, label: string, rest: readonly Uint8Array[], length: number): Bytes {
  return expand(sha256, prk, concat(utf8ToBytes(label), ...rest), length);
}
