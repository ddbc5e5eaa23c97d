/**
 * Prekey generation: new prekeys as rows for the store and as bodies for the server. Linking makes the first ones and
 * upkeep all later ones.
 *
 * Ids: 1..0xFFFFFF, from a random start, each the next of the one before; 0 is skipped at the wrap. Kyber one-time and
 * last-resort keys share a counter. Spec: protocol brief, sections 3.1 and 3.4.
 */
import {
  KEMKeyPair,
  KyberPreKeyRecord,
  PreKeyRecord,
  PrivateKey,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client';
import type { IdentityKind } from '../address.ts';
import { fromBase64, type Bytes } from '../bytes.ts';
import { randomInt, type Random } from '../platform.ts';
import type { Batch } from '../store/store.ts';
import type { PrekeyKind, PrekeyRow, PrekeyState, StoredKeyPair } from '../store/rows.ts';
import { prekeys } from '../store/tables.ts';

/** One-time keys of a kind that are made and uploaded at once; the server takes no more. */
export const ONE_TIME_BATCH = 100;

const LAST_ID = 0xffffff;
/** Keys made before others get their turn: ten Kyber keys take about 2 ms. */
const CHUNK = 10;

/** A key to upload: 33 bytes for EC. */
export interface PublicPrekey {
  readonly id: number;
  readonly publicKey: Bytes;
}

/** A key to upload with its signature: 33 bytes for EC, 1569 for Kyber; the signature has 64. */
export interface SignedPublicPrekey extends PublicPrekey {
  readonly signature: Bytes;
}

/** A new key, not yet stored. */
export interface NewPrekey {
  readonly kind: PrekeyKind;
  readonly id: number;
  readonly row: PrekeyRow;
}

/** Counters for an identity that has no prekeys yet. */
export function firstPrekeyState(random: Random): PrekeyState {
  const id = (): number => 1 + randomInt(random, LAST_ID);
  return {
    nextEcId: id(),
    nextSignedId: id(),
    nextKyberId: id(),
    signedId: null,
    signedAt: 0,
    lastResortId: null,
    lastResortAt: 0,
  };
}

/** The id `steps` after `id`, or before it where they are negative; after 0xFFFFFF comes 1. */
export function advanceId(id: number, steps: number): number {
  return ((((id - 1 + steps) % LAST_ID) + LAST_ID) % LAST_ID) + 1;
}

/** One-time EC keys with the ids from `firstId` on. */
export async function generateEcPrekeys(firstId: number, count: number, now: number): Promise<NewPrekey[]> {
  return generate(count, (index) => {
    const id = advanceId(firstId, index);
    const key = PrivateKey.generate();
    return {
      kind: 'ec',
      id,
      row: newRow(PreKeyRecord.new(id, key.getPublicKey(), key).serialize(), now, false),
    };
  });
}

/** One-time Kyber keys with the ids from `firstId` on. */
export async function generateKyberPrekeys(
  firstId: number,
  count: number,
  identity: StoredKeyPair,
  now: number,
): Promise<NewPrekey[]> {
  const signer = privateKeyOf(identity);
  return generate(count, (index) => newKyber(advanceId(firstId, index), signer, now, false));
}

export function generateLastResort(id: number, identity: StoredKeyPair, now: number): NewPrekey {
  return newKyber(id, privateKeyOf(identity), now, true);
}

export function generateSignedPrekey(id: number, identity: StoredKeyPair, now: number): NewPrekey {
  const key = PrivateKey.generate();
  const signature = privateKeyOf(identity).sign(key.getPublicKey().serialize());
  const record = SignedPreKeyRecord.new(id, now, key.getPublicKey(), key, signature);
  return { kind: 'signed', id, row: newRow(record.serialize(), now, false) };
}

/** Writes rows of keys that the server has not confirmed. */
export function putPrekeys(batch: Batch, identity: IdentityKind, keys: readonly NewPrekey[]): void {
  for (const { kind, id, row } of keys) prekeys.put(batch, identity, kind, id, row);
}

/** The public half of a stored one-time EC key. */
export function publicEcPrekey(record: Bytes): PublicPrekey {
  const prekey = PreKeyRecord.deserialize(record);
  return { id: prekey.id(), publicKey: prekey.publicKey().serialize() };
}

/** The public half of a stored signed or Kyber key. */
export function publicSignedPrekey(kind: 'signed' | 'kyber', record: Bytes): SignedPublicPrekey {
  const prekey =
    kind === 'signed' ? SignedPreKeyRecord.deserialize(record) : KyberPreKeyRecord.deserialize(record);
  return { id: prekey.id(), publicKey: prekey.publicKey().serialize(), signature: prekey.signature() };
}

function newKyber(id: number, signer: PrivateKey, now: number, lastResort: boolean): NewPrekey {
  const pair = KEMKeyPair.generate();
  const signature = signer.sign(pair.getPublicKey().serialize());
  return {
    kind: 'kyber',
    id,
    row: newRow(KyberPreKeyRecord.new(id, now, pair, signature).serialize(), now, lastResort),
  };
}

function newRow(record: Bytes, now: number, lastResort: boolean): PrekeyRow {
  return { record, createdAt: now, confirmedAt: 0, usedAt: 0, replacedAt: 0, lastResort };
}

async function yieldToOthers(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
}

async function generate(count: number, make: (index: number) => NewPrekey): Promise<NewPrekey[]> {
  const keys: NewPrekey[] = [];
  for (let index = 0; index < count; index++) {
    if (index > 0 && index % CHUNK === 0) await yieldToOthers();
    keys.push(make(index));
  }
  return keys;
}

function privateKeyOf(identity: StoredKeyPair): PrivateKey {
  return PrivateKey.deserialize(fromBase64(identity.privateKey));
}
