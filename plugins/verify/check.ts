/**
 * Check digits: six digits that both operators see after success, and may read out to each other (V-25).
 *
 *   commitment  SHA-256("spake2-signal v1 commit" | nonce), in OFFER; PROOF opens it
 *   digits      first 8 bytes of SHA-256("spake2-signal v1 check" | nonce | OFFER | REPLY), big-endian, mod 10^6
 *
 * They catch an attacker who knew or guessed the code: towards A it has to fix REPLY before it knows the nonce, towards B
 * the OFFER before REPLY. Suite 2 has none.
 */
import { utf8ToBytes } from '@noble/hashes/utils.js';
import type { Bytes } from '../../src/index.ts';
import { sha256Of, type Transcript } from './keys.ts';

/** Length of A's nonce. */
export const NONCE_BYTES = 32;

const DIGITS = 6;

export function commitTo(nonce: Bytes): Bytes {
  return sha256Of(utf8ToBytes('spake2-signal v1 commit'), nonce);
}

/** Six digits, zeros in front. */
export function checkDigits(nonce: Bytes, { offer, reply }: Transcript): string {
  const hash = sha256Of(utf8ToBytes('spake2-signal v1 check'), nonce, offer, reply);
  const number = new DataView(hash.buffer, hash.byteOffset, 8).getBigUint64(0) % BigInt(10 ** DIGITS);
  return number.toString().padStart(DIGITS, '0');
}
