/**
 * Inspect: what the rows of one account say, in the shapes of the CLI contract, and acting on rows that are stuck.
 * Used on a store that was opened for it, and through the control socket of a running bot.
 */
import type { DropCounts } from './inbox/intake.ts';
import { isAci, parseServiceId, type Aci, type IdentityKind, type ServiceId } from './address.ts';
import { BotError } from './errors.ts';
import * as progress from './inbox/progress.ts';
import type { ConnectionState } from './transport/request.ts';
import type { Store } from './store/store.ts';
import type { Account, Contact, Identity } from './store/rows.ts';
import {
  account,
  contacts,
  deadRows,
  identityRows,
  inboxRows,
  outboxRows,
  prekeys,
  quarantineRows,
} from './store/tables.ts';

/** Keys are 33 bytes in base64. */
export interface Me {
  readonly aci: Aci;
  readonly pni: string | null;
  readonly number: string | null;
  readonly deviceId: number;
  readonly name: string;
  readonly identityKey: string;
  readonly pniIdentityKey: string | null;
  readonly server: string;
}

/** One-time keys that are neither used nor replaced. */
export interface PrekeyCounts {
  readonly ec: number;
  readonly kyber: number;
}

export interface Status {
  readonly linked: boolean;
  readonly connection: ConnectionState;
  readonly inbox: number;
  readonly outbox: number;
  readonly dead: number;
  readonly quarantine: number;
  readonly prekeys: Readonly<Record<IdentityKind, PrekeyCounts>>;
  readonly plugins: readonly string[];
  /** What was dropped without a word since the bot started; absent where none runs. */
  readonly dropped?: DropCounts;
}

export interface ContactLine {
  readonly aci: Aci;
  readonly number: string | null;
  readonly name: string | null;
  /** `unknown` until a key of theirs was seen. */
  readonly trust: string;
}

export interface OutboxLine {
  readonly id: string;
  readonly recipient: string;
  readonly timestamp: number;
  readonly state: string;
  readonly attempts: number;
  readonly kind: string;
  /** Code of the last failure. */
  readonly error?: string;
  /** ms */
  readonly retryAt?: number;
}

export interface QuarantineLine {
  readonly id: string;
  /** Null when the sender could not be read. */
  readonly from: string | null;
  readonly device: number | null;
  readonly timestamp: number;
  readonly reason: string;
}

export interface DeadLine {
  readonly id: string;
  readonly from: string;
  readonly timestamp: number;
  readonly plugin: string;
  readonly attempts: number;
  readonly error: string;
}

export interface TrustLine {
  readonly aci: string;
  readonly state: Identity['state'];
  /** Base64, 33 bytes. */
  readonly identityKey: string;
  /** ms */
  readonly since: number;
}

/** What is held of each contact's identity. */
export async function listTrust(store: Store): Promise<{ contacts: TrustLine[] }> {
  const contacts: TrustLine[] = [];
  for await (const [aci, { state, key, since }] of identityRows.scan(store)) {
    contacts.push({ aci, state, identityKey: key, since });
  }
  return { contacts };
}

/** @throws BotError `NOT_LINKED` also for an account that the server has unlinked */
export async function linkedAccount(store: Store): Promise<Account> {
  const found = await account.get(store.batch());
  if (found === undefined) throw new BotError('NOT_LINKED', 'no device is linked here');
  if (found.unlinkedAt !== null) throw new BotError('DEVICE_UNLINKED', 'the server has removed this device');
  return found;
}

/** Readable after unlinking too. @throws BotError `NOT_LINKED` */
export async function me(store: Store): Promise<Me> {
  const found = await account.get(store.batch());
  if (found === undefined) throw new BotError('NOT_LINKED', 'no device is linked here');
  return {
    aci: found.aci,
    pni: bareId(found.pni),
    number: found.number,
    deviceId: found.deviceId,
    name: found.name,
    identityKey: found.identity.publicKey,
    pniIdentityKey: found.pniIdentity?.publicKey ?? null,
    server: found.server,
  };
}

/** @param running what only a running bot knows */
export async function status(
  store: Store,
  running: Pick<Status, 'connection' | 'plugins' | 'dropped'>,
): Promise<Status> {
  const found = await account.get(store.batch());
  return {
    linked: found?.unlinkedAt === null,
    connection: running.connection,
    inbox: await count(inboxRows.scan(store)),
    outbox: await count(outboxRows.scan(store)),
    dead: await count(deadRows.scan(store)),
    quarantine: await count(quarantineRows.scan(store)),
    prekeys: { aci: await countPrekeys(store, 'aci'), pni: await countPrekeys(store, 'pni') },
    plugins: running.plugins,
    ...(running.dropped === undefined ? {} : { dropped: running.dropped }),
  };
}

/** Of a folder where nothing was ever linked. */
export const NOTHING_LINKED: Status = {
  linked: false,
  connection: 'stopped',
  inbox: 0,
  outbox: 0,
  dead: 0,
  quarantine: 0,
  prekeys: { aci: { ec: 0, kyber: 0 }, pni: { ec: 0, kyber: 0 } },
  plugins: [],
};

