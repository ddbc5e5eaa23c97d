/**
 * Party set: who can take part in a ceremony, in the order of their ACIs (as bytes), with an index from 1 on. It is read
 * from a group file of JSON lines, each the output of `countersign me --json`, in any order.
 *
 * All ACIs and all identity keys are different: one person with two entries would have two votes.
 */
import { PublicKey } from '@signalapp/libsignal-client';
import { z } from 'zod';
import {
  parseAci,
  parseDeviceId,
  serviceIdFromBytes,
  serviceIdToBytes,
  type Aci,
  type DeviceId,
} from '../address.ts';
import { concat, equal, fromBase64, toHex, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { u8, type Reader } from './wire.ts';

/** Most parties of a set. */
export const MAX_PARTIES = 64;
const KEY_BYTES = 33;
/** Where a set was agreed on, and a group names others. */
const NEXT =
  'Give the lines of the group that was agreed on first: other accounts, devices and keys have no part in it.';

export interface Identified {
  readonly aci: Aci;
  /** The device that runs the protocol; no other one of the account sees its messages. */
  readonly deviceId: DeviceId;
  /** 33 bytes, public. */
  readonly identityKey: Bytes;
}

export interface RoundsParty extends Identified {
  /** 1 to n. */
  readonly index: number;
}

/** In the order of their index. */
export type PartySet = readonly RoundsParty[];

const line = z.object({ aci: z.string(), deviceId: z.number(), identityKey: z.string() });

/**
 * The set of these parties, in any order.
 * @throws BotError `GROUP_INVALID`
 */
export function partySet(parties: readonly Identified[]): PartySet {
  if (parties.length === 0 || parties.length > MAX_PARTIES)
    throw wrong(`has ${String(parties.length)} parties; there can be 1 to ${String(MAX_PARTIES)}`);
  for (const { aci, identityKey } of parties) {
    if (!isKey(identityKey)) throw wrong(`has something that is no identity key for ${aci}`);
  }
  if (new Set(parties.map(({ aci }) => aci)).size < parties.length) throw wrong('names an account twice');
  if (new Set(parties.map(({ identityKey }) => toHex(identityKey))).size < parties.length)
    throw wrong('has the same identity key twice');
  return [...parties]
    .sort((a, b) => (a.aci < b.aci ? -1 : 1)) // lower-case hex sorts as the bytes do
    .map(({ aci, deviceId, identityKey }, i) => ({ index: i + 1, aci, deviceId, identityKey }));
}

/**
 * Reads a group file.
 * @param text JSON lines with at least `aci`, `deviceId` and `identityKey` (base64, 33 bytes); empty lines are skipped
 * @throws BotError `GROUP_INVALID` with the line
 */
export function parseGroup(text: string): PartySet {
  const lines = text.split('\n').map((content, i) => ({ content: content.trim(), number: i + 1 }));
  return partySet(lines.filter(({ content }) => content !== '').map(parseLine));
}

function parseLine({ content, number }: { readonly content: string; readonly number: number }): Identified {
  try {
    const { aci, deviceId, identityKey } = line.parse(JSON.parse(content));
    return { aci: parseAci(aci), deviceId: parseDeviceId(deviceId), identityKey: fromBase64(identityKey) };
  } catch (cause) {
    throw new BotError('GROUP_INVALID', `line ${String(number)} of the group is no party`, { cause });
  }
}

/** Whether both are the same account, device and key. */
export function isParty(a: Identified, b: Identified): boolean {
  return a.aci === b.aci && a.deviceId === b.deviceId && equal(a.identityKey, b.identityKey);
}

/** Whether both are the same parties. */
export function sameParties(a: readonly Identified[], b: readonly Identified[]): boolean {
  return a.length === b.length && a.every((party, i) => b[i] !== undefined && isParty(party, b[i]));
}

/**
 * The indices, rising, of those of a set whom a group names, with the device and the key that the set has of each.
 * @throws BotError `USAGE` for an account that is not of the set, or another device of one; `IDENTITY_CHANGED` for another key
 */
export function indicesOf(set: PartySet, named: readonly Identified[]): readonly number[] {
  return named
    .map(({ aci, deviceId, identityKey }) => {
      const known = set.find((party) => party.aci === aci);
      if (known === undefined) throw otherThan(`the group names ${aci}, who is not of these parties`);
      const who = `party ${String(known.index)} (${aci})`;
      if (!equal(known.identityKey, identityKey))
        throw new BotError(
          'IDENTITY_CHANGED',
          `the group has another identity key of ${who} than was agreed`,
          {
            next: NEXT,
          },
        );
      if (known.deviceId !== deviceId)
        throw otherThan(`the group has device ${String(deviceId)} of ${who}, not ${String(known.deviceId)}`);
      return known.index;
    })
    .sort((a, b) => a - b);
}

/** Layout: n 1 | n times (ACI 16 | device 1 | identity key 33), by index. */
export function encodeParties(set: PartySet): Bytes {
  const each = set.map(({ aci, deviceId, identityKey }) =>
    concat(serviceIdToBytes(aci), u8(deviceId), identityKey),
  );
  return concat(u8(set.length), ...each);
}

/** @throws BotError `CONTENT_INVALID`, `GROUP_INVALID` */
export function readParties(reader: Reader): PartySet {
  const parties = reader.list(reader.u8(), () => ({
    aci: serviceIdFromBytes(reader.bytes(16)) as Aci,
    deviceId: parseDeviceId(reader.u8()),
    identityKey: reader.bytes(KEY_BYTES),
  }));
  const set = partySet(parties);
  if (set.some(({ aci }, i) => aci !== parties[i]?.aci)) throw wrong('is not in the order of its accounts');
  return set;
}

function isKey(key: Bytes): boolean {
  try {
    return key.length === KEY_BYTES && PublicKey.deserialize(key).serialize().length === KEY_BYTES;
  } catch {
    return false;
  }
}

function otherThan(message: string): BotError {
  return new BotError('USAGE', message, { next: NEXT });
}

function wrong(what: string): BotError {
  return new BotError('GROUP_INVALID', `the group ${what}`);
}
