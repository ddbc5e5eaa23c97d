/**
 * First keys: what a device is registered with, be it linked or the account's primary one. The signed and the last-resort
 * key of an identity go with the request that makes the device, so they are durable before it leaves.
 * Spec: protocol brief, sections 2.5, 3.4 and 14.
 */
import type { IdentityKind } from '../address.ts';
import { toBase64 } from '../bytes.ts';
import { randomInt, type Random } from '../platform.ts';
import type { Batch } from '../store/store.ts';
import type { PrekeyState, StoredKeyPair } from '../store/rows.ts';
import { prekeys, prekeyStates } from '../store/tables.ts';
import {
  advanceId,
  firstPrekeyState,
  generateLastResort,
  generateSignedPrekey,
  publicSignedPrekey,
  putPrekeys,
  type NewPrekey,
} from './prekey-generation.ts';

const MAX_REGISTRATION_ID = 16_383;
const PASSWORD_BYTES = 16;

/** The keys that an identity is registered with, and its counters behind them. */
export interface FirstKeys {
  readonly identity: IdentityKind;
  readonly state: PrekeyState;
  readonly signed: NewPrekey;
  readonly lastResort: NewPrekey;
}

/** A signed prekey as JSON; key and signature in base64. */
export interface SignedKeyJson {
  readonly keyId: number;
  readonly publicKey: string;
  readonly signature: string;
}

/** @param state the identity's counters where it has some */
export function newFirstKeys(
  identity: IdentityKind,
  pair: StoredKeyPair,
  random: Random,
  now: number,
  state: PrekeyState = firstPrekeyState(random),
): FirstKeys {
  return {
    identity,
    signed: generateSignedPrekey(state.nextSignedId, pair, now),
    lastResort: generateLastResort(state.nextKyberId, pair, now),
    state: {
      ...state,
      nextSignedId: advanceId(state.nextSignedId, 1),
      nextKyberId: advanceId(state.nextKyberId, 1),
    },
  };
}

/** Writes them as keys that the server has not confirmed. */
export function putFirstKeys(batch: Batch, keys: FirstKeys): void {
  prekeyStates.put(batch, keys.identity, keys.state);
  putPrekeys(batch, keys.identity, [keys.signed, keys.lastResort]);
}

/** The server has taken them: from now on they are the identity's current ones. */
export async function confirmFirstKeys(
  batch: Batch,
  identity: IdentityKind,
  ids: { readonly signedId: number; readonly lastResortId: number },
  now: number,
): Promise<void> {
  const both = [
    ['signed', ids.signedId],
    ['kyber', ids.lastResortId],
  ] as const;
  for (const [kind, id] of both) {
    const row = await prekeys.get(batch, identity, kind, id);
    if (row) prekeys.put(batch, identity, kind, id, { ...row, confirmedAt: now });
  }
  const state = await prekeyStates.get(batch, identity);
  if (state) prekeyStates.put(batch, identity, { ...state, ...ids, signedAt: now, lastResortAt: now });
}

export function signedKeyJson(kind: 'signed' | 'kyber', { row }: Pick<NewPrekey, 'row'>): SignedKeyJson {
  const { id, publicKey, signature } = publicSignedPrekey(kind, row.record);
  return { keyId: id, publicKey: toBase64(publicKey), signature: toBase64(signature) };
}

/** 1..16383 */
export function newRegistrationId(random: Random): number {
  return 1 + randomInt(random, MAX_REGISTRATION_ID);
}

/** A device's secret: 22 characters of base64, since the padding says nothing, and without a colon. */
export function newPassword(random: Random): string {
  return toBase64(random.bytes(PASSWORD_BYTES)).replaceAll('=', '');
}
