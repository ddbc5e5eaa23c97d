/**
 * Tables: every key layout of the store, as typed functions over a batch. Each table names its one writer.
 *
 * Numbers in keys have a fixed width, so that key order is number order. Rows written for every message are protobuf
 * (proto/store.proto), the others JSON with bytes in base64.
 */
import type { Aci, DeviceId, IdentityKind, Pni, ServiceId } from '../address.ts';
import { decodeProto, fromUtf8, own, toTime, toUtf8, type Bytes, type Decodable } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { rows } from '../proto/messages.js';
import type { Exposure, Identity, Policy } from './identity-row.ts';
import { onceRead, type Reading } from './reading.ts';
import type { ScanOptions, Staging, Store } from './store.ts';

export type { Identity, Policy } from './identity-row.ts';

/** A key pair in base64: 33-byte public, 32-byte private. */
export interface StoredKeyPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** Who we are. */
export interface Account {
  readonly aci: Aci;
  readonly pni: Pni | null;
  readonly number: string | null;
  readonly deviceId: DeviceId;
  /** The device's secret towards the server. */
  readonly password: string;
  readonly name: string;
  /** Chat origin the device is linked to. */
  readonly server: string;
  readonly registrationId: number;
  readonly pniRegistrationId: number | null;
  readonly identity: StoredKeyPair;
  readonly pniIdentity: StoredKeyPair | null;
  /** Base64, 32 bytes. */
  readonly profileKey: string | null;
  readonly accountEntropyPool: string | null;
  /** Base64, 32 bytes. */
  readonly masterKey: string | null;
  /** ms */
  readonly linkedAt: number;
  /** False between "device registered" and "keys uploaded"; the next start takes the upload up again. */
  readonly keysUploaded: boolean;
  /** ms; set when the server has removed this device. What is stored is kept. */
  readonly unlinkedAt: number | null;
}

/** Counters and times of one identity's prekeys. */
export interface PrekeyState {
  readonly nextEcId: number;
  readonly nextSignedId: number;
  readonly nextKyberId: number;
  readonly signedId: number | null;
  /** ms */
  readonly signedAt: number;
  readonly lastResortId: number | null;
  /** ms */
  readonly lastResortAt: number;
}

/** What we know of one peer's devices, from sessions we hold. */
export interface Peer {
  readonly devices: readonly PeerDevice[];
  /** ms; until then the server said that the account is not registered. */
  readonly unregisteredUntil?: number;
  /** Sealed sending: what worked last. `unknown` is tried sealed when there is a key. */
  readonly sealed?: 'unknown' | 'refused';
  /** Base64, 32 bytes; from their messages. */
  readonly profileKey?: string;
  /** Hash of our tag set that we have announced to this peer; empty: a device of theirs has come since. */
  readonly announced?: string;
}

export interface PeerDevice {
  readonly id: DeviceId;
  /** Of the identity that the service id names; a new value means that the device was relinked. */
  readonly registrationId: number;
  /** The tags that this device announced; absent until it has. */
  readonly tags?: readonly string[];
}

/** The time of a contact's carrier. */
export interface Carrier {
  /** ms */
  readonly since: number;
  /** The run is over; it goes once what was parked has been opened again. */
  readonly ending: boolean;
}

/** A contact as the account's phone told us, or as their messages did. */
export interface Contact {
  readonly number?: string;
  readonly name?: string;
  readonly blocked?: boolean;
}

/** What a linked device asks its primary one for. */
export type SyncRequest = 'contacts' | 'blocked' | 'configuration' | 'keys';

export interface InboxRow {
  readonly source: ServiceId;
  readonly sourceDevice: DeviceId;
  /** ms, the sender's. */
  readonly timestamp: number;
  /** ms */
  readonly serverTimestamp: number;
  readonly sealed: boolean;
  readonly toPni: boolean;
  /** Content, padding removed. */
  readonly content: Bytes;
  readonly attempts: number;
  /** ms, 0 = now */
  readonly retryAt: number;
  readonly error: string;
  readonly plugin: string;
  /** ms */
  readonly receivedAt: number;
  /** Absent or empty until a plugin has had it. */
  readonly progress?: readonly Progress[];
  /** 33 bytes: the key under which it was opened; absent or empty where libsignal asked for none. */
  readonly identityKey?: Bytes;
}

/** How far one plugin has come with an inbox row. */
export interface Progress {
  readonly plugin: string;
  /** Its writes are committed. */
  readonly done: boolean;
  /** That failed. */
  readonly attempts: number;
  /** ms, 0 = now */
  readonly retryAt: number;
  /** Of the last attempt. */
  readonly error: string;
  /** Weight of the calls that the process did not outlive; absent or 0: none. */
  readonly deaths?: number;
}

