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
import { BotError, type State } from '../../src/index.ts';
import { parseGroup, type Identified, type PartySet } from '../../src/rounds/index.ts';
import {
  decodeKeyShare,
  encodeKeyShare,
  fromHex,
  publicKeyOf,
  sharingOf,
  toHex,
  type KeyShare,
} from './key-share.ts';

export interface HeldShare {
  readonly share: KeyShare;
  /** Of its sharing, in the order of their indices: the order of a group's lines is another. */
  readonly parties: PartySet;
}

const EPOCH_DIGITS = 10;
const row = z.object({
  share: z.unknown(),
  parties: z.array(z.unknown()),
  /** Of the ceremony that has made it. */
  topic: z.string(),
  /** All parties have confirmed that they have theirs. */
  isSettled: z.boolean(),
});
type Row = z.infer<typeof row>;
type Made = HeldShare & { readonly topic: string };

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
 * The shares of a key, newest first: more than one only where it is not known that all have the newest.
 * @param publicKey 96 bytes, hex @throws BotError `KEY_UNKNOWN`
 */
export async function sharesOf(state: State, publicKey: string): Promise<readonly HeldShare[]> {
  const found: HeldShare[] = [];
  for await (const [, { stored }] of rowsOf(state, fromHex(publicKey))) found.push(decode(stored));
  if (found.length === 0) throw new BotError('KEY_UNKNOWN', 'this device holds no share of that key');
  return found.reverse();
}

/** The share of this sharing, 32 bytes; undefined when it is not here. @param publicKey 96 bytes */
export async function shareOf(
  state: State,
  publicKey: Uint8Array,
  epoch: number,
  sharing: Uint8Array,
): Promise<HeldShare | undefined> {
  const stored = await state.getJson(keyOf(publicKey, epoch, sharing), row);
  return stored === undefined ? undefined : decode(stored);
}

function put(state: State, { share, parties, topic }: Made, isSettled: boolean): void {
  const written: Row = {
    share: JSON.parse(new TextDecoder().decode(encodeKeyShare(share))),
    parties: parties.map(partyLine),
    topic,
    isSettled,
  };
  state.putJson(keyOf(publicKeyOf(share), share.epoch, sharingOf(share)), written);
}

async function* rowsOf(
  state: State,
  publicKey: Uint8Array,
): AsyncIterable<readonly [key: string, { readonly epoch: number; readonly stored: Row }]> {
  const start = `share/${keyId(publicKey)}/`;
  for await (const [key, value] of state.scan(start)) {
    const epoch = Number(key.slice(start.length, start.length + EPOCH_DIGITS));
    yield [key, { epoch, stored: row.parse(JSON.parse(new TextDecoder().decode(value))) }];
  }
}

function decode({ share, parties }: Row): HeldShare {
  const lines = parties.map((line) => JSON.stringify(line)).join('\n');
  return {
    share: decodeKeyShare(new TextEncoder().encode(JSON.stringify(share))),
    parties: parseGroup(lines),
  };
}

function keyOf(publicKey: Uint8Array, epoch: number, sharing: Uint8Array): string {
  return `share/${keyId(publicKey)}/${String(epoch).padStart(EPOCH_DIGITS, '0')}/${toHex(sharing)}`;
}

function keyId(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex');
}

/** As a line of a group file has it. */
function partyLine({ aci, deviceId, identityKey }: Identified): object {
  return { aci, deviceId, identityKey: Buffer.from(identityKey).toString('base64') };
}
