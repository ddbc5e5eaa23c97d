/**
 * Frames: what the two sides send each other. Big-endian, fields in fixed order, none optional.
 *
 *   0  4 "SSVP" | 4  1 version 01 | 5  1 type | 6  2 suite | 8  16 run id | 24  4 body length | 28 body
 *
 *   01 OFFER   A->B  mode 1, profile 1, code format 1, mhf 1 (01 scrypt), log2N 1, r 1, p 1, expires at 8 (ms),
 *                    A's service id 17, A's device 1, check commitment 32, lv pA
 *   02 REPLY   B->A  B's service id 17, B's device 1, lv pB, lv cB
 *   03 PROOF   A->B  lv cA (empty in suite 2), lv4 sealed payload A
 *   04 ACCEPT  B->A  lv4 sealed payload B
 *   05 DONE    A->B  kind 1, lv4 proof (kind 1: 32-byte MAC; kind 2: serialized SignalMessage)
 *   06 HELLO   both  mode 1 (02), profile 1, lv share (33: side byte and 32); run id zero
 *   07 CONFIRM both  lv MAC
 *   7f ABORT   both  reason 1
 *
 * Each frame has one encoding: unknown values, a wrong length and trailing bytes are refused.
 * Spec: verification brief, sections 3.2 and 3.7.
 */
import type { Bytes } from '../../../src/index.ts';
import { partyBytes, readParty, type Party } from './service-id.ts';
import { concat, lv, lv4, Reader, time, u16, u32, u8 } from './wire.ts';

/** 1: over Signal, both named. 2: over anything that moves bytes, names hidden until sealed. */
export type Mode = 1 | 2;
/** 1: identity keys. 2: a bundle too, so that both sides can end with a new session. */
export type Profile = 1 | 2;
/** 1: RFC 9382 P-256 with roles. 2: symmetric Ed25519. */
export type Suite = 1 | 2;
/** Of a code: 1 digits, 2 words, 3 agreed beforehand. */
export type Format = 1 | 2 | 3;

/** Why a run is given up. The number is the one on the wire. */
export const ABORT = { unsupported: 1, declined: 2, failed: 3, expired: 4, superseded: 5, busy: 6 } as const;
export type AbortReason = keyof typeof ABORT;

export interface Offer {
  readonly type: 'offer';
  readonly mode: Mode;
  readonly profile: Profile;
  readonly format: Format;
  /** A byte each; the enterer judges whether it takes them up (V-3). */
  readonly mhf: { readonly log2N: number; readonly r: number; readonly p: number };
  /** ms since 1970, by A's clock. */
  readonly expiresAt: number;
  /** undefined in mode 2. */
  readonly sender: Party | undefined;
  /** 32 bytes (V-25). */
  readonly commitment: Bytes;
  /** 65 bytes. */
  readonly share: Bytes;
}

export interface Reply {
  readonly type: 'reply';
  readonly sender: Party | undefined;
  /** 65 bytes. */
  readonly share: Bytes;
  /** cB, 32 bytes. */
  readonly confirmation: Bytes;
}

export interface Proof {
  readonly type: 'proof';
  /** cA: 32 bytes in suite 1, none in suite 2. */
  readonly confirmation: Bytes;
  readonly sealed: Bytes;
}

export interface Accept {
  readonly type: 'accept';
  readonly sealed: Bytes;
}

export interface Done {
  readonly type: 'done';
  /** `mac`: 32 bytes. `message`: a serialized SignalMessage that holds the same MAC. */
  readonly kind: 'mac' | 'message';
  readonly proof: Bytes;
}

export interface Hello {
  readonly type: 'hello';
  readonly profile: Profile;
  /** Side byte and 32 bytes. */
  readonly share: Bytes;
}

export interface Confirm {
  readonly type: 'confirm';
  /** 32 bytes. */
  readonly mac: Bytes;
}

export interface Abort {
  readonly type: 'abort';
  readonly reason: AbortReason;
}

export type Body = Offer | Reply | Proof | Accept | Done | Hello | Confirm | Abort;
export type FrameType = Body['type'];

export interface Header {
  readonly type: FrameType;
  /** Known or not; OFFER with one that is not known is answered, all else is ignored. */
  readonly suite: number;
  /** 16 bytes. */
  readonly runId: Bytes;
}

export interface Frame {
  readonly suite: Suite;
  readonly runId: Bytes;
  readonly body: Body;
}

export const SHARE_BYTES = 65;
export const MAC_BYTES = 32;
export const NO_RUN: Bytes = new Uint8Array(16);
export const MAX_BODY_BYTES = 16_384;
/** What the MAC of a sealed payload covers of its frame: all of the header but the length. */
export const HEAD_BYTES = 24;

const HEADER_BYTES = 28;
const MAGIC = Uint8Array.of(0x53, 0x53, 0x56, 0x50);
const VERSION = 1;
const SCRYPT = 1;
const HELLO_SHARE_BYTES = 33;
const TYPES = {
  offer: 1,
  reply: 2,
  proof: 3,
  accept: 4,
  done: 5,
  hello: 6,
  confirm: 7,
  abort: 0x7f,
} as const;
const DONE_KINDS = { mac: 1, message: 2 } as const;

/** @throws RangeError when the body is longer than 16 KiB */
export function encodeFrame({ suite, runId, body }: Frame): Bytes {
  const bytes = encodeBody(body);
  if (bytes.length > MAX_BODY_BYTES) throw new RangeError('a frame is at most 16 KiB long');
  return concat(encodeHead({ type: body.type, suite, runId }), u32(bytes.length), bytes);
}