export type OutboxKind = 'text' | 'app' | 'announce' | 'receipt' | 'sync' | 'null' | 'retry' | 'resend';

export interface OutboxRow {
  readonly recipient: ServiceId;
  /** ms; names the message on the wire. */
  readonly timestamp: number;
  /** Content, not padded. */
  readonly content: Bytes;
  readonly kind: OutboxKind;
  /** Empty: all of them. */
  readonly devices: readonly DeviceId[];
  /** App tag: the devices that are known to lack it get a filler. */
  readonly tag: string;
  readonly urgent: boolean;
  /** Our own other devices get a sync transcript. */
  readonly transcript: boolean;
  readonly attempts: number;
  /** ms, 0 = now */
  readonly retryAt: number;
  /** `held`: waits for the contact to be trusted; `failed`: will not be sent. Both are kept for a while to be looked at. */
  readonly state: 'queued' | 'held' | 'failed';
  /** Code of the last failure. */
  readonly error: string;
  /** Kept in the sent log, to answer retry requests. */
  readonly log: boolean;
  /** Kind `retry`: a serialized PlaintextContent, sent as it is. */
  readonly plaintext: Bytes;
  /** What is asked of the recipient; absent or empty: `tofu`. */
  readonly policy?: Policy | '';
  /** A verification frame that goes by the carrier. */
  readonly carrier?: boolean;
}

export interface SentRow {
  readonly content: Bytes;
  /** ms */
  readonly sentAt: number;
  readonly devices: readonly DeviceId[];
  readonly urgent: boolean;
  readonly tag: string;
}

export interface QuarantineRow {
  readonly source: string;
  readonly sourceDevice: number;
  /** ms, the sender's. */
  readonly timestamp: number;
  /** ms */
  readonly at: number;
  readonly reason: string;
  /** The envelope as it came. */
  readonly envelope: Bytes;
}

export interface PrekeyRow {
  readonly record: Bytes;
  /** ms */
  readonly createdAt: number;
  /** ms, 0 = the server has not taken it yet */
  readonly confirmedAt: number;
  /** ms, 0 = unused */
  readonly usedAt: number;
  /** ms, 0 = current */
  readonly replacedAt: number;
  readonly lastResort: boolean;
}

export type PrekeyKind = 'ec' | 'signed' | 'kyber';

const WIDTH = 16;
/** A number for a key: 16 decimal digits, so that order in text is order in number. */
export function padded(value: number): string {
  return String(value).padStart(WIDTH, '0');
}

/** A single row. */
export interface Cell<T> {
  get(batch: Staging): Reading<T | undefined>;
  put(batch: Staging, value: T): void;
  delete(batch: Staging): void;
}

/** Rows that `K` names. */
export interface Table<K extends readonly unknown[], T> {
  /** Of the row that `key` names, or the beginning of several. */
  key(...key: Partial<K>): string;
  get(batch: Staging, ...key: K): Reading<T | undefined>;
  put(batch: Staging, ...keyThenValue: [...K, T]): void;
  delete(batch: Staging, ...key: K): void;
  /** All rows whose key begins with these parts, in order; the first of the pair is the last key part or parts. */
  scan(
    store: Store,
    prefix?: Partial<K>,
    options?: ScanOptions,
  ): AsyncIterable<readonly [rest: string, value: T]>;
}

interface Codec<T> {
  encode(value: T): Bytes;
  decode(bytes: Bytes): T;
}

/** Rows that are read for every message are parsed once as long as the store hands out the same bytes. */
function json<T>(): Codec<T> {
  const parsed = new WeakMap<Bytes, { readonly value: T }>();
  return {
    encode: (value) => fromUtf8(JSON.stringify(value)),
    decode: (bytes) => {
      const known = parsed.get(bytes);
      if (known !== undefined) return known.value;
      try {
        const value = JSON.parse(toUtf8(bytes)) as T;
        parsed.set(bytes, { value });
        return value;
      } catch (cause) {
        throw new BotError('STORE_DAMAGED', 'a row of the store is not readable', { cause });
      }
    },
  };
}

interface ProtoType<P> extends Decodable<P> {
  encode(message: object): { finish(): Uint8Array };
}

function proto<T extends object, P>(type: ProtoType<P>, what: string, read: (message: P) => T): Codec<T> {
  return {
    encode: (value) => own(type.encode(value).finish()),
    decode: (bytes) => {
      try {
        return read(decodeProto(type, bytes, what));
      } catch (cause) {
        throw new BotError('STORE_DAMAGED', `${what} of the store is not readable`, { cause });
      }
    },
  };
}

