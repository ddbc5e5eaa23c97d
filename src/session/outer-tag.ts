/**
 * Outer tag: what a sealed message bears behind its ciphertext, so that a device that listens to tagged messages alone can
 * drop all others unopened (decision 9; docs/outer-tag.md says what it is good for and what stays visible).
 *
 * Layout, 24 bytes behind the content of an envelope, whatever that is (ratchet message, sealed sender, retry request):
 *
 *   box 12 = (magic 4 | rotation 2 | hint 6) XOR HMAC-SHA-256(route key, mac)[0..12)
 *   mac 12 = HMAC-SHA-256(tag key, content)[0..12)
 *
 * magic is c5 4f 54 01 (its last byte the version), rotation the low 16 bits of the day since 1970, big-endian. To all who
 * do not have the recipient's route key the 24 bytes look random, and those of two messages have nothing in common.
 *
 *   route key 16 = HKDF-SHA-256(identity key of the recipient, private; "countersign outer route 1" | ACI 16 | device 1)
 *   pair key  32 = HKDF-SHA-256(X25519 of both identity keys; "countersign outer tag 1" | sender | recipient), each of the
 *                  two being ACI 16 | device 1 | identity key 33: it has a direction
 *   tag key 32 | hint 6 = HKDF-SHA-256(pair key; "countersign outer rotation 1" | day 4)
 *
 * HKDF is without salt. The route key travels encrypted, in the announcement of app tags (proto/app-message.md).
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { PublicKey, type PrivateKey } from '@signalapp/libsignal-client';
import { serviceIdToBytes, type Address } from '../address.ts';
import { concat, equal, fromHex, fromUtf8, toHex, type Bytes } from '../bytes.ts';
import { parseTag, type Tag } from '../content/app-message.ts';
import type { OwnIdentity } from './own-identity.ts';

/** What a tag adds to a content, in bytes. */
export const OUTER_BYTES = 24;

/** One end of a pair: a device under the identity key of its account. */
export interface OuterEnd extends Address {
  /** 33 bytes */
  readonly identityKey: Bytes;
}

/** What makes the tags of one direction of a pair on one day. */
export interface Rotation {
  /** Days since 1970. */
  readonly day: number;
  readonly key: KeyObject;
  /** 48 bits: by it a recipient finds the key. */
  readonly hint: number;
}

/** A content that bears a tag for us; whose it is, and whether it holds, is not said. */
export interface Peeled {
  /** The content without its tag: a view. */
  readonly content: Bytes;
  /** Low 16 bits of the day. */
  readonly rotation: number;
  readonly hint: number;
  /** 12 bytes */
  readonly mac: Bytes;
}

const MAGIC = Uint8Array.of(0xc5, 0x4f, 0x54, 0x01);
const HALF = OUTER_BYTES / 2;
const HINT_AT = 6;
const HINT_BYTES = 6;
const ROUTE_BYTES = 16;
const KEY_BYTES = 32;
const DAY_MS = 86_400_000;
const ROTATIONS = 0x1_0000;
const ROUTE_LABEL = fromUtf8('countersign outer route 1');
const PAIR_LABEL = fromUtf8('countersign outer tag 1');
const ROTATION_LABEL = fromUtf8('countersign outer rotation 1');
/** Shaped like an app tag, so that whoever does not know it takes it for one more. */
const MARK = /^countersign\.outer\/([0-9a-f]{32})\/1$/;

/** Our own route key: of this device and identity key, for as long as they last. */
export function routeKeyOf({ keys, serviceId, deviceId }: OwnIdentity): KeyObject {
  const info = concat(ROUTE_LABEL, addressBytes({ serviceId, deviceId }));
  return createSecretKey(derive(keys.privateKey.serialize(), info, ROUTE_BYTES));
}

/** The line of an announcement that says: this device takes outer tags, made with this route key. */
export function outerMark(routeKey: KeyObject): Tag {
  return parseTag(`countersign.outer/${toHex(routeKey.export())}/1`);
}

