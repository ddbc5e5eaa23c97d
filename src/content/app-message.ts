/**
 * App messages: our mark inside `nullMessage.padding` (decision 8; layout in proto/app-message.md).
 *
 * Layout: magic 4 (ab 43 53 01) | version 1 (01) | tag length 1 | tag | payload. A filler is random bytes as long, and
 * never begins with the magic.
 */
import { concat, fromUtf8, toUtf8, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';

declare const brand: unique symbol;
/** `[a-z0-9@._/-]+` `/` decimal version without leading zeros, at most 64 bytes; the last slash separates. */
export type Tag = string & { readonly [brand]: 'tag' };

/** The framework's own tag: which tags a device handles, one per line. */
export const ANNOUNCE = 'countersign.announce/1' as Tag;

const MAGIC = Uint8Array.of(0xab, 0x43, 0x53, 0x01);
const VERSION = 1;
const HEADER = MAGIC.length + 2;
/** A version has no leading zeros: tags are compared as text. */
const TAG = /^[a-z0-9@._/-]+\/(0|[1-9][0-9]*)$/;
const TAG_BYTES = 64;
/** For who has written one that is none. */
export const TAG_RULE =
  'A tag is a name of a-z 0-9 @ . _ / - and a slash and a version number, at most 64 bytes: example.org/chess/1';
/** More than this a device cannot have announced in good faith. */
const ANNOUNCED_TAGS = 256;

export interface AppMessage {
  readonly tag: Tag;
  readonly payload: Bytes;
}

export function isTag(text: string): text is Tag {
  return text.length <= TAG_BYTES && TAG.test(text);
}

/** @throws BotError `CONTENT_INVALID` */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  throw new BotError('CONTENT_INVALID', 'this is not an app tag', { next: TAG_RULE });
}

export function encodeAppMessage(tag: Tag, payload: Uint8Array): Bytes {
  const name = fromUtf8(tag);
  return concat(MAGIC, Uint8Array.of(VERSION, name.length), name, payload);
}

/**
 * What a null message's padding holds.
 * @returns `filler` when it is not marked as ours, `unknown` when the mark is of a version or form we do not know
 */
export function decodeAppMessage(padding: Uint8Array): AppMessage | 'filler' | 'unknown' {
  if (!hasMagic(padding)) return 'filler';
  const length = padding[MAGIC.length + 1] ?? 0;
  if (padding[MAGIC.length] !== VERSION || padding.length < HEADER + length) return 'unknown';
  const tag = Buffer.from(padding.subarray(HEADER, HEADER + length)).toString('latin1');
  return isTag(tag) ? { tag, payload: new Uint8Array(padding.subarray(HEADER + length)) } : 'unknown';
}

/** Random padding of `length` bytes (at least 1) that does not look like an app message. */
export function fillerPadding(length: number, random: Random): Bytes {
  const padding = random.bytes(Math.max(1, length));
  if (hasMagic(padding)) padding[0] = 0;
  return padding;
}

function hasMagic(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER && MAGIC.every((byte, i) => bytes[i] === byte);
}

export function encodeAnnouncement(tags: readonly Tag[]): Bytes {
  return fromUtf8([...tags].sort().join('\n'));
}

/** @throws BotError `CONTENT_INVALID` */
export function decodeAnnouncement(payload: Uint8Array): readonly Tag[] {
  const text = toUtf8(payload);
  if (text === '') return [];
  const tags = text.split('\n', ANNOUNCED_TAGS + 1);
  if (tags.length > ANNOUNCED_TAGS) throw new BotError('CONTENT_INVALID', 'a device announces too many tags');
  return tags.map(parseTag);
}

/** Largest content of one device after encryption, on the strictest server (5.2). */
const CONTENT_BYTES = 98_304;
/** Largest frame with a whole send: JSON, all devices, base64 (1.5). */
const FRAME_BYTES = 524_288;
/** The envelope of the JSON and of the frame, and what one device's entry adds to its base64. */
const FRAME_OVERHEAD = 1_024;
const ENTRY_OVERHEAD = 160;
/** A prekey message under sealed sender adds at most so much to the padded content (6.6: 1,871 and 365 were seen). */
const SEALING_OVERHEAD = 2_600;
/** Content and null message around the padding, and the padding of 5.7. */
const WRAPPING = 16 + 80;
/** Most devices that an account can have (2.5). */
const DEVICES = 6;

/** Largest content, not padded, that can be sent to an account with so many devices. */
export function maxContent(devices = DEVICES): number {
  const entry = Math.floor((FRAME_BYTES - FRAME_OVERHEAD) / devices) - ENTRY_OVERHEAD;
  return Math.min(CONTENT_BYTES, Math.floor((entry * 3) / 4)) - SEALING_OVERHEAD - 80;
}

/** Largest payload of an app message with this tag, in bytes: what every server takes for an account with six devices. */
export function maxPayload(tag: Tag): number {
  return maxContent() - (WRAPPING - 80) - HEADER - tag.length;
}

/** @throws BotError `PAYLOAD_TOO_LARGE` with the figure */
export function checkPayload(tag: Tag, payload: Uint8Array): void {
  const limit = maxPayload(tag);
  if (payload.length > limit) {
    throw new BotError(
      'PAYLOAD_TOO_LARGE',
      `the payload has ${String(payload.length)} bytes; at most ${String(limit)} fit into one app message`,
    );
  }
}
