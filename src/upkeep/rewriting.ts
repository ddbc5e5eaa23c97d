/**
 * Rewriting: has the store write its files anew, so that what was deleted or overwritten leaves the disk: ratchets of before,
 * texts that were sent, shares that a refresh has made worthless, nonces. Who gets hold of the disk later finds none of it.
 *
 * All of the store some minutes after start and then daily; where plugins have deleted rows, those places a few seconds
 * later, at most once a minute and a tenth of the time. One turn is one piece, so that other upkeep goes on between.
 */
import type { Platform } from '../platform.ts';
import type { Store } from '../store/store.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** ms after start before all of the store is written anew. */
const FIRST_MS = 10 * MINUTE_MS;
/** ms that deletions are gathered for. */
const GATHER_MS = 5 * SECOND_MS;
/** ms between two pieces, in which the disk is free for others. */
const PAUSE_MS = 100;
/** ms before a piece that a scan stood in the way of is tried again, and how often it is. */
const BUSY_MS = 2 * SECOND_MS;
const MAX_TRIES = 30;
/** Times of what deletions have cost that must pass before they are looked at again. */
const REST = 9;

/** What is being written anew. */
interface Job {
  readonly prefix: string;
  readonly isDaily: boolean;
  /** Where the next piece begins; undefined: at the beginning. */
  from: string | undefined;
  tries: number;
}

export interface RewritingParts {
  readonly store: Store;
  readonly platform: Pick<Platform, 'clock' | 'log'>;
  /** @returns at random from 0 to below `ms` */
  readonly jitter: (ms: number) => number;
}

export class Rewriting {
  readonly #parts: RewritingParts;
  /** What the deleted keys of a plugin's table begin with, by what all its keys begin with. */
  readonly #deleted = new Map<string, string>();
  #jobs: Job[] = [];
  /** ms */
  #dailyAt: number;
  #deletedAt = Infinity;
  #restUntil = 0;
  /** Of the job in hand; what is deleted meanwhile does not bring it forward. */
  #nextAt = 0;
  /** ms that the deletions of this time have cost so far. */
  #spentMs = 0;

  constructor(parts: RewritingParts) {
    this.#parts = parts;
    this.#dailyAt = this.#now() + FIRST_MS + parts.jitter(MINUTE_MS);
  }

  /** ms: when the next turn is due. */
  get dueAt(): number {
    return this.#jobs.length > 0 ? this.#nextAt : Math.min(this.#dailyAt, this.#lookAt);
  }

  /** Rows of plugins are gone. @param keys as in the store: `TABLE/PLUGIN/KEY` */
  noteDeleted(keys: readonly string[]): void {
    for (const key of keys) {
      const owner = key.slice(0, key.indexOf('/', key.indexOf('/') + 1) + 1);
      this.#deleted.set(owner, commonStart(this.#deleted.get(owner) ?? key, key));
    }
    this.#deletedAt = Math.min(this.#deletedAt, this.#now() + GATHER_MS);
  }

  /** @returns ms until the next turn @throws BotError `STORE_WRITE_FAILED`, `STORE_CLOSED` */
  async turn(): Promise<number> {
    const waitMs = await this.#piece();
    this.#nextAt = this.#now() + waitMs;
    return waitMs;
  }

  async #piece(): Promise<number> {
    const { store, platform } = this.#parts;
    const { clock, log } = platform;
    this.#takeUp();
    const job = this.#jobs[0];
    if (job !== undefined) {
      const began = clock.elapsed();
      const next = await store.compact(job.prefix, job.from);
      if (!job.isDaily) this.#rest(clock.elapsed() - began);
      if (next !== undefined && next === job.from) {
        if (++job.tries < MAX_TRIES) return BUSY_MS;
        log.warn({}, 'what was deleted could not be taken off the disk now; a day later');
      }
      const isOver = next === undefined || next === job.from;
      if (isOver) this.#jobs.shift();
      else [job.from, job.tries] = [next, 0];
    }
    return this.#jobs.length > 0 ? PAUSE_MS : Math.max(0, this.dueAt - this.#now());
  }

  /** What plugins have deleted goes before the rest. */
  #takeUp(): void {
    const now = this.#now();
    if (this.#lookAt <= now && this.#jobs.every(({ isDaily }) => isDaily)) {
      const prefixes = [...this.#deleted.values()];
      this.#deleted.clear();
      this.#deletedAt = Infinity;
      [this.#restUntil, this.#spentMs] = [now + MINUTE_MS, 0];
      this.#jobs.unshift(...prefixes.map((prefix) => newJob(prefix, false)));
    }
    if (this.#dailyAt <= now) {
      this.#dailyAt = now + DAY_MS - this.#parts.jitter(2 * 60 * MINUTE_MS);
      if (!this.#jobs.some(({ isDaily }) => isDaily)) this.#jobs.push(newJob('', true));
    }
  }

  /** ms: when deletions are looked at; what has come while others were goes by the rest that is due by now. */
  get #lookAt(): number {
    return Math.max(this.#deletedAt, this.#restUntil);
  }

  #rest(tookMs: number): void {
    this.#spentMs += tookMs;
    this.#restUntil = Math.max(this.#restUntil, this.#now() + REST * this.#spentMs);
  }

  #now(): number {
    return this.#parts.platform.clock.now();
  }
}

function newJob(prefix: string, isDaily: boolean): Job {
  return { prefix, isDaily, from: undefined, tries: 0 };
}

/** The longest text that both begin with; no half of a surrogate pair at its end. */
function commonStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length).replace(/[\ud800-\udbff]$/, '');
}
