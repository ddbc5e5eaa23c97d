/**
 * Sync answers: what a primary device tells its linked ones when they ask.
 *
 *   row syncRequests (left by the inbox) --contents--> outbox row to our own devices, request removed
 *
 * Spec: protocol brief, sections 6.5 and 10.
 */
import { isAci, uuidToBytes, type Aci } from '../address.ts';
import { fromBase64, own, type Bytes } from '../bytes.ts';
import { describe, isBotError, type BotError, type ErrorCode } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { signal as proto } from '../proto/messages.js';
import { fetchUploadForm } from '../service/attachments.ts';
import type { Profile } from '../service/profile.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import { newRow } from '../store/outbox-row.ts';
import type { Batch, Store } from '../store/store.ts';
import type { OutboxRow, SyncRequest } from '../store/rows.ts';
import { account as accountCell, contacts, facts, outboxRows, syncRequests } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';
import { sealAttachment, writeContactList } from './contact-list.ts';
import { MEDIA_KEY } from './pending-registration.ts';
import { uploadAttachment } from './upload.ts';

export interface SyncAnswersParts {
  readonly store: Store;
  readonly platform: Platform;
  readonly profile: Profile;
  /** Authenticated. */
  readonly requester: Requester;
  readonly ownAci: Aci;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  /** A row was committed. Returns at once and does not throw. */
  readonly onOutbox: (row: OutboxRow) => void;
}

const ALL: readonly SyncRequest[] = ['contacts', 'blocked', 'configuration', 'keys'];
/** Wait after the first failure, ms; each further one doubles it. */
const RETRY_MS = 30_000;
const HOUR_MS = 3_600_000;
/** Then a request is dropped, about an hour after it came; devices ask again when they miss something. */
const MAX_TRIES = 8;

/** A ring comes while the request is being committed; the four of a new device come together. */
const RING_MS = 200;
/** The store cannot be trusted with more. */
const FATAL: readonly ErrorCode[] = ['STORE_WRITE_FAILED', 'STORE_DAMAGED', 'STORE_CLOSED'];

type SyncFields = proto.SyncMessage.$Properties;

export class SyncAnswers {
  readonly #parts: SyncAnswersParts;
  #alarm = new AbortController();
  #isRung = true;
  /** Requests that could not be answered, and how often. */
  readonly #failures = new Map<SyncRequest, { readonly since: number; readonly count: number }>();

  constructor(parts: SyncAnswersParts) {
    this.#parts = parts;
  }

  /** A request has come. Harmless at any time. */
  ring(): void {
    this.#isRung = true;
    this.#alarm.abort();
  }

  /**
   * Answers until the signal is aborted.
   * @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED`, `STORE_CLOSED`. What server and CDN do is logged only
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = this.#isRung ? await this.#answerAll(signal) : HOUR_MS;
      this.#alarm = new AbortController();
      // A ring that came meanwhile is looked at at once.
      const isRungAgain = this.#isRung;
      const either = AbortSignal.any([signal, this.#alarm.signal]);
      if (!isRungAgain) await this.#wait(waitMs, either);
      this.#isRung = true;
      await this.#wait(RING_MS, signal);
    }
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#parts.platform.clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** @returns ms until the next look */
  async #answerAll(signal: AbortSignal): Promise<number> {
    this.#isRung = false;
    let waitMs = HOUR_MS;
    const isOver = (): boolean => signal.aborted;
    for (const type of ALL) {
      if (isOver()) return waitMs;
      const since = await syncRequests.get(this.#parts.store.batch(), type);
      if (since === undefined) continue;
      try {
        await this.#answer(type, since, signal);
      } catch (error) {
        if (isOver()) return waitMs;
        if (!isBotError(error) || FATAL.includes(error.code)) throw error;
        waitMs = Math.min(waitMs, await this.#failed(type, since, error));
      }
    }
    return waitMs;
  }

  /** What the server refuses, and what did not work often enough, is dropped. @returns ms until the next try */
  async #failed(type: SyncRequest, since: number, error: BotError): Promise<number> {
    const { store, platform } = this.#parts;
    const known = this.#failures.get(type);
    const count = (known?.since === since ? known.count : 0) + 1;
    if (error.code !== 'REQUEST_REFUSED' && count < MAX_TRIES) {
      this.#failures.set(type, { since, count });
      platform.log.info({ type, count, error: describe(error) }, 'a sync request is answered later');
      return RETRY_MS * 2 ** (count - 1);
    }
    this.#failures.delete(type);
    await writeAgainOnConflict(store, async (batch) => {
      if ((await syncRequests.get(batch, type)) === since) syncRequests.delete(batch, type);
    });
    platform.log.warn({ type, count, error: describe(error) }, 'a sync request could not be answered');
    return HOUR_MS;
  }

