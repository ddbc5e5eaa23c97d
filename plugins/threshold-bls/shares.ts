/**
 * Shares: what this party holds of its keys, in the plugin's state.
 *
 *   share/KEY/EPOCH/SHARING   a share with the parties of its sharing. KEY: SHA-256 of the public key, hex; EPOCH: 10 digits;
 *                             SHARING: of the commitments, 32 bytes, hex
 *
 * A refresh must leave no two parties with shares that do not go together, whatever gets lost. So a new share is held beside
 * the old one from the moment we confirm (held), and the old one goes only when all have confirmed to us: then each of
 * them holds the new one too, and keeps it until a still newer one is confirmed by all (settled). In between both are here,
 * and what is signed is signed with the one that the others have.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { BotError, type Bytes, type State, type Transaction } from '../../src/index.ts';
import { isUnderWay, parseGroup, type Identified, type PartySet } from '../../src/rounds/index.ts';
import {
  decodeKeyShare,
  encodeKeyShare,
  fromHex,
  outlineOf,
  publicKeyOf,
  sharingOf,
  toHex,
  type KeyShare,
  type ShareOutline,
} from './key-share.ts';

export interface HeldShare {
  readonly share: KeyShare;
  /** Of its sharing, in the order of their indices: the order of a group's lines is another. */
  readonly parties: PartySet;
  /** Of the ceremony that has made it. */
  readonly topic: string;
  /** Its id, hex; empty in rows from before these were noted. */
  readonly ceremony: string;
  /**
   * Not while its key is being made: a key is there once all have confirmed. Where that ceremony has ended otherwise, also
   * because somebody was proven wrong, it is of use too: we have confirmed it, so another party may be done and count on it.
   */
  readonly isUsable: boolean;
  /** All parties have confirmed that they have theirs. */
  readonly isSettled: boolean;
}

/** Where shares stand, and the ceremonies that make them. */
export type Rows = Pick<Transaction, 'state' | 'volatile'>;

export interface HeldOutline extends ShareOutline {
  /** 32 bytes (`sharingOf`). */
  readonly sharing: Bytes;
  readonly parties: PartySet;
}

const START = 'share/';
const EPOCH_DIGITS = 10;
const row = z.object({
  share: z.unknown(),
  parties: z.array(z.unknown()),
  /** Of the ceremony that has made it. */
  topic: z.string(),
  /** All parties have confirmed that they have theirs. */
  isSettled: z.boolean(),
  /** Id of the ceremony, hex. */
  ceremony: z.string().default(''),
});
type Row = z.infer<typeof row>;

/** A share, and what has made it. */
export interface Made {
  readonly share: KeyShare;
  readonly parties: PartySet;
  readonly topic: string;
  /** Id of the ceremony, hex. */
  readonly ceremony?: string;
}

/**
 * Keeps a new share beside those that are here. One of an earlier attempt at the same refresh goes: whoever took part in this
 * one has given that one up before, and nobody had settled it, since then the old share would be gone that this one needs.
 */
export async function holdShare(state: State, made: Made): Promise<void> {
  const { share, topic } = made;
  if (share.epoch > 0) {
    for await (const [key, { epoch, stored }] of rowsOf(state, publicKeyOf(share)))
      if (epoch === share.epoch && stored.topic === topic && !stored.isSettled) state.delete(key);
  }
  put(state, made, false);
}

/** All have confirmed: older shares go. One that has become old itself in the meantime does not come back. */
export async function settleShare(state: State, made: Made): Promise<void> {
  const { share } = made;
  const rows: { readonly key: string; readonly epoch: number; readonly isSettled: boolean }[] = [];
  for await (const [key, { epoch, stored }] of rowsOf(state, publicKeyOf(share)))
    rows.push({ key, epoch, isSettled: stored.isSettled });
  if (rows.some(({ epoch, isSettled }) => epoch > share.epoch && isSettled)) return;
  for (const { key, epoch } of rows) if (epoch < share.epoch) state.delete(key);
  put(state, made, true);
}

/**
 * Of two transactions that use and exchange the shares of a key at once, the later is made anew: what a scan has seen is not
 * compared, and a signing must not begin with a share that goes. Row `uses/KEY` of what is volatile: how often.
 * @param publicKey 96 bytes
 */
export async function claimShares({ volatile }: Rows, publicKey: Uint8Array): Promise<void> {
  const key = `uses/${keyId(publicKey)}`;
  volatile.putJson(key, ((await volatile.getJson(key, z.number())) ?? 0) + 1);
}

