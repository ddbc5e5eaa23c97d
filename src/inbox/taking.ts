/**
 * Taking: what one envelope leaves in the store, on one batch whose commit is begun here.
 *
 * An envelope that says who it is from is opened, quarantined, parked or dropped; the receiver awaits the commit, hands on
 * what it left, and acks. Spec: protocol brief, sections 6.2, 6.3 and 6.7.
 */
import type { ServiceId } from '../address.ts';
import { EMPTY } from '../bytes.ts';
import type { Content } from '../content/content.ts';
import { encodeDeliveryReceipt } from '../content/encode.ts';
import type { Envelope } from '../content/envelope.ts';
import type { Platform } from '../platform.ts';
import { INNER, type Identification, type Identified } from '../session/identify.ts';
import type { Opened, Session } from '../session/session.ts';
import { Newest, QUARANTINE } from '../store/newest.ts';
import { newRow } from '../store/outbox-row.ts';
import { onceRead, type Reading } from '../store/reading.ts';
import type { Batch, Store } from '../store/store.ts';
import type { InboxRow, OutboxRow } from '../store/rows.ts';
import { inboxRows, outboxRows, quarantineRows, seenMarks } from '../store/tables.ts';
import type { Delivery } from '../transport/request.ts';
import { HourlyLimit } from './hourly-limit.ts';
import { inboxRow, markOf, nameOf, type InboxSource } from './inbox-row.ts';
import type { Intake, Taken as IntakeResult } from './intake.ts';
import type { Parking, Unopened } from './parking.ts';

export interface TakingParts {
  readonly store: Store;
  readonly session: Session;
  readonly intake: Intake;
  readonly parking: Parking;
  readonly platform: Platform;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  /** Messages may come in sessions that a restored store does not have: each is to be asked for again. */
  readonly asksOften?: boolean;
  /** A row was staged and its commit begun. These return at once and do not throw. */
  readonly onInbox: (id: number, row: InboxRow, content: Content | undefined) => void;
  readonly onOutbox: (row: OutboxRow) => void;
  /** A message was taken that leaves no row for a handler. */
  readonly onUnseen?: (message: Unseen) => void;
  /** A prekey was used up. */
  readonly onPrekey: () => void;
}

/** How one delivery ended; each is acked. `handled` left no row for a handler. */
export type Outcome = 'stored' | 'handled' | 'duplicate' | 'unreadable' | 'parked' | 'dropped';

/** What came and was taken by the framework itself, dropped, or could not be opened. */
export interface Unseen {
  readonly from: ServiceId;
  readonly deviceId: number;
  readonly what: Content['kind'] | 'undecodable';
  /** ms, the sender's. */
  readonly timestamp: number;
}

/** What a delivery has left, its commit begun. */
export interface Taken {
  readonly outcome: Outcome;
  readonly durable: Promise<void>;
  /** Of the envelope, where this is its commit. */
  readonly mark?: string;
  /** Hands on what was staged; to be called once the commit is accepted, and not where it is refused. */
  readonly handOn?: () => void;
}

/** Retry requests to one peer within an hour (6.7). */
const RETRY_REQUESTS = 5;
/** For a restored store: what a peer may have left on the server while the bot was down. */
const RETRY_REQUESTS_RESTORED = 1000;

export class Taking {
  readonly #parts: TakingParts;
  readonly #retries: HourlyLimit;
  /**
   * Envelopes whose commit is under way, by their marks: a copy of the envelope must not be acked earlier than the
   * original.
   */
  readonly #pending = new Map<string, Promise<void>>();
  /** Rows of this run in the quarantine: between two purges nobody can fill the disk with rubbish. */
  readonly #quarantined = new Newest<number>(QUARANTINE);
  #lastId = 0;

  constructor(parts: TakingParts) {
    this.#parts = parts;
    this.#retries = new HourlyLimit(parts.asksOften === true ? RETRY_REQUESTS_RESTORED : RETRY_REQUESTS);
  }