  async #answer(type: SyncRequest, since: number, signal: AbortSignal): Promise<void> {
    const { store, ownAci, stamp, onOutbox } = this.#parts;
    const contents = await this.#contents(type, signal);
    const batch = store.batch();
    if ((await syncRequests.get(batch, type)) === since) syncRequests.delete(batch, type);
    const row =
      contents && newRow({ recipient: ownAci, timestamp: stamp(), kind: 'sync', content: contents });
    if (row !== undefined) outboxRows.put(batch, row.recipient, row.timestamp, row);
    await batch.commit();
    if (row !== undefined) onOutbox(row);
  }

  /** @returns undefined when there is nothing that could be said */
  async #contents(type: SyncRequest, signal: AbortSignal): Promise<Bytes | undefined> {
    const { store } = this.#parts;
    switch (type) {
      case 'contacts':
        return this.#contacts(signal);
      case 'blocked': {
        const acis = await blockedAcis(store);
        return encode({ blocked: { acis, acisBinary: acis.map((aci) => uuidToBytes(aci)) } });
      }
      case 'configuration':
        return encode({
          configuration: {
            readReceipts: false,
            unidentifiedDeliveryIndicators: false,
            typingIndicators: false,
            linkPreviews: false,
          },
        });
      case 'keys':
        return encode({ keys: await keysOf(store.batch()) });
    }
  }

  async #contacts(signal: AbortSignal): Promise<Bytes | undefined> {
    const { store, platform, profile, requester, ownAci } = this.#parts;
    const sealed = sealAttachment(await writeContactList(store, ownAci), platform.random);
    const form = await fetchUploadForm(requester, sealed.blob.length);
    if (typeof form === 'string') {
      const why = form === 'too-large' ? 'takes no attachment of that size' : 'stores no attachments';
      platform.log.warn({}, `the server ${why}: linked devices get no contact list`);
      return undefined;
    }
    await uploadAttachment(profile, form, sealed.blob, signal);
    const { key, digest, size } = sealed;
    return encode({
      contacts: {
        blob: {
          cdnKey: form.key,
          cdnNumber: form.cdn,
          contentType: 'application/octet-stream',
          key,
          digest,
          size,
        },
        complete: true,
      },
    });
  }
}

async function blockedAcis(store: Store): Promise<Aci[]> {
  const acis: Aci[] = [];
  for await (const [serviceId, { blocked }] of contacts.scan(store)) {
    if (blocked === true && isAci(serviceId)) acis.push(serviceId);
  }
  return acis;
}

async function keysOf(batch: Batch): Promise<proto.SyncMessage.Keys.$Properties> {
  const account = await accountCell.get(batch);
  const mediaKey = await facts.get(batch, MEDIA_KEY);
  const fields: proto.SyncMessage.Keys.$Properties = {};
  if (account !== undefined && account.masterKey !== null) fields.master = fromBase64(account.masterKey);
  if (account !== undefined && account.accountEntropyPool !== null) {
    fields.accountEntropyPool = account.accountEntropyPool;
  }
  if (typeof mediaKey === 'string') fields.mediaRootBackupKey = fromBase64(mediaKey);
  return fields;
}

function encode(syncMessage: SyncFields): Bytes {
  return own(proto.Content.encode({ syncMessage }).finish());
}