function read<T>(batch: Staging, key: string, codec: Codec<T>): Reading<T | undefined> {
  return onceRead(batch.get(key), (bytes) => (bytes === undefined ? undefined : codec.decode(bytes)));
}

function cell<T>(key: string, codec: Codec<T>): Cell<T> {
  return {
    get: (batch) => read(batch, key, codec),
    put: (batch, value) => {
      batch.put(key, codec.encode(value));
    },
    delete: (batch) => {
      batch.delete(key);
    },
  };
}

function table<K extends readonly (string | number)[], T>(
  name: string,
  parts: number,
  codec: Codec<T>,
): Table<K, T> {
  // Keys are made many times for every message: a loop costs a quarter of map and join.
  const keyOf = (...key: Partial<K>): string => {
    let text = `${name}/`;
    for (let i = 0; i < key.length; i++) {
      const part = key[i];
      text += typeof part === 'number' ? padded(part) : String(part);
      if (i < parts - 1) text += '/';
    }
    return text;
  };
  return {
    key: keyOf,
    get: (batch, ...key) => read(batch, keyOf(...key), codec),
    put: (batch, ...keyThenValue) => {
      const key = keyThenValue.slice(0, parts) as unknown as K;
      batch.put(keyOf(...key), codec.encode(keyThenValue[parts] as T));
    },
    delete: (batch, ...key) => {
      batch.delete(keyOf(...key));
    },
    async *scan(store, prefix, options) {
      const start = keyOf(...((prefix ?? []) as Partial<K>));
      const scan: ScanOptions = { ...options };
      if (options?.after !== undefined) scan.after = start + options.after;
      for await (const [key, bytes] of store.scan(start, scan))
        yield [key.slice(start.length), codec.decode(bytes)] as const;
    },
  };
}

const bytesCodec: Codec<Bytes> = { encode: (value) => value, decode: (bytes) => bytes };
const timeCodec: Codec<number> = {
  encode: (value) => fromUtf8(String(value)),
  decode: (bytes) => Number(toUtf8(bytes)),
};

/** Writer: provisioning, or account; inbox (keys that our phone tells); bot and cli set `unlinkedAt`. */
export const account: Cell<Account> = cell('account', json());

/** A link that was begun: what the request to register will need again. Writer: provisioning. */
export const pendingLink: Cell<unknown> = cell('link/pending', json());

/** A registration of a primary device that was begun, and what the request will need again. Writer: account. */
export const pendingRegistration: Cell<unknown> = cell('register/pending', json());

/** What our linked devices have asked the primary one for and not got yet; value: when, in ms. Writer: inbox; account takes them away. */
export const syncRequests: Table<[SyncRequest], number> = table('syncrequest', 1, timeCodec);

/** By identity. Writer: upkeep (provisioning and account for the first ones). */
export const prekeyStates: Table<[IdentityKind], PrekeyState> = table('prekeystate', 1, json());

/** By identity, kind and id. Writer: upkeep adds and removes, session marks as used. */
export const prekeys: Table<[IdentityKind, PrekeyKind, number], PrekeyRow> = table(
  'prekey',
  3,
  proto(rows.Prekey, 'a prekey', (row) => ({
    record: own(row.record),
    createdAt: toTime(row.createdAt),
    confirmedAt: toTime(row.confirmedAt),
    usedAt: toTime(row.usedAt),
    replacedAt: toTime(row.replacedAt),
    lastResort: row.lastResort,
  })),
);

/** Uses of a last-resort key, `kyberId.signedId.baseKeyHex`, so that none is accepted twice; value: when, in ms. Writer: session. */
export const lastResortUses: Table<[IdentityKind, string], number> = table('kyberuse', 2, timeCodec);

/** libsignal's serialized SessionRecord, by own identity, peer and device. Writer: session. */
export const sessions: Table<[IdentityKind, ServiceId, DeviceId], Bytes> = table('session', 3, bytesCodec);

/** The carrier: sessions that no trust is asked for, by peer and device. Writer: session. */
export const carrierSessions: Table<[ServiceId, DeviceId], Bytes> = table('carrier', 2, bytesCodec);

/** Carriers, by peer. Writer: session. */
export const carriers: Table<[ServiceId], Carrier> = table('carrierstate', 1, json());

/** libsignal's serialized SenderKeyRecord, by sender, device and distribution id. Writer: session. */
export const senderKeys: Table<[ServiceId, DeviceId, string], Bytes> = table('senderkey', 3, bytesCodec);

/** By own identity and peer. Writer: session (devices), outbox (the rest). */
export const peers: Table<[IdentityKind, ServiceId], Peer> = table('peer', 2, json());

/** Writer: identities. */
export const identityRows: Table<[ServiceId], Identity> = table('identity', 1, json());

