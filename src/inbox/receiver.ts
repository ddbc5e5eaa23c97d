/**
 * Receiver: envelope to stored row, the first half of the incoming path.
 *
 * A delivery goes received -> stored | handled | duplicate | unreadable | parked | dropped -> acked. The server hears 200 only
 * once the batch is durable, so a crash costs a second delivery and never a message. While one batch is being synced
 * the next deliveries are already opened, those of different senders beside each other; each ack still waits for its own.
 * Spec: The Sesame Algorithm, revision 2, sections 3 (receiving) and 4.1 (retry requests); protocol brief, section 6.
 */
import type { ServiceId } from '../address.ts';
import { EMPTY } from '../bytes.ts';
import { encodeDeliveryReceipt } from '../content/encode.ts';
import { decodeEnvelope, type Envelope } from '../content/envelope.ts';
import { BotError, describe } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { INNER, type Identification, type Identified } from '../session/identify.ts';
import type { Opened, Session } from '../session/session.ts';
import { isAccepted } from '../store/accepted.ts';
import { Newest, QUARANTINE } from '../store/newest.ts';
import { newRow } from '../store/outbox-row.ts';
import { onceRead, type Reading } from '../store/reading.ts';
import type { Batch, Store } from '../store/store.ts';
import {
  inboxRows,
  outboxRows,
  quarantineRows,
  seenMarks,
  type InboxRow,
  type OutboxRow,
} from '../store/tables.ts';
import type { Delivery, Incoming } from '../transport/request.ts';
import type { Content } from '../content/content.ts';
import { HourlyLimit } from './hourly-limit.ts';
import { inboxRow, markOf, nameOf, type InboxSource } from './inbox-row.ts';
import type { Intake, Taken as IntakeResult } from './intake.ts';
import type { Listening } from './listening.ts';
import type { Parking, Unopened } from './parking.ts';
import { Places } from './places.ts';
import { Stoppable } from './stoppable.ts';

export interface ReceiverParts {
  readonly store: Store;
  readonly session: Session;
  readonly intake: Intake;
  readonly parking: Parking;
  /** Absent: everything is opened as it is. */
  readonly listening?: Listening;
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
  /** The server has said that its queue is empty. */
  readonly onDrained: () => void;
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

interface Taken {
  readonly outcome: Outcome;
  readonly durable: Promise<void>;
  /** Of the envelope, where this is its commit. */
  readonly mark?: string;
  /** Hands on what was staged; to be called once the commit is accepted, and not where it is refused. */
  readonly handOn?: () => void;
}

/** Deliveries that are opened beside each other, each sender's in a row; more would gain nothing on one processor. */
const OPENING = 16;
/** Deliveries that may wait for their commit at once; the server has as many on the way (6.2). */
const IN_FLIGHT = 256;
/** Retry requests to one peer within an hour (6.7). */
const RETRY_REQUESTS = 5;
/** For a restored store: what a peer may have left on the server while the bot was down. */
const RETRY_REQUESTS_RESTORED = 1000;
/** Attempts after a conflict; the fault then is ours, and the server is to send the envelope again. */
const ATTEMPTS = 3;

export class Receiver {
  readonly #parts: ReceiverParts;
  readonly #retries: HourlyLimit;
  /** Envelopes whose commit is under way, by their marks: a copy of the envelope must not be acked earlier than the original. */
  readonly #pending = new Map<string, Promise<void>>();
  /** Resolves when the delivery before has entered its sender's lane; undefined when it has. */
  #entered: Promise<void> | undefined;
  /** Rows of this run in the quarantine: between two purges nobody can fill the disk with rubbish. */
  readonly #quarantined = new Newest<number>(QUARANTINE);
  #lastId = 0;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#retries = new HourlyLimit(parts.asksOften === true ? RETRY_REQUESTS_RESTORED : RETRY_REQUESTS);
  }

