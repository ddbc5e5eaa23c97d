/**
 * Greeting: tells a peer our tags before the first app message to it, where we hear only those who know our route key
 * (`inbox/listening.ts`). Were it told afterwards, as otherwise, an answer could come before it and would not be heard.
 */
import type { ServiceId } from '../address.ts';
import type { OwnTags } from '../session/peer-tags.ts';
import type { Session } from '../session/session.ts';
import type { Store } from '../store/store.ts';
import type { OutboxRow } from '../store/rows.ts';
import { outboxRows, sentLog } from '../store/tables.ts';
import type { Gate } from './gate.ts';

export interface GreetingParts {
  readonly store: Store;
  readonly session: Session;
  readonly gate: Gate;
  readonly tags: OwnTags;
  readonly ownAci: ServiceId;
  /** A row was staged and its commit begun. Returns at once and does not throw. */
  readonly onOutbox: (row: OutboxRow) => void;
  /** What we have told a peer has changed. Returns at once and does not throw. */
  readonly onPeer: (peer: ServiceId) => void;
}

/** Peers that are remembered as greeted in this run, so that one who cannot be told holds up nothing. */
const REMEMBERED = 4096;

export class Greeting {
  readonly #parts: GreetingParts;
  readonly #greeted = new Set<ServiceId>();

  constructor(parts: GreetingParts) {
    this.#parts = parts;
  }

  /**
   * Leaves the announcement as a row that is older than `row`, so that it goes first.
   * @returns whether it did: then `row` is to wait its turn
   */
  async before(row: OutboxRow): Promise<boolean> {
    const { store, session, gate, tags, ownAci, onOutbox, onPeer } = this.#parts;
    const { recipient, kind } = row;
    if (kind !== 'app' || recipient === ownAci || this.#greeted.has(recipient)) return false;
    if (await gate.byCarrier(store.batch(), row)) return false;
    if (this.#greeted.size >= REMEMBERED) this.#greeted.clear();
    this.#greeted.add(recipient);
    const announcement = await session.exclusive(recipient, async () => {
      const batch = store.batch();
      let timestamp = row.timestamp - 1;
      // Nothing may be left under a name that another message to this peer has.
      while (
        (await outboxRows.get(batch, recipient, timestamp)) !== undefined ||
        (await sentLog.get(batch, recipient, timestamp)) !== undefined
      )
        timestamp--;
      const left = await tags.announce(batch, recipient, () => timestamp);
      if (left !== undefined) outboxRows.put(batch, recipient, timestamp, left);
      await batch.commit();
      return left;
    });
    if (announcement === undefined) return false;
    onPeer(recipient);
    onOutbox(announcement);
    return true;
  }
}
