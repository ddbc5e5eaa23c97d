/**
 * Intake: what an opened content means to the framework itself, staged on the batch that opened it. Whatever a handler
 * may want to see is kept as a row as well.
 */
import { DecryptionErrorMessage, type PublicKey } from '@signalapp/libsignal-client';
import type { ServiceId } from '../address.ts';
import { equal, toBase64, type Bytes } from '../bytes.ts';
import { ANNOUNCE, decodeAnnouncement, fillerPadding } from '../content/app-message.ts';
import type { AppContent, Content, Parts, Sync } from '../content/content.ts';
import { encodeNull } from '../content/encode.ts';
import { readVerified } from '../content/verified.ts';
import type { Envelope } from '../content/envelope.ts';
import { describe } from '../errors.ts';
import type { Identities } from '../identities/identities.ts';
import type { signal } from '../proto/messages.js';
import type { Platform } from '../platform.ts';
import type { Identified } from '../session/identify.ts';
import { noteTags, type OwnTags } from '../session/peer-tags.ts';
import type { Session } from '../session/session.ts';
import { newRow } from '../store/outbox-row.ts';
import { onceRead, type Reading } from '../store/reading.ts';
import type { Batch, Store } from '../store/store.ts';
import type { OutboxRow, Peer, SyncRequest } from '../store/rows.ts';
import {
  account,
  contacts,
  facts,
  outboxRows,
  owedReceipts,
  peers,
  sentLog,
  syncRequests,
} from '../store/tables.ts';
import { HourlyLimit } from './hourly-limit.ts';

export interface IntakeParts {
  readonly session: Session;
  readonly identities: Identities;
  readonly platform: Platform;
  readonly ownAci: ServiceId;
  readonly ownDevice: number;
  readonly tags: OwnTags;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  /** There is a contact list to fetch. */
  readonly onContacts: () => void;
  /** A linked device has asked us, the primary one, for something. */
  readonly onSyncRequest?: () => void;
}

export interface Taken {
  /** Whether the content becomes an inbox row. */
  readonly keep: boolean;
  readonly outbox: readonly OutboxRow[];
}

/** What was dropped without a word, since the start. */
export interface DropCounts {
  nullMessages: number;
  unknownTags: number;
  blocked: number;
  refused: number;
  /** In tagged listening: what had no outer tag, unopened. */
  untagged: number;
}

/** What the numbers of a sync request mean. */
const REQUESTS: Readonly<Record<number, SyncRequest | undefined>> = {
  1: 'contacts',
  3: 'blocked',
  4: 'configuration',
  5: 'keys',
};
const KEPT: Taken = { keep: true, outbox: [] };
const NOT_KEPT: Taken = { keep: false, outbox: [] };
/** Resends to one peer within an hour. */
const RESENDS = 60;

export class Intake {
  readonly #parts: IntakeParts;
  readonly #resends = new HourlyLimit(RESENDS);
  readonly #blocked = new Set<ServiceId>();
  readonly drops: DropCounts = {
    nullMessages: 0,
    unknownTags: 0,
    blocked: 0,
    refused: 0,
    untagged: 0,
  };

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** Reads the blocked contacts; to be awaited before the first `take`. */
  async open(store: Store): Promise<void> {
    for await (const [serviceId, contact] of contacts.scan(store)) {
      if (contact.blocked === true) this.#blocked.add(serviceId as ServiceId);
    }
  }

  /** The commit of a batch is accepted: changes of trust on it are told. */
  committed(batch: Batch): void {
    this.#parts.identities.committed(batch);
  }