/**
 * The shares of a key, newest first: more than one only where it is not known that all have the newest.
 * @param publicKey 96 bytes, hex @throws BotError `KEY_UNKNOWN`
 */
export async function sharesOf(rows: Rows, publicKey: string): Promise<readonly HeldShare[]> {
  const found: HeldShare[] = [];
  for await (const [, { epoch, stored }] of rowsOf(rows.state, fromHex(publicKey)))
    found.push(await decode(rows, stored, epoch));
  if (found.length === 0) throw new BotError('KEY_UNKNOWN', 'this device holds no share of that key');
  return found.reverse();
}

/**
 * What is public of them, newest first, and none of a key that is not known: for what others ask, so no point is checked.
 * @param publicKey 96 bytes
 */
export async function outlinesOf(state: State, publicKey: Uint8Array): Promise<readonly HeldOutline[]> {
  const found: HeldOutline[] = [];
  for await (const [key, { stored }] of rowsOf(state, publicKey)) {
    const sharing = fromHex(key.split('/')[3] ?? '');
    found.push({ ...outlineOf(stored.share), sharing, parties: partiesOf(stored) });
  }
  return found.reverse();
}

/** Of all keys, those of a key behind each other, newest first. */
export async function allShares(rows: Rows): Promise<readonly HeldShare[]> {
  const found: HeldShare[] = [];
  for await (const [key, value] of rows.state.scan(START))
    found.push(await decode(rows, parse(value), epochOf(key)));
  return found.reverse();
}

export function deleteShare(state: State, { share }: HeldShare): void {
  state.delete(keyOf(publicKeyOf(share), share.epoch, sharingOf(share)));
}

export async function hasShares(state: State): Promise<boolean> {
  for await (const [key] of state.scan(START)) return key !== '';
  return false;
}

/** The share of this sharing, 32 bytes; undefined when it is not here. @param publicKey 96 bytes */
export async function shareOf(
  rows: Rows,
  publicKey: Uint8Array,
  epoch: number,
  sharing: Uint8Array,
): Promise<HeldShare | undefined> {
  const stored = await rows.state.getJson(keyOf(publicKey, epoch, sharing), row);
  return stored === undefined ? undefined : decode(rows, stored, epoch);
}

function put(state: State, { share, parties, topic, ceremony = '' }: Made, isSettled: boolean): void {
  const written: Row = {
    share: JSON.parse(new TextDecoder().decode(encodeKeyShare(share))),
    parties: parties.map(partyLine),
    topic,
    isSettled,
    ceremony,
  };
  state.putJson(keyOf(publicKeyOf(share), share.epoch, sharingOf(share)), written);
}

async function* rowsOf(
  state: State,
  publicKey: Uint8Array,
): AsyncIterable<readonly [key: string, { readonly epoch: number; readonly stored: Row }]> {
  const start = `${START}${keyId(publicKey)}/`;
  for await (const [key, value] of state.scan(start)) {
    yield [key, { epoch: epochOf(key), stored: parse(value) }];
  }
}

function parse(value: Uint8Array): Row {
  return row.parse(JSON.parse(new TextDecoder().decode(value)));
}

function epochOf(key: string): number {
  return Number(key.split('/')[2]);
}

async function decode(rows: Rows, stored: Row, epoch: number): Promise<HeldShare> {
  const { share, topic, isSettled, ceremony } = stored;
  return {
    share: decodeKeyShare(new TextEncoder().encode(JSON.stringify(share))),
    parties: partiesOf(stored),
    topic,
    ceremony,
    isSettled,
    isUsable: isSettled || epoch > 0 || !(await isUnderWay(rows, topic, ceremony)),
  };
}

function partiesOf({ parties }: Row): PartySet {
  return parseGroup(parties.map((line) => JSON.stringify(line)).join('\n'));
}

function keyOf(publicKey: Uint8Array, epoch: number, sharing: Uint8Array): string {
  return `${START}${keyId(publicKey)}/${String(epoch).padStart(EPOCH_DIGITS, '0')}/${toHex(sharing)}`;
}

function keyId(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex');
}

/** As a line of a group file has it. */
function partyLine({ aci, deviceId, identityKey }: Identified): object {
  return { aci, deviceId, identityKey: Buffer.from(identityKey).toString('base64') };
}