/** Everyone we know of by ACI, ourselves left out. */
export async function listContacts(store: Store): Promise<{ contacts: ContactLine[] }> {
  const own = (await account.get(store.batch()))?.aci;
  const known = new Map<Aci, Contact>();
  const trust = new Map<string, string>();
  for await (const [id, row] of identityRows.scan(store)) {
    trust.set(id, row.state);
    if (isAci(id)) known.set(id, {});
  }
  for await (const [id, row] of contacts.scan(store)) if (isAci(id)) known.set(id, row);
  return {
    contacts: [...known]
      .filter(([aci]) => aci !== own)
      .map(([aci, { number, name }]) => ({
        aci,
        number: number ?? null,
        name: name ?? null,
        trust: trust.get(aci) ?? 'unknown',
      })),
  };
}

export async function listOutbox(store: Store): Promise<{ rows: OutboxLine[] }> {
  const rows: OutboxLine[] = [];
  for await (const [, row] of outboxRows.scan(store)) {
    const { recipient, timestamp, state, attempts, kind, error, retryAt } = row;
    rows.push({
      id: `${recipient}/${String(timestamp)}`,
      recipient,
      timestamp,
      state,
      attempts,
      kind,
      ...(error === '' ? {} : { error }),
      ...(retryAt === 0 ? {} : { retryAt }),
    });
  }
  return { rows };
}

export async function listQuarantine(store: Store): Promise<{ rows: QuarantineLine[] }> {
  const rows: QuarantineLine[] = [];
  for await (const [key, { source, sourceDevice, timestamp, reason }] of quarantineRows.scan(store)) {
    const from = source === '' ? null : source;
    rows.push({ id: idOf(key), from, device: sourceDevice === 0 ? null : sourceDevice, timestamp, reason });
  }
  return { rows };
}

export async function listDead(store: Store): Promise<{ rows: DeadLine[] }> {
  const rows: DeadLine[] = [];
  for await (const [key, { source, timestamp, plugin, attempts, error }] of deadRows.scan(store)) {
    rows.push({ id: idOf(key), from: source, timestamp, plugin, attempts, error });
  }
  return { rows };
}

/** Removes a quarantined envelope for good. @throws BotError `USAGE` when there is no such row */
export async function dropQuarantined(store: Store, id: string): Promise<{ id: string }> {
  const batch = store.batch();
  const number = rowNumber(id);
  if ((await quarantineRows.get(batch, number)) === undefined) throw noRow(id);
  quarantineRows.delete(batch, number);
  await batch.commit();
  return { id };
}

/** Removes a message whose handler failed. @throws BotError `USAGE` when there is no such row */
export async function dropDead(store: Store, id: string): Promise<{ id: string }> {
  if (!(await progress.dropDead(store, rowNumber(id)))) throw noRow(id);
  return { id };
}

/** Puts a dead message back into the inbox, with all its attempts ahead. @throws BotError `USAGE` */
export async function retryDead(store: Store, id: string): Promise<{ id: string }> {
  if (!(await progress.retryDead(store, rowNumber(id)))) throw noRow(id);
  return { id };
}

/**
 * Who is meant: an ACI, `PNI:uuid`, `self`, or a number or name that exactly one known contact has.
 * @throws BotError `RECIPIENT_UNKNOWN`, `NOT_LINKED`
 */
export async function resolveRecipient(store: Store, text: string): Promise<ServiceId> {
  if (text === 'self') return (await linkedAccount(store)).aci;
  if (/^(PNI:)?[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)) return parseServiceId(text);
  const own = await account.get(store.batch());
  const matches = new Set<ServiceId>();
  if (own?.number === text) matches.add(own.aci);
  for await (const [id, { number, name }] of contacts.scan(store)) {
    if (number === text || name === text) matches.add(parseServiceId(id));
  }
  const [only] = matches;
  if (only !== undefined && matches.size === 1) return only;
  const found = matches.size === 0 ? 'no contact has' : `${String(matches.size)} contacts have`;
  throw new BotError('RECIPIENT_UNKNOWN', `${found} this name or number`);
}

async function countPrekeys(store: Store, identity: IdentityKind): Promise<PrekeyCounts> {
  const counts = { ec: 0, kyber: 0 };
  for (const kind of ['ec', 'kyber'] as const) {
    for await (const [, row] of prekeys.scan(store, [identity, kind])) {
      if (row.usedAt === 0 && row.replacedAt === 0 && row.confirmedAt !== 0 && !row.lastResort)
        counts[kind] += 1;
    }
  }
  return counts;
}

async function count(rows: AsyncIterable<unknown>): Promise<number> {
  let total = 0;
  for await (const row of rows) if (row !== undefined) total += 1;
  return total;
}

/** Keys hold 16 digits; people get the plain number. */
function idOf(key: string): string {
  return String(Number(key));
}

function rowNumber(id: string): number {
  const number = Number(id);
  if (!/^\d{1,16}$/.test(id) || !Number.isSafeInteger(number)) throw noRow(id);
  return number;
}

/** Ids are bare UUIDs in JSON; the field's name says of what. */
export function bareId(pni: string | null): string | null {
  return pni?.replace(/^PNI:/, '') ?? null;
}

function noRow(id: string): BotError {
  return new BotError('ROW_UNKNOWN', `there is no row ${id}`);
}