  take(batch: Batch, { source, to }: Identified, envelope: Envelope, parts: Parts): Reading<Taken> {
    const { content, profileKey } = parts;
    const { ownAci, platform } = this.#parts;
    const own = source.serviceId === ownAci;
    if (this.#blocked.has(source.serviceId)) {
      this.drops.blocked++;
      return NOT_KEPT;
    }
    if ((content.kind === 'sync' && !own) || isOutOfStep(content, envelope.timestamp)) {
      platform.log.warn({ from: source.serviceId, kind: content.kind }, 'refused a content');
      this.drops.refused++;
      return NOT_KEPT;
    }
    const noted = own ? undefined : this.#notePeer(batch, source.serviceId, profileKey);
    return onceRead(noted, () => {
      switch (content.kind) {
        case 'null':
          if (content.unknownVersion) this.drops.unknownTags++;
          else this.drops.nullMessages++;
          return NOT_KEPT;
        case 'keys':
          return NOT_KEPT;
        case 'retry':
          return this.#retryRequest(batch, source, content.body);
        case 'app':
          return this.#appMessage(batch, source, content);
        case 'sync':
          return this.#sync(batch, content.sync);
        case 'text':
        case 'other':
          if (!own && to === 'aci' && isData(content)) {
            owedReceipts.put(batch, source.serviceId, envelope.timestamp, platform.clock.now());
          }
          return KEPT;
        case 'receipt':
        case 'typing':
          return KEPT;
      }
    });
  }

