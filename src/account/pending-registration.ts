/**
 * Pending registration: all that the request to register needs, and all that is needed should its answer get lost.
 *
 *   begun (session, captcha, code) --keys--> sent --answered--> account row, this record removed
 *
 * Keys and password are durable before the request leaves. The server knows an account by its number and not by a name of
 * ours, so a request without an answer is made again as it was: it registers, or registers the same keys once more.
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import { AccountEntropyPool } from '@signalapp/libsignal-client/dist/AccountKeys.js';
import { z } from 'zod';
import type { IdentityKind } from '../address.ts';
import { toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import type { RegistrationOutcome } from '../service/registration.ts';
import {
  confirmFirstKeys,
  newFirstKeys,
  newPassword,
  newRegistrationId,
  putFirstKeys,
} from '../session/first-keys.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import { deleteAll } from '../store/delete-all.ts';
import type { Batch, Store } from '../store/store.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';
import {
  account as accountCell,
  facts,
  pendingRegistration,
  prekeys,
  prekeyStates,
  sessions,
} from '../store/tables.ts';

/** Name of the fact with the account's media backup key: base64, 32 bytes. */
export const MEDIA_KEY = 'mediaRootBackupKey';

const SECRET_BYTES = 32;

const pairSchema = z.object({ publicKey: z.string(), privateKey: z.string() });
const idsSchema = z.object({ signedId: z.number(), lastResortId: z.number() });
const schema = z.object({
  number: z.string(),
  name: z.string(),
  server: z.string(),
  password: z.string(),
  registrationId: z.number(),
  pniRegistrationId: z.number(),
  identity: pairSchema,
  pniIdentity: pairSchema,
  profileKey: z.string(),
  accountEntropyPool: z.string(),
  masterKey: z.string(),
  mediaRootBackupKey: z.string(),
  sessionId: z.string().nullable(),
  codeRequested: z.boolean(),
  /** How the code was sent. */
  codeTransport: z.enum(['sms', 'voice']).default('sms'),
  takeOver: z.boolean(),
  keys: z.object({ aci: idsSchema, pni: idsSchema }).nullable(),
});

/** Secrets in base64; see `Account` for the fields of that name. */
export type PendingRegistration = Readonly<z.infer<typeof schema>>;
/** What is known of it changes; the secrets do not. */
type Progress = Pick<PendingRegistration, 'sessionId' | 'codeRequested' | 'codeTransport' | 'takeOver'>;

export type Registered = Extract<RegistrationOutcome, { kind: 'registered' }>;

/** @throws BotError `STORE_DAMAGED` */
export async function readPendingRegistration(batch: Batch): Promise<PendingRegistration | undefined> {
  const row = await pendingRegistration.get(batch);
  if (row === undefined) return undefined;
  const result = schema.safeParse(row);
  if (result.success) return result.data;
  throw new BotError('STORE_DAMAGED', 'the registration that was begun is not readable', {
    cause: result.error,
  });
}

/**
 * Makes and commits the secrets of a new account; those of `known` stay, so that its contacts see no new safety number.
 * @param known the account, where it was registered here before
 */
export async function beginRegistration(
  { store, platform: { random } }: { readonly store: Store; readonly platform: Platform },
  wanted: Pick<PendingRegistration, 'number' | 'name' | 'server' | 'takeOver'>,
  known: Account | undefined,
): Promise<PendingRegistration> {
  const batch = store.batch();
  const accountEntropyPool = known?.accountEntropyPool ?? AccountEntropyPool.generate();
  const mediaKey = await facts.get(batch, MEDIA_KEY);
  const pending: PendingRegistration = {
    ...wanted,
    password: newPassword(random),
    registrationId: newRegistrationId(random),
    pniRegistrationId: newRegistrationId(random),
    identity: known?.identity ?? newPair(),
    pniIdentity: known?.pniIdentity ?? newPair(),
    profileKey: known?.profileKey ?? toBase64(random.bytes(SECRET_BYTES)),
    accountEntropyPool,
    masterKey: toBase64(AccountEntropyPool.deriveSvrKey(accountEntropyPool)),
    mediaRootBackupKey: typeof mediaKey === 'string' ? mediaKey : toBase64(random.bytes(SECRET_BYTES)),
    sessionId: null,
    codeRequested: false,
    codeTransport: 'sms',
    keys: null,
  };
  pendingRegistration.put(batch, pending);
  await batch.commit();
  return pending;
}

