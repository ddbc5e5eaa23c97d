/**
 * Pending link: all that the request to register a device needs, and all that is needed should its answer get lost.
 *
 * It is written with the first signed and last-resort keys in one commit before the request leaves, and removed in the
 * commit that writes the account. So there is at every moment either a record of the device or no device.
 */
import { z } from 'zod';
import type { Aci, IdentityKind, Pni } from '../address.ts';
import { toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { randomInt, type Platform, type Random } from '../platform.ts';
import {
  advanceId,
  firstPrekeyState,
  generateLastResort,
  generateSignedPrekey,
  putPrekeys,
} from '../session/prekey-generation.ts';
import type { Batch, Store } from '../store/store.ts';
import {
  account as accountCell,
  facts,
  pendingLink,
  prekeys,
  prekeyStates,
  sessions,
  type Account,
  type StoredKeyPair,
} from '../store/tables.ts';
import { linkBody, type FirstKeys, type LinkBody } from './link-body.ts';
import type { Provision } from './provision-message.ts';

const MAX_REGISTRATION_ID = 16_383;
const PASSWORD_BYTES = 16;
/** Rows that one commit deletes. */
const DELETE_CHUNK = 200;

const pairSchema = z.object({ publicKey: z.string(), privateKey: z.string() });
const schema = z.object({
  aci: z.string(),
  pni: z.string().nullable(),
  number: z.string().nullable(),
  password: z.string(),
  name: z.string(),
  server: z.string(),
  registrationId: z.number(),
  pniRegistrationId: z.number().nullable(),
  identity: pairSchema,
  pniIdentity: pairSchema.nullable(),
  profileKey: z.string().nullable(),
  accountEntropyPool: z.string().nullable(),
  masterKey: z.string().nullable(),
  linkedAt: z.number(),
});

/** The account as far as it is known before the server has answered; see `Account` for the fields. */
export interface PendingLink extends Omit<Account, 'deviceId' | 'keysUploaded' | 'unlinkedAt'> {
  /** ms; when it was begun. */
  readonly linkedAt: number;
}

export interface PendingParts {
  readonly store: Store;
  readonly platform: Platform;
  /** The device's name, not encrypted. */
  readonly name: string;
  /** Chat origin. */
  readonly server: string;
}

/** What the server says once the device is registered. */
export interface Registered {
  readonly deviceId: number;
  readonly pni: Pni | null;
  readonly number: string | null;
}

/** @throws BotError `STORE_DAMAGED` */
export async function readPendingLink(batch: Batch): Promise<PendingLink | undefined> {
  const row = await pendingLink.get(batch);
  if (row === undefined) return undefined;
  const result = schema.safeParse(row);
  if (!result.success)
    throw new BotError('STORE_DAMAGED', 'the link that was begun is not readable', { cause: result.error });
  return { ...result.data, aci: result.data.aci as Aci, pni: result.data.pni as Pni | null };
}

/**
 * Makes password, registration ids and first keys, and commits them.
 * @returns the record, and the body of the request to register
 */
export async function beginLink(
  parts: PendingParts,
  provision: Provision,
): Promise<{ pending: PendingLink; body: LinkBody }> {
  const { store, platform, name, server } = parts;
  await deleteAll(store, prekeys.key());
  const { random } = platform;
  const now = platform.clock.now();
  const { code, ...known } = provision;
  const pending: PendingLink = {
    ...known,
    // 22 characters: the padding says nothing, and a colon cannot occur.
    password: toBase64(random.bytes(PASSWORD_BYTES)).replaceAll('=', ''),
    name,
    server,
    registrationId: newRegistrationId(random),
    pniRegistrationId: provision.pniIdentity ? newRegistrationId(random) : null,
    linkedAt: now,
  };
  const aciKeys = newKeys('aci', pending.identity, random, now);
  const pniKeys = pending.pniIdentity ? newKeys('pni', pending.pniIdentity, random, now) : undefined;

  const batch = store.batch();
  pendingLink.put(batch, pending);
  for (const keys of [aciKeys, pniKeys]) {
    if (!keys) continue;
    prekeyStates.put(batch, keys.identity, keys.state);
    putPrekeys(batch, keys.identity, [keys.signed, keys.lastResort]);
  }
  await batch.commit();
  return { pending, body: linkBody(pending, code, aciKeys, pniKeys) };
}

/**
 * The device is registered: writes the account, counts the first keys as confirmed, drops the record. Sessions of a
 * device that this one replaces end here, since its registration id is another.
 */
export async function completeLink(
  store: Store,
  pending: PendingLink,
  registered: Registered,
  now: number,
): Promise<Account> {
  await deleteAll(store, sessions.key());
  const account: Account = {
    ...pending,
    ...registered,
    linkedAt: now,
    keysUploaded: false,
    unlinkedAt: null,
  };
  const first = [...(await firstKeys(store, 'aci')), ...(await firstKeys(store, 'pni'))];
  const batch = store.batch();
  accountCell.put(batch, account);
  pendingLink.delete(batch);
  facts.delete(batch, 'senderCertificate');
  facts.delete(batch, 'sealedSender');
  for (const { identity, kind, id } of first) {
    const row = await prekeys.get(batch, identity, kind, id);
    if (row) prekeys.put(batch, identity, kind, id, { ...row, confirmedAt: now });
  }
  for (const identity of ['aci', 'pni'] as const) {
    const state = await prekeyStates.get(batch, identity);
    const signed = first.find((key) => key.identity === identity && key.kind === 'signed');
    const lastResort = first.find((key) => key.identity === identity && key.kind === 'kyber');
    if (!state || !signed || !lastResort) continue;
    prekeyStates.put(batch, identity, {
      ...state,
      signedId: signed.id,
      signedAt: now,
      lastResortId: lastResort.id,
      lastResortAt: now,
    });
  }
  await batch.commit();
  return account;
}

/** No device came of it: removes the record and its keys. */
export async function dropPendingLink(store: Store): Promise<void> {
  await deleteAll(store, prekeys.key());
  const batch = store.batch();
  pendingLink.delete(batch);
  for (const identity of ['aci', 'pni'] as const) prekeyStates.delete(batch, identity);
  await batch.commit();
}

function newKeys(identity: IdentityKind, pair: StoredKeyPair, random: Random, now: number): FirstKeys {
  const state = firstPrekeyState(random);
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

/** The signed and the last-resort key: all rows that there are before the one-time keys. */
async function firstKeys(
  store: Store,
  identity: IdentityKind,
): Promise<{ identity: IdentityKind; kind: 'signed' | 'kyber'; id: number }[]> {
  const keys: { identity: IdentityKind; kind: 'signed' | 'kyber'; id: number }[] = [];
  for (const kind of ['signed', 'kyber'] as const) {
    for await (const [id] of prekeys.scan(store, [identity, kind]))
      keys.push({ identity, kind, id: Number(id) });
  }
  return keys;
}

function newRegistrationId(random: Random): number {
  return 1 + randomInt(random, MAX_REGISTRATION_ID);
}

async function deleteAll(store: Store, prefix: string): Promise<void> {
  for (;;) {
    const keys: string[] = [];
    for await (const [key] of store.scan(prefix, { limit: DELETE_CHUNK })) keys.push(key);
    if (keys.length === 0) return;
    const batch = store.batch();
    for (const key of keys) batch.delete(key);
    await batch.commit();
  }
}