/** What false keys have exposed, by contact and when it was proven, ms. Writer: trust. */
export const exposures: Table<[ServiceId, number], Exposure> = table('exposure', 2, json());

/** Writer: inbox (sync messages, profile keys). */
export const contacts: Table<[ServiceId], Contact> = table('contact', 1, json());

const inboxCodec: Codec<InboxRow> = proto(rows.Inbox, 'an inbox row', (row) => ({
  source: row.source as ServiceId,
  sourceDevice: row.sourceDevice,
  timestamp: toTime(row.timestamp),
  serverTimestamp: toTime(row.serverTimestamp),
  sealed: row.sealed,
  toPni: row.toPni,
  content: own(row.content),
  attempts: row.attempts,
  retryAt: toTime(row.retryAt),
  error: row.error,
  plugin: row.plugin,
  receivedAt: toTime(row.receivedAt),
  progress: row.progress.map((entry) => ({
    plugin: entry.plugin,
    done: entry.done,
    attempts: entry.attempts,
    retryAt: toTime(entry.retryAt),
    error: entry.error,
    deaths: entry.deaths,
  })),
  identityKey: own(row.identityKey),
}));

/** Opened envelopes in the order they came; the number only grows. Writer: inbox. */
export const inboxRows: Table<[number], InboxRow> = table('inbox', 1, inboxCodec);

/** Rows whose handler failed five times; same number as in the inbox. Writer: inbox. */
export const deadRows: Table<[number], InboxRow> = table('dead', 1, inboxCodec);

/**
 * By serverTimestamp and guid or hash: envelopes that were taken; by the sender's timestamp and a hash: messages that were.
 * Value: when, in ms. Writer: inbox.
 */
export const seenMarks: Table<[number, string], number> = table('seen', 2, timeCodec);

/** Delivery receipts that we owe, by sender and the message's timestamp; value: since when, in ms. Writer: inbox; the outbox takes them away. */
export const owedReceipts: Table<[ServiceId, number], number> = table('receipt', 2, timeCodec);

/**
 * By recipient and timestamp. Writer: outbox. Rows are added by bot, by handlers through their context, and by provisioning,
 * account and backup (what they ask, answer and greet).
 */
export const outboxRows: Table<[ServiceId, number], OutboxRow> = table(
  'outbox',
  2,
  proto(rows.Outbox, 'an outbox row', (row) => ({
    recipient: row.recipient as ServiceId,
    timestamp: toTime(row.timestamp),
    content: own(row.content),
    kind: row.kind as OutboxKind,
    devices: row.devices,
    tag: row.tag,
    urgent: row.urgent,
    transcript: row.transcript,
    attempts: row.attempts,
    retryAt: toTime(row.retryAt),
    state: (row.state || 'queued') as OutboxRow['state'],
    error: row.error,
    log: row.log,
    plaintext: own(row.plaintext),
    policy: row.policy as Policy | '',
    carrier: row.carrier,
  })),
);

/** By recipient and timestamp. Writer: outbox. */
export const sentLog: Table<[ServiceId, number], SentRow> = table(
  'sent',
  2,
  proto(rows.Sent, 'a sent-log row', (row) => ({
    content: own(row.content),
    sentAt: toTime(row.sentAt),
    devices: row.devices,
    urgent: row.urgent,
    tag: row.tag,
  })),
);

const quarantineCodec: Codec<QuarantineRow> = proto(rows.Quarantine, 'a quarantine row', (row) => ({
  source: row.source,
  sourceDevice: row.sourceDevice,
  timestamp: toTime(row.timestamp),
  at: toTime(row.at),
  reason: row.reason,
  envelope: own(row.envelope),
}));

/** Envelopes that could not be opened, by a number that only grows. Writer: inbox. */
export const quarantineRows: Table<[number], QuarantineRow> = table('quarantine', 1, quarantineCodec);

/** Envelopes of contacts whose key is not trusted now, by sender and a number that only grows. Writer: inbox. */
export const parkedRows: Table<[ServiceId, number], QuarantineRow> = table('parked', 2, quarantineCodec);

/** What a plugin keeps, by plugin and its own key. Writer: the plugin, through its context. */
export const pluginState: Table<[string, string], Bytes> = table('state', 2, bytesCodec);

/** What a plugin keeps that must not outlive this store: no backup has it. By plugin and its own key. Writer: as of `pluginState`. */
export const pluginVolatile: Table<[string, string], Bytes> = table('volatile', 2, bytesCodec);

/**
 * Small facts with a name, as JSON: times of upkeep, the sender certificate, counters. Each name has one writer, among upkeep,
 * inbox, outbox, account, backup and trust.
 */
export const facts: Table<[string], unknown> = table('fact', 1, json());
