/**
 * Upkeep: what a device has to do by the clock. Each task says when it wants its next turn; a task that fails is tried
 * again with growing waits and stops nobody else.
 *
 * | task | when |
 * |---|---|
 * | certificate | at start; at half its life, daily at the least |
 * | prekeys | at start; daily |
 * | refill | soon after a prekey was used |
 * | used keys | sixteen minutes after one was used |
 * | contacts | at start and after each ring, where the phone has sent a list |
 * | purge | a minute after start; daily |
 * | rewriting | minutes after start; daily; seconds after a plugin has deleted rows |
 */
import { BotError, describe, isBotError } from '../errors.ts';
import { randomInt, type Platform } from '../platform.ts';
import type { Profile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import { account as accountCell } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';
import { parseRetryAfter } from '../transport/retry-after.ts';
import { syncContacts, type Download } from './contact-sync.ts';
import { PrekeyUpkeep } from './prekey-upkeep.ts';
import { purge, purgePrekeys, RETENTION } from './purge.ts';
import { Rewriting } from './rewriting.ts';
import { renewSenderCertificate } from './sender-certificate.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** First wait after a failure, doubled each time up to the last. */
const RETRY_MS = 30 * SECOND_MS;
const MAX_RETRY_MS = HOUR_MS;
/** Rings within this time are one. */
const RING_MS = 5 * SECOND_MS;
/** ms between two refills however often it rings. */
const REFILL_PAUSE_MS = MINUTE_MS;

export interface UpkeepParts {
  readonly store: Store;
  /** Authenticated. */
  readonly requester: Requester;
  readonly platform: Platform;
  readonly profile: Profile;
  /** After the facts `senderCertificate` or `sealedSender` were written. Returns at once and does not throw. */
  readonly onSenderCertificate?: () => void;
  /** For tests. */
  readonly download?: Download;
}

interface Task {
  readonly name: string;
  /** ms; `Infinity`: not before a ring. */
  dueAt: number;
  failures: number;
  /** @returns ms until the next turn */
  readonly run: (signal: AbortSignal) => Promise<number>;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  #refill: Task | undefined;
  #usedKeys: Task | undefined;
  #contacts: Task | undefined;
  #rewrite: Task | undefined;
  readonly #rewriting: Rewriting;
  #refilledAt = 0;
  /** ms: the latest Retry-After of the turn in hand. */
  #retryAt = 0;
  /** Ends the wait for the next task. */
  #alarm = new AbortController();

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    const { store, platform } = parts;
    this.#rewriting = new Rewriting({ store, platform, jitter: (ms) => this.#jitter(ms) });
  }

  /**
   * Runs until the signal is aborted.
   * @throws BotError `NOT_LINKED`; `STORE_WRITE_FAILED`, `STORE_DAMAGED`, `STORE_CLOSED`. What the server does is logged only
   */
  async run(signal: AbortSignal): Promise<void> {
    const { store, platform } = this.#parts;
    if (!(await accountCell.get(store.batch())))
      throw new BotError('NOT_LINKED', 'there is no account to look after');
    const tasks = this.#tasks(signal);
    while (!signal.aborted) {
      const task = tasks.reduce((a, b) => (b.dueAt < a.dueAt ? b : a));
      const waitMs = task.dueAt - platform.clock.now();
      if (waitMs > 0) await this.#wait(waitMs, signal);
      else await this.#turn(task, signal);
    }
  }

  /** A prekey was used, or the phone sent its contacts: looks soon. Harmless at any time. */
  ring(): void {
    const { clock } = this.#parts.platform;
    const soon = clock.now() + RING_MS;
    advance(this.#refill, Math.max(soon, this.#refilledAt + REFILL_PAUSE_MS));
    advance(this.#usedKeys, clock.now() + RETENTION.usedEcMs + MINUTE_MS);
    advance(this.#contacts, soon);
    this.#alarm.abort();
  }

  /** Rows of plugins are gone from the store, and are to leave the disk. @param keys `TABLE/PLUGIN/KEY` */
  noteDeleted(keys: readonly string[]): void {
    this.#rewriting.noteDeleted(keys);
    const { dueAt } = this.#rewriting;
    if (this.#rewrite === undefined || dueAt >= this.#rewrite.dueAt) return;
    advance(this.#rewrite, dueAt);
    this.#alarm.abort();
  }

  #tasks(signal: AbortSignal): readonly Task[] {
    const { store, platform, profile, onSenderCertificate, download } = this.#parts;
    const { clock } = platform;
    // An abort ends requests under way, so that stopping does not wait for their deadlines.
    const requester: Requester = {
      request: async (request, options) => {
        const response = await this.#parts.requester.request(request, { ...options, signal });
        const afterMs = response.status < 400 ? undefined : parseRetryAfter(response.headers['retry-after']);
        if (afterMs !== undefined) this.#retryAt = Math.max(this.#retryAt, clock.now() + afterMs);
        return response;
      },
    };
    const prekeys = new PrekeyUpkeep({ store, requester, platform });
    const now = clock.now();
    const task = (name: string, dueAt: number, run: Task['run']): Task => ({ name, dueAt, failures: 0, run });
    this.#refill = task('refill', Infinity, async () => {
      this.#refilledAt = clock.now();
      await prekeys.refill();
      return Infinity;
    });
    this.#usedKeys = task('used keys', now + RETENTION.usedEcMs + MINUTE_MS, async () => {
      await purgePrekeys({ store, clock });
      return Infinity;
    });
    let isOffered = true;
    const contactParts = { store, platform, profile, ...(download && { download }) };
    this.#contacts = task('contacts', now, async (stop) => {
      // Without a CDN in the profile there is nothing to look for until the next start.
      if (isOffered) isOffered = (await syncContacts(contactParts, stop)) !== 'not-offered';
      return Infinity;
    });
    this.#rewrite = task('rewriting', this.#rewriting.dueAt, () => this.#rewriting.turn());
    const certificateParts = {
      store, requester, platform, profile,
      ...(onSenderCertificate && { onChange: onSenderCertificate }),
    }; // prettier-ignore
    return [
      task('certificate', now, () => renewSenderCertificate(certificateParts)),
      task('prekeys', now + this.#jitter(5 * SECOND_MS), async () => {
        await prekeys.check();
        return DAY_MS - this.#jitter(2 * HOUR_MS);
      }),
      this.#refill,
      this.#usedKeys,
      this.#contacts,
      this.#rewrite,
      task('purge', now + MINUTE_MS + this.#jitter(MINUTE_MS), async () => {
        const rows = await purge({ store, clock });
        platform.log.debug({ rows }, 'rows past their time are gone');
        return DAY_MS - this.#jitter(2 * HOUR_MS);
      }),
    ];
  }

  async #turn(task: Task, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts.platform;
    task.dueAt = Infinity; // a ring during the turn sets it again
    this.#retryAt = 0;
    try {
      const waitMs = await task.run(signal);
      task.failures = 0;
      task.dueAt = Math.min(task.dueAt, clock.now() + waitMs);
    } catch (error) {
      if (signal.aborted) return;
      if (isFatal(error)) throw error;
      const waitMs = this.#retryMs(task);
      task.failures += 1;
      task.dueAt = clock.now() + waitMs;
      log.warn(
        { task: task.name, error: describe(error), retryInMs: waitMs },
        'upkeep failed and is tried again',
      );
    }
  }

  /** What the server asked for, but not less than the ordinary wait. */
  #retryMs(task: Task): number {
    const ordinary = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** Math.min(task.failures, 10));
    const asked = this.#retryAt - this.#parts.platform.clock.now();
    return Math.max(ordinary, Math.min(asked, DAY_MS)) + this.#jitter(RETRY_MS / 2);
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#alarm.signal.aborted) this.#alarm = new AbortController();
    try {
      await this.#parts.platform.clock.sleep(
        Math.min(ms, HOUR_MS),
        AbortSignal.any([signal, this.#alarm.signal]),
      );
    } catch (error) {
      if (!signal.aborted && !this.#alarm.signal.aborted) throw error;
    }
  }

  #jitter(ms: number): number {
    return randomInt(this.#parts.platform.random, ms);
  }
}

/** A task that has failed keeps its wait, however often it rings. */
function advance(task: Task | undefined, at: number): void {
  if (task?.failures === 0) task.dueAt = Math.min(task.dueAt, at);
}

/** The store cannot be trusted with more. */
function isFatal(error: unknown): boolean {
  return !isBotError(error) || ['STORE_WRITE_FAILED', 'STORE_DAMAGED', 'STORE_CLOSED'].includes(error.code);
}
