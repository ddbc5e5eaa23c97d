/**
 * Hints: which pair a tag of one day names. The table of a day is made when the first message of that day comes, one
 * derivation for each pair, and kept; it changes with the pairs. A server can name any day for a message, and whoever has our
 * route key can make tags of it that lead here: so what is derived for new days has a bound, behind which they are not known.
 * The days around now are few, and have none: however many pairs there are, they are heard.
 */
import type { Bytes } from '../bytes.ts';
import type { Clock } from '../platform.ts';
import { dayOf, hintOf, rotationOf, type OuterEnd, type Rotation } from '../session/outer-tag.ts';

/** A device whose tags count, and the key that it makes them from. */
export interface Pair {
  readonly from: OuterEnd;
  readonly secret: Bytes;
}

export interface Named {
  readonly pair: Pair;
  readonly key: Rotation['key'];
}

/** By hint. Two with one hint are 1 in 2^48; then one of them is not heard that day. */
type Table = Map<number, { readonly pair: Pair; named?: Named }>;

/** Days whose table is kept, the last that were asked for: more than a server keeps messages. */
const MAX_TABLES = 64;
/** Entries of all tables, where these are more than those of the days around now: some 90 MiB. */
const MAX_ENTRIES = 1_000_000;
/** Days before ours and after that are derived whatever it takes: an absence, and a clock of theirs that is ahead. */
const NEAR_BEFORE = 7;
const NEAR_AFTER = 1;
/** Derivations for other days, at once (or those of one day, where these are more) and in a minute. 10 microseconds each. */
const MAX_DERIVED = 100_000;
const DERIVED_PER_MINUTE = 2_000;
const MINUTE_MS = 60_000;

export class Hints {
  readonly #clock: Pick<Clock, 'elapsed' | 'now'>;
  readonly #pairs = new Set<Pair>();
  readonly #tables = new Map<number, Table>();
  #left = MAX_DERIVED;
  #at: number;

  constructor(clock: Pick<Clock, 'elapsed' | 'now'>) {
    this.#clock = clock;
    this.#at = clock.elapsed();
  }

  add(pair: Pair): void {
    this.#pairs.add(pair);
    for (const [day, table] of this.#tables) table.set(hintOf(pair.secret, day), { pair });
  }

  remove(pair: Pair): void {
    this.#pairs.delete(pair);
    for (const [day, table] of this.#tables) {
      const hint = hintOf(pair.secret, day);
      if (table.get(hint)?.pair === pair) table.delete(hint);
    }
  }

  /** The pair that a hint of this day names, with its key of the day. */
  find(day: number, hint: number): Named | undefined {
    const entry = this.#table(day)?.get(hint);
    if (entry === undefined) return undefined;
    entry.named ??= { pair: entry.pair, key: rotationOf(entry.pair.secret, day).key };
    return entry.named;
  }

  #table(day: number): Table | undefined {
    const known = this.#tables.get(day);
    const table = known ?? this.#make(day);
    if (table === undefined) return undefined;
    this.#tables.delete(day); // those that are asked for stay longest
    this.#tables.set(day, table);
    for (const oldest of this.#tables.keys()) {
      if (this.#tables.size <= this.#mostTables) break;
      this.#tables.delete(oldest);
    }
    return table;
  }

  get #mostTables(): number {
    const affordable = Math.floor(MAX_ENTRIES / Math.max(1, this.#pairs.size));
    return Math.min(MAX_TABLES, Math.max(NEAR_BEFORE + 1 + NEAR_AFTER, affordable));
  }

  #make(day: number): Table | undefined {
    if (!this.#isNear(day) && !this.#mayDerive()) return undefined;
    const table: Table = new Map();
    for (const pair of this.#pairs) table.set(hintOf(pair.secret, day), { pair });
    return table;
  }

  #isNear(day: number): boolean {
    const today = dayOf(this.#clock.now());
    return day >= today - NEAR_BEFORE && day <= today + NEAR_AFTER;
  }

  /** Whether one more table of another day may be made; if so, it is counted. */
  #mayDerive(): boolean {
    const now = this.#clock.elapsed();
    const earned = ((now - this.#at) / MINUTE_MS) * DERIVED_PER_MINUTE;
    this.#left = Math.min(Math.max(MAX_DERIVED, this.#pairs.size), this.#left + earned);
    this.#at = now;
    if (this.#left < this.#pairs.size) return false;
    this.#left -= this.#pairs.size;
    return true;
  }
}
