/**
 * Dispatcher: stored row to handler, the second half of the incoming path.
 *
 * A row is read, routed, and becomes one job for each plugin that takes it. Jobs wait in lanes (lane.ts); lanes run side
 * by side up to a bound. A job that ends well commits what its handler staged together with the row's progress, and the
 * last one removes the row; the lane goes on when the commit is accepted, without waiting for the disk, since the next
 * one is ordered behind it. A job that fails writes nothing but its count, and its lane waits for the next attempt.
 *
 * Rows come by `offer` right behind the receiver's commit; whatever does not fit into memory stays in the store and is
 * read from there (`behind`: the whole inbox is, hungry: a lane is).
 *
 * Rows of a run that died (caution.ts) are called alone: counted on disk before, and nothing else until their end is there.
 */
import { describe, isBotError } from '../errors.ts';
import { decodeContent, type Content } from '../content/content.ts';
import type { Platform } from '../platform.ts';
import type { Batch, Staging, Store } from '../store/store.ts';
import type { InboxRow } from '../store/rows.ts';
import { inboxRows } from '../store/tables.ts';
import { Alarm } from './alarm.ts';
import { Calls } from './calls.ts';
import { Caution } from './caution.ts';
import type { Entry, Lane, Message, Task } from './lane.ts';
import { Lanes } from './lanes.ts';
import { close, hasFailed, isOpen, unreadable, withDiscarded } from './progress.ts';
import { Reader } from './reader.ts';

export interface DispatcherParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Says who takes a message. At once, without throwing, and the same for the same message. */
  readonly router: { route(message: Message): readonly Task[] };
  /** Called when a commit has added outbox rows. Returns at once and does not throw. */
  readonly onRow: (keys: readonly string[]) => void;
  /** What a call that has read anything staged is committed. Returns at once and does not throw. */
  readonly onCommitted?: (staging: Staging) => void;
  /** A handler begins (1), or has ended (-1). Returns at once and does not throw. */
  readonly onCall?: (plugin: string, change: 1 | -1) => void;
  /** A row that stays in the inbox for another run. Quick, and the same for the same row. */
  readonly leaves?: (row: InboxRow) => boolean;
  /** Handlers that run side by side; default 16. */
  readonly maxRunning?: number;
  /** Rows in memory; default 1024. */
  readonly maxRows?: number;
}

/** Since the start of the process. */
export interface DispatcherCounters {
  /** Calls of handlers that ended well. */
  handled: number;
  /** Calls that threw or ran out of time. */
  failed: number;
  /** Rows moved to `dead`. */
  dead: number;
  /** Messages that nobody took, by kind of content. `app`: unknown tags; `null`: fillers, and marks of a newer version. */
  readonly unhandled: Partial<Record<Content['kind'], number>>;
}

const MAX_RUNNING = 16;
const MAX_ROWS = 1024; // more than deliveries can be under way, or those of a busy hour would be read again
/** Lanes that wait for another attempt; beyond that no more is read until some are done. */
const MAX_WAITING = 4_096;
/** What running handlers get when the bot stops, before they are cut off (and called again at the next start). */
const GRACE_MS = 5_000;

export class Dispatcher {
  readonly counters: DispatcherCounters = { handled: 0, failed: 0, dead: 0, unhandled: {} };
  readonly #parts: DispatcherParts;
  readonly #maxRows: number;
  readonly #alarm: Alarm;
  readonly #reader: Reader;
  readonly #lanes: Lanes;
  readonly #caution: Caution;
  readonly #calls: Calls;

  readonly #entries = new Map<number, Entry>();
  /** Rows whose commit is on its way to the disk; those that go in one write share its promise. */
  readonly #onWay = new Map<Promise<void>, Entry[]>();
  /** Calls and commits under way. */
  readonly #tasks = new Set<Promise<void>>();