  /**
   * Stages all that a message brings about and begins its commit. To be called in the sender's lane.
   * @throws BotError those of the store
   */
  async take(
    delivery: Delivery,
    envelope: Envelope,
    identified: Identification,
    again: boolean,
  ): Promise<Taken> {
    const { store, session, platform } = this.#parts;
    const batch = store.batch();
    const mark = markOf(envelope);
    if (!again) {
      const twin = this.#pending.get(mark);
      if (twin !== undefined) return { outcome: 'duplicate', durable: twin };
      if (!movesRatchet(identified) && (await isSeen(batch, envelope, mark))) return SEEN;
    }
    switch (identified.kind) {
      case 'dropped':
        platform.log.info({ reason: identified.reason }, 'dropped an envelope');
        return this.#finish(batch, envelope, mark, 'dropped');
      case 'unreadable':
        return this.quarantine(delivery, envelope, undefined, identified.reason);
      case 'receipt':
        return this.#receipt(batch, envelope, identified.source, mark);
      case 'message': {
        const aside = again ? await this.#parts.parking.aside(identified) : undefined;
        if (aside !== undefined) return this.#carriedLate(aside, envelope, identified, mark);
        const opened = await session.open(batch, identified, envelope.timestamp);
        if (opened.kind === 'opened') return await this.#opened(batch, envelope, identified, opened, mark);
        // What a failed open has staged must not be kept: from here on a batch of its own.
        if (opened.kind === 'duplicate') return this.#finish(store.batch(), envelope, mark, 'duplicate');
        if (!again && (await isSeen(store.batch(), envelope, mark))) return SEEN;
        return again
          ? this.#stillUnopened(delivery, envelope, identified, opened, mark)
          : this.#unopened(delivery, envelope, identified, opened, mark);
      }
    }
  }

