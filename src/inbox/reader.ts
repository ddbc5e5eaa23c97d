/**
 * Reader: brings rows from the store into the dispatcher's memory.
 *
 * It is caught up, and then rows come by `offer`; or behind, and then it reads the inbox on from `position`. Lanes that have
 * spilled rows are read for one by one. One reading is under way at a time.
 */
import type { Store } from '../store/store.ts';
import type { InboxRow } from '../store/rows.ts';
import { inboxRows, padded } from '../store/tables.ts';
import type { Lane } from './lane.ts';

export interface ReaderParts {
  readonly store: Store;
  /** Rows read at once. */
  readonly limit: number;
  /** Whether no further row fits into memory. */
  readonly isFull: () => boolean;
  /** Whether no row is to be taken that was not taken before. */
  readonly isClosed: () => boolean;
  /** Whether a row is in memory. */
  readonly has: (id: number) => boolean;
  /** Takes a row that is not in memory. */
  readonly take: (id: number, row: InboxRow) => void;
  /** Takes a row, in memory or not, for a lane that had spilled it. */
  readonly takeBack: (lane: Lane, id: number, row: InboxRow) => void;
}

/** Rows of other lanes that are passed over in one reading for a lane. */
const MAX_EXAMINED = 1_024;

export class Reader {
  readonly #parts: ReaderParts;
  /** All rows up to here have been taken, or are remembered by their lanes as spilled. */
  #considered = 0;
  /** The inbox is to be read on from here. */
  #position = 0;
  #behind = true;
  /** Counts what makes a reading under way miss something. */
  #missed = 0;
  #jumps = 0;
  #reading = false;
  /** Rows written while the store is being read: what the scan shows of them is old. */
  readonly #changed = new Set<number>();

  constructor(parts: ReaderParts) {
    this.#parts = parts;
  }

  get isBehind(): boolean {
    return this.#behind;
  }

  get isReading(): boolean {
    return this.#reading;
  }

  /** @returns whether an offered row is to be taken at once; else it is read later */
  accepts(id: number): boolean {
    if (this.#behind) {
      this.#missed++;
      return false;
    }
    if (id <= this.#considered || this.#parts.isClosed()) {
      this.fallBehind(id - 1);
      return false;
    }
    this.#considered = this.#position = id;
    return true;
  }

  /** Has the inbox read again behind this number. */
  fallBehind(position: number): void {
    this.#behind = true;
    this.#missed++;
    if (position >= this.#position) return;
    this.#position = position;
    this.#jumps++;
  }

  /** A commit of this row has been called. */
  note(id: number): void {
    if (this.#reading) this.#changed.add(id);
  }

  /** Forgets everything: the inbox is read from its beginning. */
  reset(): void {
    this.#considered = this.#position = 0;
    this.#behind = true;
  }

  /** @throws BotError `STORE_DAMAGED` */
  readInbox(): Promise<void> {
    return this.#whileReading(async () => {
      const { store, limit, isClosed, has, take } = this.#parts;
      const missed = this.#missed;
      const jumps = this.#jumps;
      let count = 0;
      for await (const [rest, row] of inboxRows.scan(store, [], { after: padded(this.#position), limit })) {
        const id = Number(rest);
        const fresh = await this.#fresh(id, row);
        if (this.#jumps !== jumps || isClosed()) return;
        count++;
        this.#position = id;
        this.#considered = Math.max(this.#considered, id);
        if (fresh !== undefined && !has(id)) take(id, fresh);
      }
      if (count < limit && this.#missed === missed) {
        this.#behind = false;
        this.#position = this.#considered;
      }
    });
  }

  /** Brings back the rows that a lane has spilled, as many as it holds. @throws BotError `STORE_DAMAGED` */
  readLane(lane: Lane): Promise<void> {
    return this.#whileReading(async () => {
      const { store, isFull, has, takeBack } = this.#parts;
      const after = padded((lane.spilled ?? 0) - 1);
      lane.spilled = Infinity; // what comes meanwhile is spilled too, behind these
      let examined = 0;
      for await (const [rest, row] of inboxRows.scan(store, [], { after, limit: MAX_EXAMINED })) {
        const id = Number(rest);
        if (id > this.#considered) break;
        const fresh = has(id) ? row : await this.#fresh(id, row);
        if (!lane.hasRoom || (isFull() && !has(id))) {
          lane.spill(id);
          break;
        }
        if (++examined === MAX_EXAMINED) lane.spill(id + 1);
        if (fresh !== undefined) takeBack(lane, id, fresh);
      }
      if (lane.spilled === Infinity) lane.spilled = undefined;
    });
  }

  async #whileReading(work: () => Promise<void>): Promise<void> {
    this.#reading = true;
    this.#changed.clear();
    try {
      await work();
    } finally {
      this.#reading = false;
    }
  }

  /** The row as it is now, where it was written since the scan began. */
  async #fresh(id: number, row: InboxRow): Promise<InboxRow | undefined> {
    let fresh: InboxRow | undefined = row;
    while (this.#changed.delete(id)) fresh = await inboxRows.get(this.#parts.store.batch(), id);
    return fresh;
  }
}