export async function noteProgress(
  store: Store,
  pending: PendingRegistration,
  progress: Partial<Progress>,
): Promise<PendingRegistration> {
  const next = { ...pending, ...progress };
  const batch = store.batch();
  pendingRegistration.put(batch, next);
  await batch.commit();
  return next;
}

/** Makes the signed and last-resort keys beside what there is, and commits them: the request may leave now. */
export async function makeKeys(
  { store, platform }: { readonly store: Store; readonly platform: Platform },
  pending: PendingRegistration,
): Promise<PendingRegistration> {
  if (pending.keys !== null) return pending;
  const { random, clock } = platform;
  return writeAgainOnConflict(store, async (batch) => {
    const ids = { aci: { signedId: 0, lastResortId: 0 }, pni: { signedId: 0, lastResortId: 0 } };
    const pairs = [
      ['aci', pending.identity],
      ['pni', pending.pniIdentity],
    ] as const;
    for (const [identity, pair] of pairs) {
      const keys = newFirstKeys(identity, pair, random, clock.now(), await prekeyStates.get(batch, identity));
      putFirstKeys(batch, keys);
      ids[identity] = { signedId: keys.signed.id, lastResortId: keys.lastResort.id };
    }
    const next = { ...pending, keys: ids };
    pendingRegistration.put(batch, next);
    return next;
  });
}

/** The server has refused: the keys were never used, and what else was begun is kept for another attempt. */
export async function dropKeys(store: Store, pending: PendingRegistration): Promise<PendingRegistration> {
  if (pending.keys === null) return pending;
  const { keys } = pending;
  const next: PendingRegistration = { ...pending, keys: null };
  const batch = store.batch();
  for (const identity of ['aci', 'pni'] as const) {
    prekeys.delete(batch, identity, 'signed', keys[identity].signedId);
    prekeys.delete(batch, identity, 'kyber', keys[identity].lastResortId);
  }
  pendingRegistration.put(batch, next);
  await batch.commit();
  return next;
}

/** Nothing came of it: removes the record. */
export async function dropRegistration(store: Store, pending: PendingRegistration): Promise<void> {
  await dropKeys(store, pending);
  const batch = store.batch();
  pendingRegistration.delete(batch);
  await batch.commit();
}

/**
 * The device is registered: writes the account and drops the record. Sessions and keys of an earlier registration end
 * here, since the server has forgotten them.
 */
export async function completeRegistration(
  store: Store,
  pending: PendingRegistration,
  registered: Registered,
  now: number,
): Promise<Account> {
  const { keys } = pending;
  if (keys === null) throw new BotError('INTERNAL', 'a registration without keys was answered');
  await deleteAll(store, sessions.key());
  const current = (['aci', 'pni'] as const).flatMap((identity: IdentityKind) => [
    prekeys.key(identity, 'signed', keys[identity].signedId),
    prekeys.key(identity, 'kyber', keys[identity].lastResortId),
  ]);
  await deleteAll(store, prekeys.key(), new Set(current));

  const account: Account = {
    aci: registered.aci,
    pni: registered.pni ?? null,
    number: registered.number ?? pending.number,
    deviceId: 1,
    password: pending.password,
    name: pending.name,
    server: pending.server,
    registrationId: pending.registrationId,
    pniRegistrationId: pending.pniRegistrationId,
    identity: pending.identity,
    pniIdentity: pending.pniIdentity,
    profileKey: pending.profileKey,
    accountEntropyPool: pending.accountEntropyPool,
    masterKey: pending.masterKey,
    linkedAt: now,
    keysUploaded: false,
    unlinkedAt: null,
  };
  return writeAgainOnConflict(store, async (batch) => {
    accountCell.put(batch, account);
    pendingRegistration.delete(batch);
    facts.put(batch, MEDIA_KEY, pending.mediaRootBackupKey);
    facts.delete(batch, 'senderCertificate');
    facts.delete(batch, 'sealedSender');
    for (const identity of ['aci', 'pni'] as const)
      await confirmFirstKeys(batch, identity, keys[identity], now);
    return account;
  });
}

function newPair(): StoredKeyPair {
  const key = PrivateKey.generate();
  return { publicKey: toBase64(key.getPublicKey().serialize()), privateKey: toBase64(key.serialize()) };
}
