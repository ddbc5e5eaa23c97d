/**
 * Tables: every key layout of the store, as typed functions over a batch. Each table names its one writer.
 *
 * Numbers in keys have a fixed width, so that key order is number order. Rows written for every message are protobuf
 * (proto/store.proto), the others JSON with bytes in base64.
 */
import type { DeviceId, IdentityKind, ServiceId } from '../address.ts';
import { fromUtf8, own, toTime, toUtf8, type Bytes } from '../bytes.ts';
import { rows } from '../proto/messages.js';
import type { Exposure } from './identity-row.ts';
import type {
  Account,
  Carrier,
  Contact,
  Identity,
  InboxRow,
  OutboxKind,
  OutboxRow,
  Peer,
  Policy,
  PrekeyKind,
  PrekeyRow,
  PrekeyState,
  QuarantineRow,
  SentRow,
  SyncRequest,
} from './rows.ts';
import { cell, json, proto, table, type Cell, type Codec, type Table } from './table.ts';

export { padded, type Cell, type Table } from './table.ts';

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

/**
 * What our linked devices have asked the primary one for and not got yet; value: when, in ms. Writer: inbox; account
 * takes them away.
 */
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

/**
 * Uses of a last-resort key, `kyberId.signedId.baseKeyHex`, so that none is accepted twice; value: when, in ms.
 * Writer: session.
 */
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

/**
 * Delivery receipts that we owe, by sender and the message's timestamp; value: since when, in ms. Writer: inbox; the
 * outbox takes them away.
 */
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

/**
 * What a plugin keeps that must not outlive this store: no backup has it. By plugin and its own key. Writer: as of
 * `pluginState`.
 */
export const pluginVolatile: Table<[string, string], Bytes> = table('volatile', 2, bytesCodec);

/**
 * Small facts with a name, as JSON: times of upkeep, the sender certificate, counters. Each name has one writer, among upkeep,
 * inbox, outbox, account, backup and trust.
 */
export const facts: Table<[string], unknown> = table('fact', 1, json());