  /**
   * Takes deliveries in server order until they end; an abort lets the one in hand finish.
   * @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED`: what is not durable was not acked, so it is safe to start again
   */
  async run(incoming: AsyncIterable<Incoming>, signal: AbortSignal): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    const items = new Stoppable(incoming);
    const [opening, unacked] = [new Places(OPENING), new Places(IN_FLIGHT)];
    const { listening } = this.#parts;
    for await (const item of items) {
      if (listening?.isStale === true) await listening.refresh();
      if (item.kind === 'drained') {
        this.#parts.onDrained();
      } else if (this.#isUnheard(item.delivery)) {
        item.delivery.ack();
      } else {
        if (!unacked.tryEnter()) await unacked.enter();
        if (!opening.tryEnter()) await opening.enter();
        this.#settle(item.delivery, opening, unacked).catch((error: unknown) => {
          failure ??= { error };
          items.stop();
        });
      }
      if (signal.aborted) break;
    }
    await unacked.empty();
    if (failure !== undefined) throw failure.error;
  }

  /**
   * Stores one delivery, then acks it.
   * @param again it was parked: it has been seen, and stays where it is if it still cannot be let in
   */
  async accept(delivery: Delivery, again = false): Promise<Outcome> {
    if (!again && this.#isUnheard(delivery)) {
      delivery.ack();
      return 'dropped';
    }
    for (let attempt = 1; ; attempt++) {
      const taken = await this.#take(delivery, again);
      try {
        if (attempt === ATTEMPTS || (await isAccepted(taken.durable))) {
          await taken.durable;
          taken.handOn?.();
          delivery.ack();
          return taken.outcome;
        }
      } catch (error) {
        delivery.abandon();
        throw error;
      } finally {
        this.#forget(taken);
      }
    }
  }

  /** Whether it is to be dropped as it is: nothing is opened and nothing written. */
  #isUnheard({ body }: Delivery): boolean {
    if (this.#parts.listening?.hears(body) !== false) return false;
    this.#parts.intake.drops.untagged++;
    return true;
  }

  async #settle(delivery: Delivery, opening: Places, unacked: Places): Promise<void> {
    let taken: Taken | undefined;
    try {
      try {
        taken = await this.#take(delivery);
      } finally {
        opening.leave();
      }
      if (await isAccepted(taken.durable)) {
        taken.handOn?.();
        await taken.durable;
        delivery.ack();
      } else {
        this.#forget(taken);
        await this.accept(delivery);
      }
    } catch (error) {
      delivery.abandon();
      throw error;
    } finally {
      if (taken !== undefined) this.#forget(taken);
      unacked.leave();
    }
  }

  /** @throws BotError those of the store; whatever else an envelope brings about is its own fault, and it is kept */
  async #take(delivery: Delivery, again = false): Promise<Taken> {
    try {
      return await this.#open(delivery, again);
    } catch (error) {
      if (error instanceof BotError && error.code.startsWith('STORE_')) throw error;
      this.#parts.platform.log.error({ error: describe(error) }, 'an envelope could not be taken');
      return this.#quarantine(delivery, undefined, undefined, `not understood: ${describe(error)}`);
    }
  }

  /** Begins to open; whatever the seals of others cost, senders' lanes are entered in the order of the calls. */
  #open(delivery: Delivery, again: boolean): Reading<Taken> {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(delivery.body);
      envelope = this.#parts.listening?.strip(envelope) ?? envelope;
    } catch (error) {
      return this.#quarantine(
        delivery,
        undefined,
        undefined,
        `the envelope is not well-formed: ${describe(error)}`,
      );
    }
    const identified = this.#parts.session.identify(envelope);
    if (this.#entered === undefined && !(identified instanceof Promise))
      return this.#enter(delivery, envelope, identified, again);
    return this.#openInTurn(delivery, envelope, identified, again);
  }

  async #openInTurn(
    delivery: Delivery,
    envelope: Envelope,
    identified: Reading<Identification>,
    again: boolean,
  ): Promise<Taken> {
    const entering = Promise.all([identified, this.#entered]).then(([message]) => ({
      taken: this.#enter(delivery, envelope, message, again),
    }));
    const entered = entering.then(nothing, nothing).then(() => {
      if (this.#entered === entered) this.#entered = undefined;
    });
    this.#entered = entered;
    return (await entering).taken;
  }

  /** Two batches that advance one ratchet would lose a step, so the lane covers open and the beginning of the commit. */
  #enter(delivery: Delivery, envelope: Envelope, identified: Identification, again: boolean): Promise<Taken> {
    const lane = identified.kind === 'message' ? identified.source.serviceId : ('' as ServiceId);
    return this.#parts.session.exclusive(lane, () => this.#store(delivery, envelope, identified, again));
  }

  async #store(
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
        return this.#quarantine(delivery, envelope, undefined, identified.reason);
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
      return this.#quarantine(delivery, envelope, identified.source, unopened.reason);
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
    return this.#quarantine(delivery, envelope, source, opened.reason, rows);
  }

  #quarantine(
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
  #forget({ mark, durable }: Taken): void {
    if (mark !== undefined && this.#pending.get(mark) === durable) this.#pending.delete(mark);
  }

  /** A number that only grows, also over restarts as long as the clock does. */
  #nextId(): number {
    this.#lastId = Math.max(this.#lastId + 1, this.#parts.platform.clock.now() * 1000);
    return this.#lastId;
  }
}

const nothing = (): void => undefined;

const SEEN: Taken = { outcome: 'duplicate', durable: Promise.resolve() };

/** Whether an envelope was taken before. */
function isSeen(batch: Batch, { serverTimestamp }: Envelope, mark: string): Reading<boolean> {
  return onceRead(seenMarks.get(batch, serverTimestamp, mark), (at) => at !== undefined);
}

/** A ratchet opens nothing twice, so that what has moved one forward needs no mark of its own. */
function movesRatchet(identified: Identification): boolean {
  return identified.kind === 'message' && identified.type !== INNER.PLAINTEXT;
}
