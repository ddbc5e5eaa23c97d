/**
 * Calls: handlers at work, and what becomes of each call.
 *
 * A call that ends well commits what it staged together with its row's progress, and its lane goes on when that is accepted;
 * one that fails writes its count alone, and its lane waits for the next attempt. A row of a run that died (caution.ts) is
 * called alone, and counted on disk before.
 */
import { BotError, describe, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { isAccepted } from '../store/accepted.ts';
import type { Batch, Staging, Store } from '../store/store.ts';
import type { InboxRow } from '../store/rows.ts';
import type { Alarm } from './alarm.ts';
import { Attempt } from './attempt.ts';
import type { Caution } from './caution.ts';
import { isAlone, takeTurn, type Entry, type Job } from './lane.ts';
import type { Lanes } from './lanes.ts';
import { MAX_ATTEMPTS, progressOf, withCall, withDiscarded, withDone, withFailure } from './progress.ts';

export interface CallsParts {
  readonly store: Store;
  readonly platform: Platform;
  readonly lanes: Lanes;
  readonly caution: Caution;
  readonly alarm: Alarm;
  readonly counters: { handled: number; failed: number };
  /** Handlers that run side by side. */
  readonly maxRunning: number;
  /** A commit has added outbox rows. */
  readonly onRow: (keys: readonly string[]) => void;
  /** What a call that has read anything staged is committed. */
  readonly onCommitted?: ((staging: Staging) => void) | undefined;
  /** A handler begins (1), or has ended (-1). */
  readonly onCall?: ((plugin: string, change: 1 | -1) => void) | undefined;
  /** Nothing more is to begin. */
  readonly isStopped: () => boolean;
  /** The process is ending by an error that nothing has caught. */
  readonly isDying: () => boolean;
  /** Adds the row's progress to a batch and begins its commit. */
  readonly commit: (entry: Entry, batch: Batch) => Promise<void>;
  /** The commit is accepted: the row stays in memory until it is durable. */
  readonly awaitDisk: (entry: Entry, durable: Promise<void>) => void;
  /** A job of the row is done with, or waits in the store. */
  readonly release: (entry: Entry) => void;
  /** Owns a promise: its failure ends the run. */
  readonly track: (task: Promise<unknown>) => void;
}

const DEADLINE_MS = 60_000;

export class Calls {
  readonly #parts: CallsParts;
  readonly #running = new Set<Attempt>();
  /** A call is under way that nothing may run beside; its row before it was counted. */
  #alone: { readonly row: InboxRow } | undefined;
  #cutOff = false;

  constructor(parts: CallsParts) {
    this.#parts = parts;
  }

  /** Starts what can run now. */
  pump(): void {
    while (
      this.#alone === undefined &&
      this.#running.size < this.#parts.maxRunning &&
      !this.#parts.isStopped()
    ) {
      const alone = this.#parts.caution.covers(this.#parts.lanes.first?.entry.id ?? Infinity);
      if (alone && this.#running.size > 0) return;
      const job = this.#parts.lanes.next();
      if (job === undefined) return;
      this.#start(job, alone);
    }
  }

  #start(job: Job, alone: boolean): void {
    const { clock } = this.#parts.platform;
    const now = clock.now();
    const { attempts, retryAt } = progressOf(job.entry.row, job.task.plugin);
    if (retryAt > now) {
      this.#wait(job, retryAt);
      return;
    }
    const deadlineMs = job.task.deadlineMs ?? DEADLINE_MS;
    const attempt = new Attempt(this.#parts.store.batch(), attempts + 1, now + deadlineMs);
    job.lane.running = true;
    this.#running.add(attempt);
    this.#parts.alarm.set(attempt.deadline);
    this.#parts.track(alone ? this.#callAlone(job, attempt) : this.#call(job, attempt));
  }

  async #callAlone(job: Job, attempt: Attempt): Promise<void> {
    const { entry, task } = job;
    const { row } = (this.#alone = { row: entry.row });
    try {
      await this.#write(entry, withCall(row, task.plugin, this.#parts.caution.weight));
      const stopped = this.#parts.isStopped();
      if (stopped) this.#running.delete(attempt);
      const ended = !stopped && (await this.#call(job, attempt));
      if (!ended && !this.#parts.isDying()) await this.#write(entry, row);
    } finally {
      this.#alone = undefined;
    }
    this.pump();
  }

  async #write(entry: Entry, row: InboxRow): Promise<void> {
    entry.row = row;
    await this.#parts.commit(entry, this.#parts.store.batch());
  }

  /** @returns false when it was cut off */
  async #call(job: Job, attempt: Attempt): Promise<boolean> {
    const { onCall } = this.#parts;
    onCall?.(job.task.plugin, 1);
    let failure: { readonly error: unknown } | undefined;
    try {
      await attempt.run(job.task);
    } catch (error) {
      failure = { error };
    }
    this.#running.delete(attempt);
    onCall?.(job.task.plugin, -1);
    if (this.#cutOff) return false;
    await (failure === undefined ? this.#succeed(job, attempt) : this.#fail(job, attempt, failure.error));
    job.lane.running = false;
    this.#parts.lanes.settle(job.lane);
    this.pump();
    return true;
  }

  async #succeed(job: Job, attempt: Attempt): Promise<void> {
    const { entry, task } = job;
    const release = isAlone(entry) ? undefined : await takeTurn(entry);
    try {
      const before = entry.row;
      entry.row = entry.jobs.length > 1 || before.progress?.length ? withDone(before, task.plugin) : before;
      entry.open--;
      const durable = this.#parts.commit(entry, attempt.close());
      if (attempt.hasRead && !(await isAccepted(durable))) {
        entry.row = this.#alone?.row ?? before;
        entry.open++;
        job.lane.queue.unshift(job); // nothing was written: the handler sees the new values
        return;
      }
      this.#parts.awaitDisk(entry, durable);
      if (attempt.outbox.length > 0) this.#parts.onRow(attempt.outbox);
      if (attempt.hasRead) this.#parts.onCommitted?.(attempt);
      this.#parts.counters.handled++;
      this.#leave(job);
      if (this.#alone !== undefined) await durable;
    } finally {
      release?.();
    }
  }

  async #fail(job: Job, attempt: Attempt, error: unknown): Promise<void> {
    const { entry, task } = job;
    const { platform, store } = this.#parts;
    attempt.abandon(new BotError('PLUGIN_FAILED', 'the handler has failed; nothing can be staged any more'));
    const release = await takeTurn(entry);
    try {
      const failed = { plugin: task.plugin, attempts: attempt.attempt, error: describe(error) };
      entry.row = withFailure(this.#alone?.row ?? entry.row, failed, platform.clock.now(), platform.random);
      const { attempts, retryAt } = progressOf(entry.row, task.plugin);
      const again = attempts < MAX_ATTEMPTS;
      if (!again) entry.open--;
      entry.row = withDiscarded(entry.row, [task]);
      const durable = this.#parts.commit(entry, store.batch());
      this.#parts.awaitDisk(entry, durable);
      this.#parts.counters.failed++;
      const code = isBotError(error) ? error.code : error instanceof Error ? error.name : typeof error;
      platform.log.warn(
        { plugin: task.plugin, row: entry.id, attempts, error: code },
        again ? 'a handler failed' : 'a handler failed for the last time',
      );
      if (again) this.#wait(job, retryAt);
      else this.#leave(job);
      if (this.#alone !== undefined) await durable;
    } finally {
      release?.();
    }
  }

  /** The lane's rows leave memory until its time has come. */
  #wait(job: Job, until: number): void {
    for (const { entry } of this.#parts.lanes.wait(job, until)) this.#parts.release(entry);
    this.#parts.alarm.set(until);
  }

  #leave(job: Job): void {
    job.state = 'ended';
    this.#parts.release(job.entry);
  }

  /** Ends the calls whose time is over, and sets the alarm for the others. */
  expire(now: number): void {
    for (const attempt of this.#running) {
      if (attempt.deadline <= now)
        attempt.abandon(new BotError('PLUGIN_FAILED', 'the handler did not end in time'));
      else this.#parts.alarm.set(attempt.deadline);
    }
  }

  /** The bot stops, and their grace is over: their rows are called again at the next start. */
  cutOff(): void {
    this.#cutOff = true;
    const reason = new BotError('PLUGIN_FAILED', 'the bot is stopping');
    for (const attempt of this.#running) attempt.abandon(reason);
  }

  /** Before a new run. */
  reset(): void {
    this.#cutOff = false;
  }
}