/** The first 24 bytes of a frame, which a sealed payload needs before the frame is there. */
export function encodeHead({ type, suite, runId }: Header): Bytes {
  return concat(MAGIC, u8(VERSION), u8(TYPES[type]), u16(suite), runId);
}

/**
 * What every frame begins with; nothing behind it is looked at.
 * @returns undefined for anything that is not a frame of this version
 */
export function decodeHeader(bytes: Uint8Array): Header | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const reader = new Reader(bytes.subarray(0, HEAD_BYTES));
  reader.require(reader.bytes(MAGIC.length).every((byte, i) => byte === MAGIC[i]));
  reader.require(reader.u8() === VERSION);
  const type = typeOf(reader.u8());
  const suite = reader.u16();
  const runId = reader.bytes(16);
  return reader.isDone && type !== undefined ? { type, suite, runId } : undefined;
}

/** @returns undefined unless this is the one encoding of a frame */
export function decodeFrame(bytes: Uint8Array): Frame | undefined {
  const header = decodeHeader(bytes);
  if (header === undefined) return undefined;
  const { type, runId } = header;
  const suite = suiteOf(type, header.suite);
  const reader = new Reader(bytes.subarray(HEAD_BYTES));
  const length = reader.u32();
  reader.require(length === bytes.length - HEADER_BYTES && length <= MAX_BODY_BYTES);
  if (suite === undefined || reader.isSpent) return undefined;
  const body = readBody(reader, type, suite);
  return reader.isDone ? { suite, runId, body } : undefined;
}

/** REPLY up to, not including, `lv cB`: what the confirmation itself binds. */
export function withoutConfirmation(reply: Bytes): Bytes {
  return reply.subarray(0, reply.length - 2 - MAC_BYTES);
}

function encodeBody(body: Body): Bytes {
  switch (body.type) {
    case 'offer':
      return concat(
        Uint8Array.of(body.mode, body.profile, body.format, SCRYPT, body.mhf.log2N, body.mhf.r, body.mhf.p),
        time(body.expiresAt),
        partyBytes(body.sender),
        body.commitment,
        lv(body.share),
      );
    case 'reply':
      return concat(partyBytes(body.sender), lv(body.share), lv(body.confirmation));
    case 'proof':
      return concat(lv(body.confirmation), lv4(body.sealed));
    case 'accept':
      return lv4(body.sealed);
    case 'done':
      return concat(u8(DONE_KINDS[body.kind]), lv4(body.proof));
    case 'hello':
      return concat(Uint8Array.of(2, body.profile), lv(body.share));
    case 'confirm':
      return lv(body.mac);
    case 'abort':
      return u8(ABORT[body.reason]);
  }
}

function readBody(reader: Reader, type: FrameType, suite: Suite): Body {
  switch (type) {
    case 'offer':
      return readOffer(reader);
    case 'reply': {
      // Named or not: the run says which, and the machine compares.
      const sender = readParty(reader, !isUnnamed(reader));
      return { type, sender, share: reader.lv(SHARE_BYTES), confirmation: reader.lv(MAC_BYTES) };
    }
    case 'proof':
      return { type, confirmation: reader.lv(suite === 1 ? MAC_BYTES : 0), sealed: reader.lv4() };
    case 'accept':
      return { type, sealed: reader.lv4() };
    case 'done': {
      const kind = reader.oneOf(1, 2) === DONE_KINDS.mac ? 'mac' : 'message';
      const proof = reader.lv4();
      reader.require(kind === 'message' ? proof.length > 0 : proof.length === MAC_BYTES);
      return { type, kind, proof };
    }
    case 'hello':
      reader.oneOf(2);
      return { type, profile: reader.oneOf(1, 2), share: reader.lv(HELLO_SHARE_BYTES) };
    case 'confirm':
      return { type, mac: reader.lv(MAC_BYTES) };
    case 'abort':
      return { type, reason: readReason(reader) };
  }
}

function readOffer(reader: Reader): Offer {
  const mode = reader.oneOf(1, 2);
  const profile = reader.oneOf(1, 2);
  const format = reader.oneOf(1, 2, 3);
  reader.oneOf(SCRYPT);
  const mhf = { log2N: reader.u8(), r: reader.u8(), p: reader.u8() };
  const expiresAt = reader.time();
  const sender = readParty(reader, mode === 1);
  const commitment = reader.bytes(32);
  return {
    type: 'offer',
    mode,
    profile,
    format,
    mhf,
    expiresAt,
    sender,
    commitment,
    share: reader.lv(SHARE_BYTES),
  };
}

function isUnnamed(reader: Reader): boolean {
  return reader.peek(18).every((byte) => byte === 0);
}

function readReason(reader: Reader): AbortReason {
  const value = reader.u8();
  const reason = (Object.keys(ABORT) as AbortReason[]).find((name) => ABORT[name] === value);
  reader.require(reason !== undefined);
  return reason ?? 'failed';
}

function typeOf(value: number): FrameType | undefined {
  return (Object.keys(TYPES) as FrameType[]).find((name) => TYPES[name] === value);
}

/** OFFER and REPLY are of suite 1, HELLO and CONFIRM of suite 2, the others of both. */
function suiteOf(type: FrameType, suite: number): Suite | undefined {
  if (suite === 1) return type === 'hello' || type === 'confirm' ? undefined : 1;
  return suite === 2 && type !== 'offer' && type !== 'reply' ? 2 : undefined;
}
