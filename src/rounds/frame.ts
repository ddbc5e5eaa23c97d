/**
 * Frames: what the parties of a ceremony send each other, as the payload of the app tag countersign.rounds/1.
 *
 * Layout: version 1 (01) | kind 1 | topic 32 | rest
 *   hello    01: nonce 32 | echo 32, the nonce last seen of the recipient, or zero | 1: answer this, else 0 | proposal lv4,
 *                empty where the recipient is known to have it
 *   roster   02: count 1 | count times (index 1 | nonce 32)
 *   message  03: id 32 | round 1 | sender 1 | recipient 1, 0 = all | body lv | signature 64
 *   confirm  04: id 32 | round 1 | count 1 | count times (index 1 | hash 32)
 *   ask      05: id 32 | round 1
 *   abort    06: id 32; before there is one the sender's nonce where it ends it for all, zero where it only leaves, and
 *                the recipient's where it will not take part | reason lv, at most 200 bytes | evidence: count 1, of each the rest of a `message` as lv
 */
import { concat, copy, fromHex, fromUtf8, toHex, toUtf8, type Bytes } from '../bytes.ts';
import { ID_BYTES, NONCE_BYTES, type Present } from './proposal.ts';
import type { Shown } from './protocol.ts';
import { invalid, lv, lv4, Reader, text, u8 } from './wire.ts';

const VERSION = 1;
const KINDS = { hello: 1, roster: 2, message: 3, confirm: 4, ask: 5, abort: 6 } as const;
const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;
/** Place of a message's recipient: behind version, kind, topic, id, round and sender. */
const RECIPIENT_AT = 1 + 1 + ID_BYTES + ID_BYTES + 1 + 1;
/** Two messages prove that their sender told two tales. */
const MAX_EVIDENCE = 2;
/** Longest reason of an abort, bytes. */
export const MAX_REASON = 200;

export interface Signed extends Shown {
  readonly id: Bytes;
}

export interface Seen {
  readonly index: number;
  /** SHA-256 of the broadcast; zero where the round has none. */
  readonly hash: Bytes;
}

export type Frame = { readonly topic: string } & (
  | {
      readonly kind: 'hello';
      readonly nonce: Bytes;
      readonly echo: Bytes;
      readonly wantsAnswer: boolean;
      readonly proposal: Bytes;
    }
  | { readonly kind: 'roster'; readonly present: readonly Present[] }
  | ({ readonly kind: 'message' } & Signed)
  | { readonly kind: 'confirm'; readonly id: Bytes; readonly round: number; readonly seen: readonly Seen[] }
  | { readonly kind: 'ask'; readonly id: Bytes; readonly round: number }
  | {
      readonly kind: 'abort';
      readonly id: Bytes;
      readonly reason: string;
      /** Broadcasts: one that others may have seen otherwise, or two of one slot, which convict their sender. */
      readonly evidence: readonly Signed[];
    }
);

export type FrameOf<K extends Frame['kind']> = Extract<Frame, { kind: K }>;

/** @throws RangeError when a body is too long for its length */
export function encodeFrame(frame: Frame): Bytes {
  return concat(u8(VERSION), u8(KINDS[frame.kind]), fromHex(frame.topic), restOf(frame));
}

/** @throws BotError `CONTENT_INVALID` */
export function decodeFrame(payload: Uint8Array): Frame {
  const reader = new Reader(payload);
  if (reader.u8() !== VERSION) throw invalid('a frame of a ceremony has a version that is not known');
  const code = reader.u8();
  const topic = toHex(reader.bytes(ID_BYTES));
  const frame: Frame = { topic, ...readRest(code, reader) };
  reader.end();
  return frame;
}

/** As much of a reason as an abort can say, in whole characters. */
export function shortReason(reason: string): string {
  const bytes = fromUtf8(reason);
  let end = Math.min(bytes.length, MAX_REASON);
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return toUtf8(bytes.subarray(0, end));
}

