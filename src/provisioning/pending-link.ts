/**
 * Pending link: all that the request to register a device needs, and all that is needed should its answer get lost.
 *
 * It is written with the first signed and last-resort keys in one commit before the request leaves, and removed in the
 * commit that writes the account. So there is at every moment either a record of the device or no device.
 */
import { z } from 'zod';
import type { Aci, IdentityKind, Pni } from '../address.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import {
  confirmFirstKeys,
  newFirstKeys,
  newPassword,
  newRegistrationId,
  putFirstKeys,
} from '../session/first-keys.ts';
import type { Provision } from '../session/provision-message.ts';
import { deleteAll } from '../store/delete-all.ts';
import type { Batch, Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import {
  account as accountCell,
  facts,
  pendingLink,
  prekeys,
  prekeyStates,
  sessions,
} from '../store/tables.ts';
import { linkBody, type LinkBody } from './link-body.ts';

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
    password: newPassword(random),
    name,
    server,
    registrationId: newRegistrationId(random),
    pniRegistrationId: provision.pniIdentity ? newRegistrationId(random) : null,
    linkedAt: now,
  };
  const aciKeys = newFirstKeys('aci', pending.identity, random, now);
  const pniKeys = pending.pniIdentity ? newFirstKeys('pni', pending.pniIdentity, random, now) : undefined;

  const batch = store.batch();
  pendingLink.put(batch, pending);
  for (const keys of [aciKeys, pniKeys]) if (keys) putFirstKeys(batch, keys);
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
  const first = { aci: await firstKeyIds(store, 'aci'), pni: await firstKeyIds(store, 'pni') };
  const batch = store.batch();
  accountCell.put(batch, account);
  pendingLink.delete(batch);
  facts.delete(batch, 'senderCertificate');
  facts.delete(batch, 'sealedSender');
  for (const identity of ['aci', 'pni'] as const) {
    const ids = first[identity];
    if (ids) await confirmFirstKeys(batch, identity, ids, now);
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

/** The signed and the last-resort key: all rows that there are before the one-time keys. */
async function firstKeyIds(
  store: Store,
  identity: IdentityKind,
): Promise<{ signedId: number; lastResortId: number } | undefined> {
  const ids: Record<'signed' | 'kyber', number | undefined> = { signed: undefined, kyber: undefined };
  for (const kind of ['signed', 'kyber'] as const) {
    for await (const [id] of prekeys.scan(store, [identity, kind])) ids[kind] = Number(id);
  }
  if (ids.signed === undefined || ids.kyber === undefined) return undefined;
  return { signedId: ids.signed, lastResortId: ids.kyber };
}