  /** Takes over the profile key; and who writes to us is registered, whatever the server said before. */
  #notePeer(batch: Batch, from: ServiceId, profileKey: Bytes | undefined): Reading<void> {
    return onceRead(peers.get(batch, 'aci', from), (known) => {
      const text = profileKey === undefined ? known?.profileKey : toBase64(profileKey);
      if (text === known?.profileKey && known?.unregisteredUntil === undefined) return;
      const peer: { -readonly [K in keyof Peer]: Peer[K] } = { devices: [], ...known };
      delete peer.unregisteredUntil;
      if (text !== undefined && text !== known?.profileKey) {
        peer.profileKey = text;
        peer.sealed = 'unknown';
      }
      peers.put(batch, 'aci', from, peer);
    });
  }

  async #appMessage(
    batch: Batch,
    source: Identified['source'],
    { tag, payload }: AppContent,
  ): Promise<Taken> {
    const { tags, stamp, platform } = this.#parts;
    if (tag === ANNOUNCE) {
      try {
        await noteTags(batch, source, decodeAnnouncement(payload));
      } catch (error) {
        platform.log.info({ from: source.serviceId, error: describe(error) }, 'ignored an announcement');
      }
    }
    const announcement = await tags.announce(batch, source.serviceId, stamp);
    const outbox = announcement === undefined ? [] : [announcement];
    if (tag === ANNOUNCE) return { keep: false, outbox };
    if (!tags.handles(tag)) this.drops.unknownTags++;
    return { keep: tags.handles(tag), outbox };
  }

  /** Sections 6.7, 2 to 4: archives the session that the peer could not use, and sends the message again. */
  async #retryRequest(batch: Batch, source: Identified['source'], body: Bytes): Promise<Taken> {
    const { session, ownDevice, platform, stamp } = this.#parts;
    const request = readRetryRequest(body);
    if (request?.deviceId !== ownDevice) return NOT_KEPT;
    if (request.ratchetKey !== undefined) await session.archive(batch, source, request.ratchetKey);
    if (!this.#resends.take(source.serviceId, platform.clock.now())) return NOT_KEPT;

    const { serviceId: recipient, deviceId } = source;
    const { timestamp } = request;
    const sent = (await this.#isOtherKey(batch, recipient, timestamp))
      ? undefined
      : await sentLog.get(batch, recipient, timestamp);
    if (sent === undefined) {
      const content = encodeNull(fillerPadding(64, platform.random));
      return {
        keep: false,
        outbox: [newRow({ recipient, timestamp: stamp(), kind: 'null', content, devices: [deviceId] })],
      };
    }
    const queued = await outboxRows.get(batch, recipient, timestamp);
    const devices = [...new Set([...(queued?.devices ?? []), deviceId])];
    const { content, tag } = sent;
    return { keep: false, outbox: [newRow({ recipient, timestamp, kind: 'resend', content, tag, devices })] };
  }

  /**
   * Whether a message of ours may have been sealed for another key than the one that would get it now, of which nobody has
   * proven that it is of the same contact. Who brings a new key must not be given what was written before.
   */
  async #isOtherKey(batch: Batch, recipient: ServiceId, timestamp: number): Promise<boolean> {
    const { state, replacedAt } = await this.#parts.identities.get(batch, recipient);
    return state !== 'verified' && replacedAt !== undefined && replacedAt >= timestamp;
  }

  /** What the person has verified on the phone (verification brief, section 11): evidence, if it is our key too. */
  async #verified(batch: Batch, message: signal.SyncMessage): Promise<void> {
    const { identities, platform } = this.#parts;
    const verified = readVerified(message);
    if (verified?.state !== 'verified') return;
    const pin = await identities.key(batch, verified.aci);
    if (pin === undefined || !equal(pin, verified.key)) {
      platform.log.warn(
        { contact: verified.aci },
        'another device of ours has verified a key that we do not have',
      );
      return;
    }
    const { evidence, state } = await identities.get(batch, verified.aci);
    const isKnown = state === 'verified' && evidence.some((item) => item.kind === 'safety-number');
    if (isKnown) return;
    const proof = { kind: 'safety-number', by: 'sync', at: platform.clock.now() } as const;
    await identities.change(batch, verified.aci, { kind: 'proven', key: verified.key, proof });
  }

  async #sync(batch: Batch, sync: Sync): Promise<Taken> {
    switch (sync.type) {
      case 'contacts': {
        const { cdnId, cdnKey, cdnNumber, key, digest, size } = sync.blob;
        facts.put(batch, 'contactsBlob', {
          cdnId: cdnId === null ? null : cdnId.toString(),
          cdnKey,
          cdnNumber: cdnNumber ?? 0,
          key: key === null ? null : toBase64(key),
          digest: digest === null ? null : toBase64(digest),
          size,
        });
        this.#parts.onContacts();
        return NOT_KEPT;
      }
      case 'blocked': {
        const now = new Set<ServiceId>(sync.acis);
        for (const aci of new Set([...now, ...this.#blocked])) {
          const contact = await contacts.get(batch, aci);
          contacts.put(batch, aci, { ...contact, blocked: now.has(aci) });
        }
        this.#blocked.clear();
        for (const aci of now) this.#blocked.add(aci);
        return NOT_KEPT;
      }
      case 'keys': {
        const row = await account.get(batch);
        if (row === undefined) return NOT_KEPT;
        const masterKey = sync.masterKey === undefined ? row.masterKey : toBase64(sync.masterKey);
        const accountEntropyPool = sync.accountEntropyPool ?? row.accountEntropyPool;
        account.put(batch, { ...row, masterKey, accountEntropyPool });
        return NOT_KEPT;
      }
      case 'other': {
        await this.#verified(batch, sync.message);
        const asked = REQUESTS[sync.message.request?.type ?? 0];
        if (asked === undefined || this.#parts.ownDevice !== 1) return KEPT;
        syncRequests.put(batch, asked, this.#parts.platform.clock.now());
        this.#parts.onSyncRequest?.();
        return NOT_KEPT;
      }
      case 'sent':
        return KEPT;
    }
  }
}

function isData(content: Content): boolean {
  return content.kind === 'text' || (content.kind === 'other' && content.name === 'dataMessage');
}

/** The timestamp names the message; one that differs from the envelope's would let the server rename it. */
function isOutOfStep(content: Content, timestamp: number): boolean {
  if (content.kind === 'text') return content.timestamp !== timestamp;
  if (content.kind !== 'other' || !content.content.dataMessage) return false;
  return Number(content.content.dataMessage.timestamp ?? 0) !== timestamp;
}

interface RetryRequest {
  readonly deviceId: number;
  /** ms */
  readonly timestamp: number;
  readonly ratchetKey: PublicKey | undefined;
}

/** Anybody can send one, and libsignal throws at fields out of range only when they are read. */
function readRetryRequest(body: Bytes): RetryRequest | undefined {
  try {
    const message = DecryptionErrorMessage.deserialize(body);
    return { deviceId: message.deviceId(), timestamp: message.timestamp(), ratchetKey: message.ratchetKey() };
  } catch {
    return undefined;
  }
}
