/**
 * Receiver: envelope to stored row, the first half of the incoming path.
 *
 * A delivery goes received -> stored | handled | duplicate | unreadable | parked | dropped -> acked. The server hears 200 only
 * once the batch is durable, so a crash costs a second delivery and never a message. While one batch is being synced
 * the next deliveries are already opened, those of different senders beside each other; each ack still waits for its own.
 * Spec: The Sesame Algorithm, revision 2, sections 3 (receiving) and 4.1 (retry requests); protocol brief, section 6.
 */
import type { ServiceId } from '../address.ts';
import { decodeEnvelope, type Envelope } from '../content/envelope.ts';
import { BotError, describe } from '../errors.ts';
import type { Identification } from '../session/identify.ts';
import { isAccepted } from '../store/accepted.ts';
import type { Reading } from '../store/reading.ts';
import type { Delivery, Incoming } from '../transport/request.ts';
import type { Listening } from './listening.ts';
import { Places } from './places.ts';
import { Stoppable } from './stoppable.ts';
import { Taking, type Outcome, type Taken, type TakingParts } from './taking.ts';

export type { Outcome, Unseen } from './taking.ts';

export interface ReceiverParts extends TakingParts {
  /** Absent: everything is opened as it is. */
  readonly listening?: Listening;
  /** The server has said that its queue is empty. */
  readonly onDrained: () => void;
}

/** Deliveries that are opened beside each other, each sender's in a row; more would gain nothing on one processor. */
const OPENING = 16;
/** Deliveries that may wait for their commit at once; the server has as many on the way (6.2). */
const IN_FLIGHT = 256;
/** Attempts after a conflict; the fault then is ours, and the server is to send the envelope again. */
const ATTEMPTS = 3;

export class Receiver {
  readonly #parts: ReceiverParts;
  readonly #taking: Taking;
  /** Resolves when the delivery before has entered its sender's lane; undefined when it has. */
  #entered: Promise<void> | undefined;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#taking = new Taking(parts);
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
        this.#taking.forget(taken);
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
        this.#taking.forget(taken);
        await this.accept(delivery);
      }
    } catch (error) {
      delivery.abandon();
      throw error;
    } finally {
      if (taken !== undefined) this.#taking.forget(taken);
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
      return this.#taking.quarantine(delivery, undefined, undefined, `not understood: ${describe(error)}`);
    }
  }

  /** Begins to open; whatever the seals of others cost, senders' lanes are entered in the order of the calls. */
  #open(delivery: Delivery, again: boolean): Reading<Taken> {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(delivery.body);
      envelope = this.#parts.listening?.strip(envelope) ?? envelope;
    } catch (error) {
      return this.#taking.quarantine(
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
    return this.#parts.session.exclusive(lane, () =>
      this.#taking.take(delivery, envelope, identified, again),
    );
  }
}

const nothing = (): void => undefined;
