/**
 * Keys: the shares that this party holds of Ed25519 keys, in the plugin's state, each with the party set of its key.
 *
 *   key/PUBLIC-KEY   public key in hex, 64 characters
 *
 * A share is long-lived and goes into backups, as identity keys do. Nonces never stand here (sign.ts).
 */
import { z } from 'zod';
import { BotError, type State } from '../../src/index.ts';
import { parseGroup, type Identified, type PartySet } from '../../src/rounds/index.ts';
import { frostKey, publicKeyOf, type FrostKey } from './key.ts';

export interface HeldKey {
  readonly key: FrostKey;
  /** In the order of their indices. */
  readonly parties: PartySet;
}

const row = z.object({ key: z.unknown(), parties: z.array(z.unknown()) });

/** What a program does about a call that does not fit. */
export const NEXT = 'Fix the call: what the acts of frost take stands in docs/rounds.md.';

/**
 * Keeps a share.
 * @returns the public key, hex
 * @throws BotError `USAGE` when another share of this key is here
 */
export async function putKey(state: State, { key, parties }: HeldKey): Promise<string> {
  const publicKey = Buffer.from(publicKeyOf(key)).toString('hex');
  const known = (await state.get(`key/${publicKey}`)) && (await keyOf(state, publicKey));
  if (known !== undefined && !Buffer.from(known.key.share).equals(key.share))
    throw new BotError('USAGE', 'another share of this key is here already', { next: NEXT });
  const written = {
    key: JSON.parse(new TextDecoder().decode(frostKey.encode(key))) as unknown,
    parties: parties.map(partyLine),
  };
  state.putJson(`key/${publicKey}`, written);
  return publicKey;
}

/** @param publicKey 32 bytes, hex @throws BotError `KEY_UNKNOWN` */
export async function keyOf(state: State, publicKey: string): Promise<HeldKey> {
  const stored = await state.getJson(`key/${publicKey}`, row);
  if (stored === undefined)
    throw new BotError('KEY_UNKNOWN', 'this device holds no share of that key', {
      next: 'Import the share that the dealer has cut for this party.',
    });
  return {
    key: frostKey.decode(new TextEncoder().encode(JSON.stringify(stored.key))),
    parties: parseGroup(stored.parties.map((line) => JSON.stringify(line)).join('\n')),
  };
}

/** As a line of a group file has it. */
function partyLine({ aci, deviceId, identityKey }: Identified): object {
  return { aci, deviceId, identityKey: Buffer.from(identityKey).toString('base64') };
}