/** The topic alone. @throws BotError `CONTENT_INVALID` */
export function topicOfFrame(payload: Uint8Array): string {
  return toHex(new Reader(payload.subarray(2)).bytes(ID_BYTES));
}

/** Whether it is a message for one party alone. */
export function isPrivate(payload: Uint8Array): boolean {
  return payload[1] === KINDS.message && payload[RECIPIENT_AT] !== 0;
}

function restOf(frame: Frame): Bytes {
  switch (frame.kind) {
    case 'hello':
      return concat(frame.nonce, frame.echo, u8(frame.wantsAnswer ? 1 : 0), lv4(frame.proposal));
    case 'roster':
      return concat(u8(frame.present.length), ...frame.present.map((p) => concat(u8(p.index), p.nonce)));
    case 'message':
      return encodeSigned(frame);
    case 'confirm':
      return concat(
        frame.id,
        u8(frame.round),
        u8(frame.seen.length),
        ...frame.seen.map((seen) => concat(u8(seen.index), seen.hash)),
      );
    case 'ask':
      return concat(frame.id, u8(frame.round));
    case 'abort':
      return concat(
        frame.id,
        text(frame.reason),
        u8(frame.evidence.length),
        ...frame.evidence.map((signed) => lv(encodeSigned(signed))),
      );
  }
}

type Rest<F> = F extends Frame ? Omit<F, 'topic'> : never;

function readRest(code: number, reader: Reader): Rest<Frame> {
  switch (code) {
    case KINDS.hello: {
      const [nonce, echo] = [copy(reader.bytes(NONCE_BYTES)), copy(reader.bytes(NONCE_BYTES))];
      const wantsAnswer = reader.u8() === 1;
      return { kind: 'hello', nonce, echo, wantsAnswer, proposal: copy(reader.lv4()) };
    }
    case KINDS.roster: {
      const present = reader.list(reader.u8(), () => ({
        index: reader.u8(),
        nonce: copy(reader.bytes(NONCE_BYTES)),
      }));
      return { kind: 'roster', present };
    }
    case KINDS.message:
      return { kind: 'message', ...readSigned(reader) };
    case KINDS.confirm: {
      const [id, round] = [copy(reader.bytes(ID_BYTES)), reader.u8()];
      const seen = reader.list(reader.u8(), () => ({
        index: reader.u8(),
        hash: copy(reader.bytes(HASH_BYTES)),
      }));
      return { kind: 'confirm', id, round, seen };
    }
    case KINDS.ask:
      return { kind: 'ask', id: copy(reader.bytes(ID_BYTES)), round: reader.u8() };
    case KINDS.abort:
      return readAbort(reader);
    default:
      throw invalid('a frame of a ceremony has a kind that is not known');
  }
}

function readAbort(reader: Reader): Rest<FrameOf<'abort'>> {
  const [id, reason, count] = [copy(reader.bytes(ID_BYTES)), reader.text(), reader.u8()];
  if (fromUtf8(reason).length > MAX_REASON || count > MAX_EVIDENCE) throw invalid('an abort says too much');
  const evidence = reader.list(count, () => {
    const inner = new Reader(reader.lv());
    const signed = readSigned(inner);
    inner.end();
    return signed;
  });
  return { kind: 'abort', id, reason, evidence };
}

/** Layout: id 32 | round 1 | sender 1 | recipient 1 | body lv | signature 64 */
export function encodeSigned({ id, round, sender, recipient, body, signature }: Signed): Bytes {
  return concat(id, u8(round), u8(sender), u8(recipient), lv(body), signature);
}

export function readSigned(reader: Reader): Signed {
  return {
    id: copy(reader.bytes(ID_BYTES)),
    round: reader.u8(),
    sender: reader.u8(),
    recipient: reader.u8(),
    body: copy(reader.lv()),
    signature: copy(reader.bytes(SIGNATURE_BYTES)),
  };
}

/** What is signed of a message: all of it but the signature, the body to the end. */
export function signedBytes({ id, round, sender, recipient, body }: Omit<Signed, 'signature'>): Bytes {
  return concat(id, u8(round), u8(sender), u8(recipient), body);
}