  #stop: AbortController | undefined;
  #failure: { readonly error: unknown } | undefined;
  #bell: (() => void) | undefined;
  #idlers: (() => void)[] = [];

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.#maxRows = parts.maxRows ?? MAX_ROWS;
    this.#alarm = new Alarm(parts.platform.clock, () => {
      this.#onAlarm();
    });
    this.#lanes = new Lanes(() => this.#bell?.());
    this.#caution = new Caution(parts.store, parts.platform);
    this.#calls = new Calls({
      ...parts,
      maxRunning: parts.maxRunning ?? MAX_RUNNING,
      lanes: this.#lanes,
      caution: this.#caution,
      alarm: this.#alarm,
      counters: this.counters,
      isStopped: () => this.#stop?.signal.aborted !== false,
      isDying: () => this.#isDying,
      commit: (entry, batch) => this.#commitRow(entry, batch),
      awaitDisk: (entry, durable) => {
        this.#awaitDisk(entry, durable);
      },
      release: (entry) => {
        this.#release(entry);
      },
      track: (task) => {
        this.#track(task);
      },
    });
    this.#reader = new Reader({
      store: parts.store,
      limit: this.#maxRows,
      isFull: () => this.#isFull(),
      isClosed: () => this.#isClosed(),
      has: (id) => this.#entries.has(id),
      take: (id, row) => {
        this.#take(id, row);
      },
      takeBack: (lane, id, row) => {
        this.#takeBack(lane, id, row);
      },
    });
  }

  /**
   * Hands over a row whose commit has been called, in the order of the numbers. What does not fit is read later.
   * @param content of the row, where it has been read already
   */
  offer(id: number, row: InboxRow, content?: Content): void {
    if (this.#reader.accepts(id)) this.#take(id, row, content);
    else this.#bell?.();
  }

  /** Rows were put into the inbox by another way than `offer`: reads it from the beginning. */
  ring(): void {
    this.#reader.fallBehind(0);
    this.#bell?.();
  }

  /** Resolves when all rows are handled, dead, or waiting for another attempt, and that is durable. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idlers.push(resolve);
      this.#checkIdle();
    });
  }

  /**
   * Handles rows until the abort; handlers that run then get 5 s to end. After an abort with `UNCAUGHT` it counts as a run
   * that died: one of them may be why.
   * @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED`
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const onAbort = (): void => {
      stop.abort(signal.reason);
      this.#bell?.();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#reset();
    this.#stop = stop;
    if (signal.aborted) stop.abort(signal.reason);
    try {
      await this.#caution.begin();
      await this.#read(stop.signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
      stop.abort();
      this.#reader.reset(); // what is offered from now on waits for the next start
      await this.#drain();
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    await (this.#isDying ? this.#caution.die() : this.#caution.end());
  }

  // ---- reading ----

  async #read(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const lane = this.#isFull() ? undefined : this.#lanes.hungry;
      if (lane !== undefined) {
        await this.#reader.readLane(lane);
        this.#lanes.settle(lane);
        this.#calls.pump();
      } else if (this.#reader.isBehind && !this.#isClosed()) {
        await this.#reader.readInbox();
      } else {
        this.#checkIdle();
        await new Promise<void>((resolve) => {
          this.#bell = resolve;
        });
        this.#bell = undefined;
      }
    }
  }

  // ---- taking ----

  #take(id: number, row: InboxRow, content?: Content): void {
    if (this.#parts.leaves?.(row) === true) return;
    const entry = this.#entryOf(id, row, content);
    if (entry === undefined) return;
    this.#entries.set(id, entry);
    for (const job of entry.jobs) {
      if (job.lane.takes) this.#lanes.queue(job);
      else this.#lanes.spill(job);
    }
    this.#dropIfInactive(entry);
    this.#calls.pump();
  }

  /** The row's other lanes still remember it themselves. */
  #takeBack(lane: Lane, id: number, row: InboxRow): void {
    const entry = this.#entries.get(id) ?? this.#entryOf(id, row, undefined);
    const job = entry?.jobs.find((other) => other.lane === lane && other.state === 'spilled');
    if (entry === undefined || job === undefined) return;
    this.#entries.set(id, entry);
    this.#lanes.queue(job);
    this.#calls.pump();
  }

  /** @returns undefined when nothing is to be done for the row; it is removed then */
  #entryOf(id: number, row: InboxRow, known: Content | undefined): Entry | undefined {
    let content = known;
    try {
      content ??= decodeContent(row.content);
    } catch (error) {
      this.#remove(id, unreadable(row, describe(error)));
      return undefined;
    }
    const routed = this.#parts.router.route({ id, row, content });
    const tasks = routed.filter(({ plugin }) => isOpen(row, plugin));
    if (tasks.length === 0) {
      const { unhandled } = this.counters;
      if (row.progress === undefined || row.progress.length === 0) {
        unhandled[content.kind] = (unhandled[content.kind] ?? 0) + 1;
      }
      this.#remove(id, withDiscarded(row, routed));
      return undefined;
    }
    const entry: Entry = {
      id,
      row: withDiscarded(row, routed),
      jobs: [],
      open: tasks.length,
      active: 0,
      turn: Promise.resolve(),
    };
    for (const task of tasks) {
      entry.jobs.push({ entry, task, lane: this.#lanes.of(`${task.plugin} ${task.lane}`), state: 'spilled' });
    }
    return entry;
  }

  #remove(id: number, row: InboxRow): void {
    const entry: Entry = { id, row, jobs: [], open: 0, active: 0, turn: Promise.resolve() };
    this.#entries.set(id, entry);
    this.#awaitDisk(entry, this.#commitRow(entry, this.#parts.store.batch()));
  }

  #onAlarm(): void {
    const now = this.#parts.platform.clock.now();
    this.#calls.expire(now);
    this.#alarm.set(this.#lanes.wake(now));
    this.#bell?.();
  }

  // ---- committing ----

  /** Adds the row's progress to a batch and commits it. */
  #commitRow(entry: Entry, batch: Batch): Promise<void> {
    if (entry.open > 0) inboxRows.put(batch, entry.id, entry.row);
    else close(batch, entry.id, entry.row);
    this.#reader.note(entry.id);
    return batch.commit();
  }

  /** The commit has been accepted: the row stays in memory until it is durable. */
  #awaitDisk(entry: Entry, durable: Promise<void>): void {
    if (entry.open === 0 && hasFailed(entry.row)) this.counters.dead++;
    entry.active++;
    const others = this.#onWay.get(durable);
    if (others !== undefined) {
      others.push(entry);
      return;
    }
    const entries = [entry];
    this.#onWay.set(durable, entries);
    this.#track(
      durable
        .finally(() => {
          this.#onWay.delete(durable);
        })
        .then(() => {
          for (const written of entries) this.#release(written);
        }),
    );
  }

  #release(entry: Entry): void {
    entry.active--;
    this.#dropIfInactive(entry);
  }

  #dropIfInactive(entry: Entry): void {
    if (entry.active > 0) return;
    this.#entries.delete(entry.id);
    for (const { lane } of entry.jobs) this.#lanes.settle(lane);
    if (this.#reader.isBehind || this.#lanes.hungry !== undefined) this.#bell?.();
    this.#checkIdle();
  }

  // ---- ending ----

  #track(task: Promise<unknown>): void {
    const end = (): void => {
      this.#tasks.delete(tracked);
      this.#checkIdle();
    };
    const tracked = task.then(end, (error: unknown) => {
      this.#failure ??= { error };
      this.#stop?.abort();
      this.#bell?.();
      end();
    });
    this.#tasks.add(tracked);
  }

  async #drain(): Promise<void> {
    const { clock } = this.#parts.platform;
    this.#alarm.stop();
    const done = new AbortController();
    const grace = clock.sleep(this.#isDying ? 0 : GRACE_MS, done.signal).then(
      () => {
        this.#calls.cutOff();
      },
      () => undefined, // all have ended
    );
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    done.abort();
    await grace;
  }

  #reset(): void {
    this.#entries.clear();
    this.#lanes.clear();
    this.#reader.reset();
    this.#calls.reset();
    this.#failure = undefined;
  }

  /** The process is ending by an error that nothing has caught. */
  get #isDying(): boolean {
    return isBotError(this.#stop?.signal.reason, 'UNCAUGHT');
  }

  #isFull(): boolean {
    return this.#entries.size >= this.#maxRows;
  }

  /** Whether rows that were not taken yet have to wait. */
  #isClosed(): boolean {
    return this.#isFull() || this.#lanes.waiting >= MAX_WAITING;
  }

  #checkIdle(): void {
    if (this.#idlers.length === 0 || this.#reader.isBehind || this.#reader.isReading) return;
    if (this.#entries.size > 0 || this.#lanes.hungry !== undefined || this.#tasks.size > 0) return;
    for (const resolve of this.#idlers.splice(0)) resolve();
  }
}
