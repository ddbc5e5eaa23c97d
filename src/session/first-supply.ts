/**
 * First supply: the one-time keys of a device that has just been registered. Repeated until it is done, it replaces
 * nothing twice. Spec: protocol brief, sections 2.1 (step 6), 3.4 and 14 (step 6).
 */
import type { IdentityKind } from '../address.ts';
import type { Log } from '../platform.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';
import { hasConfirmedKeys, supplyOneTimeKeys, type SupplyParts } from './prekey-supply.ts';

/** EC keys that the server did not take: without them the device is not done. */
export interface NotTaken<Outcome> {
  readonly identity: IdentityKind;
  readonly outcome: Outcome;
}

export interface FirstSupplyParts<Outcome> extends SupplyParts<Outcome> {
  readonly log: Log;
}

/**
 * Gives the server 100 one-time keys of both kinds for each identity, save those that an earlier start has given.
 * @returns undefined when it is done
 * @throws what the upload throws; BotError `STORE_WRITE_FAILED`
 */
export async function supplyFirstKeys<Outcome extends { readonly kind: string }>(
  parts: FirstSupplyParts<Outcome>,
  account: Pick<Account, 'identity' | 'pniIdentity'>,
): Promise<NotTaken<Outcome> | undefined> {
  const identities: readonly (readonly [IdentityKind, StoredKeyPair | null])[] = [
    ['aci', account.identity],
    ['pni', account.pniIdentity],
  ];
  for (const [identity, pair] of identities) {
    if (pair === null) continue;
    const ec = await supplyOnce(parts, identity, 'ec', pair);
    if (ec !== undefined && !parts.isStored(ec)) return { identity, outcome: ec };
    // Where the server's storage for Kyber keys is broken, the last-resort key serves (3.1); upkeep tries again.
    const kyber = await supplyOnce(parts, identity, 'kyber', pair);
    if (kyber !== undefined && !parts.isStored(kyber)) {
      parts.log.warn({ identity, outcome: kyber.kind }, 'the server did not take the one-time Kyber keys');
    }
  }
  return undefined;
}

async function supplyOnce<Outcome>(
  parts: SupplyParts<Outcome>,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
  pair: StoredKeyPair,
): Promise<Outcome | undefined> {
  if (await hasConfirmedKeys(parts.store, identity, kind)) return undefined;
  return supplyOneTimeKeys(parts, identity, kind, pair);
}