  #opened(
    batch: Batch,
    envelope: Envelope,
    identified: Identified,
    opened: Extract<Opened, { kind: 'opened' }>,
    mark: string,
  ): Reading<Taken> {
    const { intake } = this.#parts;
    return onceRead(intake.take(batch, identified, envelope, opened.parts), (result) => {
      const { content } = opened.parts;
      const name = result.keep ? nameOf(identified.source, envelope, opened.content, content) : undefined;
      const known = name === undefined ? undefined : seenMarks.get(batch, envelope.timestamp, name);
      return onceRead(known, (at) => {
        const isRepeat = at !== undefined;
        if (name !== undefined)
          seenMarks.put(batch, envelope.timestamp, name, this.#parts.platform.clock.now());
        return this.#keep(batch, envelope, identified, opened, mark, result, isRepeat);
      });
    });
  }

  /** Stages what an opened content leaves behind. */
  #keep(
    batch: Batch,
    envelope: Envelope,
    identified: Identified,
    opened: Extract<Opened, { kind: 'opened' }>,
    mark: string,
    { keep, outbox }: IntakeResult,
    isRepeat: boolean,
  ): Taken {
    const { intake, platform, onInbox, onOutbox, onPrekey } = this.#parts;
    const { content } = opened.parts;
    for (const row of outbox) outboxRows.put(batch, row.recipient, row.timestamp, row);
    let id: number | undefined;
    let row: InboxRow | undefined;
    if (keep && !isRepeat) {
      id = this.#nextId();
      row = inboxRow(identified.source, envelope, identified, opened, platform.clock.now());
      inboxRows.put(batch, id, row);
    }
    const handOn = (): void => {
      if (id !== undefined && row !== undefined) onInbox(id, row, content);
      else if (!isRepeat) this.#noteUnseen(identified.source, content.kind, envelope);
      for (const outboxRow of outbox) onOutbox(outboxRow);
      intake.committed(batch);
      if (opened.prekey) onPrekey();
    };
    const outcome = isRepeat ? 'duplicate' : row === undefined ? 'handled' : 'stored';
    return movesRatchet(identified)
      ? this.#commit(batch, mark, outcome, handOn)
      : { ...this.#finish(batch, envelope, mark, outcome), handOn };
  }

  /** A frame of a run, a key that is not trusted, or a message that cannot be read. */
  async #unopened(
    delivery: Delivery,
    envelope: Envelope,
    identified: Identified,
    unopened: Unopened,
    mark: string,
  ): Promise<Taken> {
    const { parking, store, intake } = this.#parts;
    const frame = await parking.frame(identified, unopened);
    if (frame !== undefined) return this.#carried(frame, envelope, identified, mark);
    const batch = store.batch();
    const refused = await parking.refuse(batch, identified, unopened, envelope, delivery.body);
    if (refused === undefined && unopened.kind === 'unreadable')
      return this.#unreadable(delivery, envelope, identified, unopened);
    const handOn = (): void => {
      intake.committed(batch);
      this.#noteUnseen(identified.source, 'undecodable', envelope);
    };
    return { ...this.#finish(batch, envelope, mark, refused ?? 'dropped'), handOn };
  }

  /** Parked, and trust is back: it may be of a session that only the carrier has. */
  async #stillUnopened(
    delivery: Delivery,
    envelope: Envelope,
    identified: Identified,
    unopened: Unopened,
    mark: string,
  ): Promise<Taken> {
    if (unopened.kind === 'refused') return { outcome: 'parked', durable: Promise.resolve() };
    const late = await this.#parts.parking.late(identified);
    if (late !== undefined) return this.#carriedLate(late, envelope, identified, mark);
    // Under another key than the one that was accepted: nobody will trust it any more.
    if (unopened.untrusted !== undefined)
      return this.quarantine(delivery, envelope, identified.source, unopened.reason);
    return this.#unreadable(delivery, envelope, identified, unopened);
  }

  /** What was parked and has been opened in the carrier, under the key that is trusted now. */
  async #carriedLate(
    { batch, carried }: NonNullable<Awaited<ReturnType<Parking['late']>>>,
    envelope: Envelope,
    identified: Identified,
    mark: string,
  ): Promise<Taken> {
    await this.#parts.session.takeSenderKey(batch, identified.source, carried.parts);
    return this.#opened(batch, envelope, identified, { kind: 'opened', ...carried }, mark);
  }

  /** A verification frame: it goes to its handler, and touches nothing else. */
  #carried(
    { batch, carried }: NonNullable<Awaited<ReturnType<Parking['frame']>>>,
    envelope: Envelope,
    identified: Identified,
    mark: string,
  ): Taken {
    const { platform, onInbox, onPrekey } = this.#parts;
    const id = this.#nextId();
    const row = inboxRow(identified.source, envelope, identified, carried, platform.clock.now());
    inboxRows.put(batch, id, row);
    const handOn = (): void => {
      onInbox(id, row, carried.parts.content);
      if (carried.prekey) onPrekey();
    };
    return { ...this.#finish(batch, envelope, mark, 'stored'), handOn };
  }

  /** The server's own delivery receipt is kept as the receipt of a peer would be. */
  #receipt(batch: Batch, envelope: Envelope, source: InboxSource | undefined, mark: string): Taken {
    if (source === undefined) return this.#finish(batch, envelope, mark, 'dropped');
    const id = this.#nextId();
    const content = encodeDeliveryReceipt([envelope.timestamp]);
    const row = inboxRow(
      source,
      envelope,
      { sealed: false, to: 'aci' },
      { content, identityKey: undefined },
      this.#parts.platform.clock.now(),
    );
    inboxRows.put(batch, id, row);
    const handOn = (): void => {
      this.#parts.onInbox(id, row, { kind: 'receipt', type: 'delivery', timestamps: [envelope.timestamp] });
    };
    return { ...this.#finish(batch, envelope, mark, 'stored'), handOn };
  }

  #unreadable(
    delivery: Delivery,
    envelope: Envelope,
    { source }: Identified,
    opened: Extract<Opened, { kind: 'unreadable' }>,
  ): Taken {
    const { platform, stamp } = this.#parts;
    const rows: OutboxRow[] = [];
    const mayAsk = opened.retry !== undefined && this.#retries.take(source.serviceId, platform.clock.now());
    if (opened.retry !== undefined && mayAsk) {
      const { serviceId: recipient } = source;
      rows.push(
        newRow({ recipient, timestamp: stamp(), kind: 'retry', content: EMPTY, plaintext: opened.retry }),
      );
    }
    return this.quarantine(delivery, envelope, source, opened.reason, rows);
  }

  /** Keeps an envelope that cannot be opened. */
  quarantine(
    delivery: Delivery,
    envelope: Envelope | undefined,
    source: InboxSource | undefined,
    reason: string,
    outbox: readonly OutboxRow[] = [],
  ): Taken {
    const { store, platform, onOutbox } = this.#parts;
    const batch = store.batch();
    platform.log.warn(
      { from: source?.serviceId, device: source?.deviceId, reason },
      'could not open an envelope',
    );
    const id = this.#nextId();
    for (const old of this.#quarantined.add(id, delivery.body.length)) quarantineRows.delete(batch, old);
    quarantineRows.put(batch, id, {
      source: source?.serviceId ?? '',
      sourceDevice: source?.deviceId ?? 0,
      timestamp: envelope?.timestamp ?? 0,
      at: platform.clock.now(),
      reason,
      envelope: delivery.body,
    });
    for (const row of outbox) outboxRows.put(batch, row.recipient, row.timestamp, row);
    if (envelope === undefined) return { outcome: 'unreadable', durable: batch.commit() };
    const handOn = (): void => {
      for (const row of outbox) onOutbox(row);
      if (source !== undefined) this.#noteUnseen(source, 'undecodable', envelope);
    };
    return { ...this.#finish(batch, envelope, markOf(envelope), 'unreadable'), handOn };
  }

  #noteUnseen(source: InboxSource, what: Unseen['what'], { timestamp }: Envelope): void {
    this.#parts.onUnseen?.({ from: source.serviceId, deviceId: source.deviceId, what, timestamp });
  }

  /** Marks the envelope as seen and begins the commit. */
  #finish(batch: Batch, envelope: Envelope, mark: string, outcome: Outcome): Taken {
    seenMarks.put(batch, envelope.serverTimestamp, mark, this.#parts.platform.clock.now());
    return this.#commit(batch, mark, outcome);
  }

  /** Begins the commit; until it is durable a copy of the envelope waits for it. */
  #commit(batch: Batch, mark: string, outcome: Outcome, handOn?: () => void): Taken {
    const durable = batch.commit();
    this.#pending.set(mark, durable);
    return handOn === undefined ? { outcome, durable, mark } : { outcome, durable, mark, handOn };
  }

  /** Its commit has settled. */
  forget({ mark, durable }: Taken): void {
    if (mark !== undefined && this.#pending.get(mark) === durable) this.#pending.delete(mark);
  }

  /** A number that only grows, also over restarts as long as the clock does. */
  #nextId(): number {
    this.#lastId = Math.max(this.#lastId + 1, this.#parts.platform.clock.now() * 1000);
    return this.#lastId;
  }
}

const SEEN: Taken = { outcome: 'duplicate', durable: Promise.resolve() };

/** Whether an envelope was taken before. */
function isSeen(batch: Batch, { serverTimestamp }: Envelope, mark: string): Reading<boolean> {
  return onceRead(seenMarks.get(batch, serverTimestamp, mark), (at) => at !== undefined);
}

/** A ratchet opens nothing twice, so that what has moved one forward needs no mark of its own. */
function movesRatchet(identified: Identification): boolean {
  return identified.kind === 'message' && identified.type !== INNER.PLAINTEXT;
}
