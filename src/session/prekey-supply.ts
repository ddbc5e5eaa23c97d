/**
 * Prekey supply: one-time keys made, uploaded and counted, in an order that loses none.
 *
 *   stored, not confirmed --upload--> confirmed; the ones before them are replaced
 *
 * The server replaces its whole list by an upload, so the private halves of the earlier ones are only marked: messages
 * built on them may be under way. Keys of an upload that failed are offered again, save those that have been used since
 * (the server had taken them after all). Spec: protocol brief, sections 3.1 and 3.4.
 */
import type { IdentityKind } from '../address.ts';
import type { Clock, Random } from '../platform.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Store } from '../store/store.ts';
import type { PrekeyRow, StoredKeyPair } from '../store/rows.ts';
import { prekeys, prekeyStates } from '../store/tables.ts';
import {
  advanceId,
  firstPrekeyState,
  generateEcPrekeys,
  generateKyberPrekeys,
  ONE_TIME_BATCH,
  publicEcPrekey,
  publicSignedPrekey,
  putPrekeys,
  type NewPrekey,
  type PublicPrekey,
  type SignedPublicPrekey,
} from './prekey-generation.ts';

/** Rows that one commit marks as replaced: few, since sessions mark keys as used meanwhile. */
const CHUNK = 25;
/** Ids that are looked at for the newest one-time key. */
const NEWEST = 10;

export interface OneTimeUpload {
  readonly ec?: PublicPrekey[];
  readonly kyber?: SignedPublicPrekey[];
}

export interface SupplyParts<Outcome> {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  /** Sends the public halves to the server. */
  upload(identity: IdentityKind, keys: OneTimeUpload): Promise<Outcome>;
  isStored(outcome: Outcome): boolean;
}

/**
 * Gives the server 100 fresh one-time keys of one kind.
 * @returns the upload's outcome; whatever it is, nothing is lost and it is safe to call again
 * @throws what the upload throws; BotError `STORE_WRITE_FAILED`
 */
export async function supplyOneTimeKeys<Outcome>(
  parts: SupplyParts<Outcome>,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
  pair: StoredKeyPair,
): Promise<Outcome> {
  const { store, clock } = parts;
  const fresh = await unconfirmedKeys(store, identity, kind);
  if (fresh.size < ONE_TIME_BATCH) {
    const more = await makeKeys(parts, identity, kind, pair, ONE_TIME_BATCH - fresh.size);
    for (const { id, row } of more) fresh.set(id, row.record);
  }
  const records = [...fresh.values()];
  const outcome = await parts.upload(
    identity,
    kind === 'ec'
      ? { ec: records.map(publicEcPrekey) }
      : { kyber: records.map((record) => publicSignedPrekey('kyber', record)) },
  );
  if (parts.isStored(outcome))
    await confirmOneTimeKeys(store, identity, kind, new Set(fresh.keys()), clock.now());
  return outcome;
}

/** Unused one-time keys that no answer of the server has confirmed: id to record. */
export async function unconfirmedKeys(
  store: Store,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
): Promise<Map<number, PrekeyRow['record']>> {
  const found = new Map<number, PrekeyRow['record']>();
  if (await isNewestConfirmed(store, identity, kind)) return found;
  for await (const [id, row] of prekeys.scan(store, [identity, kind])) {
    if (row.confirmedAt !== 0 || row.usedAt !== 0 || row.replacedAt !== 0 || row.lastResort) continue;
    if (found.size < ONE_TIME_BATCH) found.set(Number(id), row.record);
  }
  return found;
}

/**
 * Keys are confirmed together with all before them, so the newest one tells of them all. A scan of hundreds of large rows
 * would stay in the memory of an idle device.
 */
async function isNewestConfirmed(
  store: Store,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
): Promise<boolean> {
  const batch = store.batch();
  const state = await prekeyStates.get(batch, identity);
  if (state === undefined) return false;
  const next = kind === 'ec' ? state.nextEcId : state.nextKyberId;
  for (let back = 1; back <= NEWEST; back++) {
    const row = await prekeys.get(batch, identity, kind, advanceId(next, -back));
    // Last-resort keys are among the Kyber keys, and a one-time key may be used up.
    if (row !== undefined && !row.lastResort) return row.confirmedAt !== 0;
  }
  return false;
}

/**
 * Counts `fresh` as the server's, and the other unused ones as replaced. A crash on the way is made good by the next
 * call.
 */
export async function confirmOneTimeKeys(
  store: Store,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
  fresh: ReadonlySet<number>,
  now: number,
): Promise<void> {
  const replaced: number[] = [];
  for await (const [key, row] of prekeys.scan(store, [identity, kind])) {
    const isCurrent = !row.lastResort && row.usedAt === 0 && row.replacedAt === 0;
    if (isCurrent && !fresh.has(Number(key))) replaced.push(Number(key));
  }
  // One commit: the keys of one upload are confirmed together or not at all.
  await changeRows(store, identity, kind, [...fresh], { confirmedAt: now });
  for (let start = 0; start < replaced.length; start += CHUNK) {
    await changeRows(store, identity, kind, replaced.slice(start, start + CHUNK), { replacedAt: now });
  }
}

async function changeRows(
  store: Store,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
  ids: readonly number[],
  change: Partial<PrekeyRow>,
): Promise<void> {
  await writeAgainOnConflict(store, async (batch) => {
    for (const id of ids) {
      // A session may have marked or removed it meanwhile.
      const row = await prekeys.get(batch, identity, kind, id);
      if (row) prekeys.put(batch, identity, kind, id, { ...row, ...change });
    }
  });
}

/** Whether one-time keys of this kind have ever been confirmed and are still here. */
export async function hasConfirmedKeys(
  store: Store,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
): Promise<boolean> {
  for await (const [, row] of prekeys.scan(store, [identity, kind])) {
    if (row.confirmedAt !== 0 && !row.lastResort) return true;
  }
  return false;
}

async function makeKeys<Outcome>(
  parts: SupplyParts<Outcome>,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
  pair: StoredKeyPair,
  count: number,
): Promise<NewPrekey[]> {
  const now = parts.clock.now();
  // The ids are taken first, so that no second call can make keys of the same name.
  const firstId = await writeAgainOnConflict(parts.store, async (batch) => {
    const state = (await prekeyStates.get(batch, identity)) ?? firstPrekeyState(parts.random);
    const first = kind === 'ec' ? state.nextEcId : state.nextKyberId;
    const next = advanceId(first, count);
    prekeyStates.put(batch, identity, {
      ...state,
      ...(kind === 'ec' ? { nextEcId: next } : { nextKyberId: next }),
    });
    return first;
  });
  const keys =
    kind === 'ec'
      ? await generateEcPrekeys(firstId, count, now)
      : await generateKyberPrekeys(firstId, count, pair, now);
  await writeAgainOnConflict(parts.store, async (batch) => {
    putPrekeys(batch, identity, keys);
    return Promise.resolve();
  });
  return keys;
}