/** The route key of a device that has announced these tags; undefined when it takes none. */
export function readMark(tags: readonly string[] | undefined): KeyObject | undefined {
  for (const tag of tags ?? []) {
    const hex = MARK.exec(tag)?.[1];
    if (hex !== undefined) return createSecretKey(fromHex(hex));
  }
  return undefined;
}

/**
 * The pair key of the direction `from` -> `to`, 32 bytes. Both sides come to the same, each with its own private key.
 * @param ours the private key of the one side
 * @param theirs the identity key of the other
 */
export function pairKey(ours: PrivateKey, theirs: Bytes, from: OuterEnd, to: OuterEnd): Bytes {
  const shared = ours.agree(PublicKey.deserialize(theirs));
  return derive(shared, concat(PAIR_LABEL, endBytes(from), endBytes(to)), KEY_BYTES);
}

/** @param time ms @returns days since 1970 */
export function dayOf(time: number): number {
  return Math.floor(time / DAY_MS);
}

export function rotationOf(pair: Bytes, day: number): Rotation {
  const made = madeOf(pair, day);
  const key = createSecretKey(made.subarray(0, KEY_BYTES));
  return { day, key, hint: made.readUIntBE(KEY_BYTES, HINT_BYTES) };
}

/** The hint of that rotation alone. */
export function hintOf(pair: Bytes, day: number): number {
  return madeOf(pair, day).readUIntBE(KEY_BYTES, HINT_BYTES);
}

function madeOf(pair: Bytes, day: number): Buffer {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, day);
  return Buffer.from(derive(pair, concat(ROTATION_LABEL, number), KEY_BYTES + HINT_BYTES));
}

/** @param route of the recipient @returns the content with its tag */
export function addTag(content: Bytes, route: KeyObject, { day, key, hint }: Rotation): Bytes {
  const mac = macOf(content, key);
  const box = Buffer.alloc(HALF);
  box.set(MAGIC);
  box.writeUInt16BE(day % ROTATIONS, MAGIC.length);
  box.writeUIntBE(hint, HINT_AT, HINT_BYTES);
  mask(box, mac, route);
  return concat(content, box, mac);
}

/**
 * Takes a tag off, without asking whose it is.
 * @param route our own
 * @returns undefined when there is none for us; one of 2^32 contents without a tag is taken for one with
 */
export function peelTag(content: Bytes, route: KeyObject): Peeled | undefined {
  const end = content.length - OUTER_BYTES;
  if (end < 1) return undefined;
  const mac = content.subarray(end + HALF);
  const box = Buffer.from(content.subarray(end, end + HALF));
  mask(box, mac, route);
  if (!equal(box.subarray(0, MAGIC.length), MAGIC)) return undefined;
  return {
    content: content.subarray(0, end),
    rotation: box.readUInt16BE(MAGIC.length),
    hint: box.readUIntBE(HINT_AT, HINT_BYTES),
    mac,
  };
}

/** The day that a tag is of, if that is the given one or the one before or after; undefined when it is older or to come. */
export function dayWithin(rotation: number, day: number): number | undefined {
  return [day, day - 1, day + 1].find((each) => each % ROTATIONS === rotation);
}

/** Whether a tag was made with this key, in constant time. */
export function holds({ content, mac }: Peeled, key: KeyObject): boolean {
  return equal(macOf(content, key), mac);
}

function macOf(content: Uint8Array, key: KeyObject): Uint8Array {
  return createHmac('sha256', key).update(content).digest().subarray(0, HALF);
}

function mask(box: Buffer, mac: Uint8Array, route: KeyObject): void {
  const stream = createHmac('sha256', route).update(mac).digest();
  for (let i = 0; i < HALF; i++) box[i] = (box[i] ?? 0) ^ (stream[i] ?? 0);
}

function derive(secret: Uint8Array, info: Uint8Array, length: number): Bytes {
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), info, length));
}

function addressBytes({ serviceId, deviceId }: Address): Bytes {
  return concat(serviceIdToBytes(serviceId), Uint8Array.of(deviceId));
}

function endBytes(end: OuterEnd): Bytes {
  return concat(addressBytes(end), end.identityKey);
}
