/**
 * Texts of two programs that have verified each other over a bare transport. The brief leaves them open; a frame of a type
 * of its own carries them, so that one reader parts all frames of a connection:
 *
 *   0  4 "SSVP" | 4  1 version 01 | 5  1 type 10 | 6  2 suite | 8  16 run id | 24  4 body length | 28 body
 *
 *   plaintext  kind 1 (01 text, 02 end: nothing more will come) | text in UTF-8
 *   body       profile 2: a serialized SignalMessage of the session, with the plaintext in it
 *              profile 1: the plaintext sealed as in 3.5
 *
 * A seal's key is good for one message (V-10), and the issue gives one key of 64 bytes for each direction: "page A" | vh
 * and "page B" | vh under PRK. So it is the key from which those of single texts come: text n of a side, counted from 0, is
 * sealed under HKDF-Expand(page key, "text" | n as 8 bytes, 64), with the first 24 bytes of its frame | n as 8 bytes as
 * head. n is not sent: the transport keeps the order, and a text that is left out, repeated or moved does not open.
 * Spec: issue 5, point 3; verification brief, sections 3.2 and 3.5.
 */
import { expand } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import type { Bytes } from '../../../src/index.ts';
import type { PageKeys } from '../keys.ts';
import type { Role } from '../math/spake2.ts';
import { HEAD_BYTES, type Suite } from '../messages/frame.ts';
import { concat, lv4, u16, u8 } from '../messages/wire.ts';
import { Seal, type IsEqual } from '../seal.ts';

/** Bytes of a text in UTF-8. */
export const MAX_TEXT_BYTES = 65_536;
/** A body is a little longer: padding, tag, and the message of a ratchet with its post-quantum part. */
export const MAX_TEXT_BODY_BYTES = MAX_TEXT_BYTES + 4096;

export type Said = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'end' };

/** Seals and opens what two sides say, each message in the order in which it was given. */
export interface TextCipher {
  /** @param head the first 24 bytes of the frame that will carry it */
  seal(head: Bytes, plaintext: Bytes): Promise<Bytes>;
  /** @returns undefined for what the peer has not sealed as its next message */
  open(head: Bytes, body: Bytes): Promise<Bytes | undefined>;
}

export interface Bearing {
  readonly suite: Suite;
  /** 16 bytes. */
  readonly runId: Bytes;
}

const START = Uint8Array.of(0x53, 0x53, 0x56, 0x50, 1, 0x10);
const TYPE_AT = 5;
const BODY_AT = 28;
const KINDS = { text: 1, end: 2 } as const;

/** Whether it carries a text; nothing else of it is looked at. */
export function isTextFrame(frame: Uint8Array): boolean {
  return frame[TYPE_AT] === START[TYPE_AT];
}

export async function sealText(cipher: TextCipher, bearing: Bearing, said: Said): Promise<Bytes> {
  const head = headOf(bearing);
  const text = said.kind === 'text' ? new TextEncoder().encode(said.text) : new Uint8Array(0);
  return concat(head, lv4(await cipher.seal(head, concat(u8(KINDS[said.kind]), text))));
}

/** @returns undefined unless the peer has sealed it for this run as its next */
export async function openText(
  cipher: TextCipher,
  bearing: Bearing,
  frame: Bytes,
): Promise<Said | undefined> {
  const head = headOf(bearing);
  if (head.some((byte, i) => frame[i] !== byte)) return undefined;
  const plaintext = await cipher.open(head, frame.slice(BODY_AT));
  if (plaintext === undefined) return undefined;
  if (plaintext[0] === KINDS.end) return plaintext.length === 1 ? { kind: 'end' } : undefined;
  return plaintext[0] === KINDS.text ? readText(plaintext.subarray(1)) : undefined;
}

/** Texts of profile 1, under the keys of a page. */
export class PageTexts implements TextCipher {
  readonly #own: Counted;
  readonly #peers: Counted;
  readonly #isEqual: IsEqual;

  constructor({ fromA, fromB }: PageKeys, role: Role, isEqual: IsEqual) {
    const [own, peers] = role === 'A' ? [fromA, fromB] : [fromB, fromA];
    this.#own = new Counted(own);
    this.#peers = new Counted(peers);
    this.#isEqual = isEqual;
  }

  seal(head: Bytes, plaintext: Bytes): Promise<Bytes> {
    const { keys, number } = this.#own.next();
    return new Seal(keys, this.#isEqual).seal(concat(head, number), plaintext);
  }

  open(head: Bytes, body: Bytes): Promise<Bytes | undefined> {
    const { keys, number } = this.#peers.next();
    return new Seal(keys, this.#isEqual).open(concat(head, number), body);
  }
}

/** The keys of one direction, in order, each given once. */
class Counted {
  readonly #key: Bytes;
  #next = 0n;

  constructor(key: Bytes) {
    this.#key = key;
  }

  next(): { keys: Bytes; number: Bytes } {
    const number = new Uint8Array(8);
    new DataView(number.buffer).setBigUint64(0, this.#next);
    this.#next += 1n;
    return { keys: expand(sha256, this.#key, concat(utf8ToBytes('text'), number), 64), number };
  }
}

function headOf({ suite, runId }: Bearing): Bytes {
  const head = concat(START, u16(suite), runId);
  if (head.length !== HEAD_BYTES) throw new RangeError('a run id is 16 bytes');
  return head;
}

function readText(bytes: Bytes): Said | undefined {
  try {
    return { kind: 'text', text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return undefined;
  }
}
