/**
 * Sender: the outbox's rows to the network, the oldest of each recipient first, recipients beside each other.
 *
 *   queued -> sent (the row goes; sent log and transcript are left in its place)
 *          -> later (retryAt is kept in the row) -> queued
 *          -> held (until the contact is trusted; then queued again)
 *          -> failed (kept to be looked at)
 *
 * The store is the truth; in memory there are only the timestamps of the rows, by recipient.
 */
import { setMaxListeners } from 'node:events';
import type { ServiceId } from '../address.ts';
import { encodeTranscript } from '../content/encode.ts';
import { BotError, describe, isBotError } from '../errors.ts';
import { aborted, type Platform } from '../platform.ts';
import { forgetAnnounced } from '../session/peer-tags.ts';
import { newRow } from '../store/outbox-row.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Batch, Store } from '../store/store.ts';
import type { OutboxRow } from '../store/rows.ts';
import { facts, outboxRows, peers, sentLog } from '../store/tables.ts';
import type { Sesame } from './sesame.ts';
import type { Result } from './settled.ts';

export interface SenderParts {
  readonly store: Store;
  readonly sesame: Sesame;
  readonly platform: Platform;
  readonly ownAci: ServiceId;
  /** Says how a row ended; returns at once and does not throw. */
  readonly onSettled: (row: OutboxRow, end: Ending) => void;
}

export type Ending =
  | { readonly state: 'sent'; readonly devices: readonly number[] }
  | { readonly state: 'failed'; readonly error: BotError };

interface Queue {
  /** Of the rows that wait, ascending. */
  readonly timestamps: number[];
  working: boolean;
  /** Ends a wait before its time. */
  wake: AbortController | undefined;
}

/** Recipients that are served at once. */
const CONCURRENCY = 128;
/** Each of them waits for the abort by several listeners; Node warns of more than ten. */
const LISTENERS = 8 * CONCURRENCY;
const BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 15 * 60_000;
/** Longest wait that a row is given, whatever the server names. */
const MAX_WAIT_MS = 24 * 3_600_000;
/** Without a word from the server; it is tried at once when the connection is back. */
const MAX_OFFLINE_MS = 60_000;

export class Sender {
  readonly #parts: SenderParts;
  readonly #queues = new Map<ServiceId, Queue>();
  readonly #waiting: ServiceId[] = [];
  readonly #working = new Set<Promise<void>>();
  #looking: Promise<void> | undefined;
  /** The last timestamp that is known to have been sent. */
  #highest = 0;
  #stop: { readonly signal: AbortSignal; readonly fail: (reason: unknown) => void } | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  /**
   * Sends until aborted; then what is under way is finished or given up, and stays in the store.
   * @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED`
   */
  async run(signal: AbortSignal): Promise<void> {
    const { promise, reject } = withRejection();
    const own = new AbortController();
    const both = AbortSignal.any([signal, own.signal]);
    setMaxListeners(LISTENERS, both);
    this.#stop = { signal: both, fail: reject };
    try {
      await this.#look();
      await Promise.race([promise, aborted(both)]);
    } finally {
      own.abort();
      this.#stop = undefined;
      await Promise.all(this.#working);
    }
  }

  /** A row's commit has begun. */
  offer({ recipient, timestamp }: Pick<OutboxRow, 'recipient' | 'timestamp'>): void {
    if (this.#stop !== undefined) this.#enqueue(recipient, timestamp);
  }

  /** Rows were left by another way than `offer`: looks for them. Rings that come together are one look. */
  ring(): void {
    if (this.#stop === undefined || this.#looking !== undefined) return;
    this.#looking = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      this.#looking = undefined;
      try {
        await this.#look();
      } catch (error) {
        this.#stop?.fail(error);
      }
    });
  }

  /** The connection is back, or trust has changed: those that wait for want of an answer try at once. */
  retryNow(): void {
    for (const queue of this.#queues.values()) queue.wake?.abort();
  }

  async #look(): Promise<void> {
    for await (const [, row] of outboxRows.scan(this.#parts.store)) {
      if (this.#stop === undefined || this.#stop.signal.aborted) return;
      if (row.state === 'queued') this.#enqueue(row.recipient, row.timestamp);
    }
  }

  #enqueue(recipient: ServiceId, timestamp: number): void {
    let queue = this.#queues.get(recipient);
    if (queue === undefined) {
      queue = { timestamps: [], working: false, wake: undefined };
      this.#queues.set(recipient, queue);
    }
    const { timestamps } = queue;
    if ((timestamps.at(-1) ?? 0) < timestamp) timestamps.push(timestamp);
    else if (!timestamps.includes(timestamp)) {
      timestamps.push(timestamp);
      timestamps.sort((a, b) => a - b);
    }
    if (queue.working) return;
    queue.working = true;
    this.#waiting.push(recipient);
    this.#startNext();
  }

  #startNext(): void {
    while (this.#working.size < CONCURRENCY) {
      const recipient = this.#waiting.shift();
      if (recipient === undefined) return;
      const work: Promise<void> = this.#serve(recipient)
        .catch((error: unknown) => this.#stop?.fail(error))
        .finally(() => {
          this.#working.delete(work);
          this.#startNext();
        });
      this.#working.add(work);
    }
  }

  /** Sends the recipient's rows until none is left or one must wait. */
  async #serve(recipient: ServiceId): Promise<void> {
    const queue = this.#queues.get(recipient);
    const { store, platform } = this.#parts;
    for (;;) {
      const timestamp = queue?.timestamps[0];
      if (
        queue === undefined ||
        timestamp === undefined ||
        this.#stop === undefined ||
        this.#stop.signal.aborted
      )
        break;
      const row = await outboxRows.get(store.batch(), recipient, timestamp);
      if (row?.state !== 'queued') {
        remove(queue, timestamp);
        continue;
      }
      const delayMs = row.retryAt - platform.clock.now();
      // A time that is further away than any that we write is from a clock that was wrong.
      const mustWait = delayMs > 0 && delayMs <= MAX_WAIT_MS;
      const waitMs = mustWait ? delayMs : await this.#attempt(row, this.#stop.signal);
      if (waitMs === 0) {
        remove(queue, timestamp);
        continue;
      }
      this.#wait(recipient, queue, waitMs);
      return;
    }
    if (queue !== undefined) queue.working = false;
    if (queue?.timestamps.length === 0) this.#queues.delete(recipient);
  }

  /** Leaves the row alone for a while without holding a place among those that are served. */
  #wait(recipient: ServiceId, queue: Queue, ms: number): void {
    const { signal } = this.#stop ?? { signal: AbortSignal.abort() };
    const wake = new AbortController();
    queue.wake = wake;
    const again = (): void => {
      queue.wake = undefined;
      if (signal.aborted) return;
      this.#waiting.push(recipient);
      this.#startNext();
    };
    this.#parts.platform.clock.sleep(ms, AbortSignal.any([signal, wake.signal])).then(again, again);
  }

  /** @returns 0 when the row is settled, else the ms to wait */
  async #attempt(row: OutboxRow, signal: AbortSignal): Promise<number> {
    const { sesame } = this.#parts;
    let result: Result;
    try {
      result = await sesame.deliver(row, signal);
    } catch (error) {
      if (signal.aborted) return MAX_OFFLINE_MS;
      if (isBotError(error, 'STORE_CONFLICT')) return 1;
      // Only the store is a reason to stop: whatever server and network do, the row waits.
      if (!(error instanceof BotError) || error.code.startsWith('STORE_')) throw error;
      result = { kind: error.code === 'PAYLOAD_TOO_LARGE' ? 'failed' : 'later', error };
    }
    switch (result.kind) {
      case 'delivered':
        return this.#sent(row, result);
      case 'paced':
        return result.delayMs;
      case 'held':
      case 'failed':
        return this.#fail(row, result.error, result.kind);
      case 'later':
        return this.#later(row, result.error);
    }
  }

  async #later(row: OutboxRow, error: BotError): Promise<number> {
    const { clock, log } = this.#parts.platform;
    const now = clock.now();
    const backoff = backoffMs(row.attempts, error);
    const named = error.retryAt === undefined ? 0 : Math.min(error.retryAt, now + MAX_WAIT_MS);
    log.info(
      { recipient: row.recipient, error: describe(error), retryAt: named || now + backoff },
      'sending later',
    );
    await this.#settle(row, (batch, current, isThere) => {
      const { recipient, timestamp, attempts } = current;
      if (!isThere) return; // it was taken back while it was under way
      outboxRows.put(batch, recipient, timestamp, {
        ...current,
        attempts: attempts + 1,
        error: error.code,
        retryAt: named,
      });
    });
    return Math.max(1, (named || now + backoff) - clock.now());
  }

  async #sent(row: OutboxRow, result: Extract<Result, { kind: 'delivered' }>): Promise<number> {
    const { store, platform, ownAci, onSettled } = this.#parts;
    const { recipient, timestamp, content, urgent, tag, log, transcript } = row;
    const own = await peers.get(store.batch(), 'aci', ownAci);
    const hasOthers = result.needsSync || (own?.devices.length ?? 0) > 0;
    const sync =
      transcript && recipient !== ownAci && hasOthers
        ? encodeTranscript(content, recipient, timestamp, result.sealed)
        : undefined;
    const copy = sync && newRow({ recipient: ownAci, timestamp, kind: 'sync', content: sync });
    const left = await this.#settle(row, (batch, current) => {
      // Devices that have asked for it since are still to get it.
      const devices = current.devices.filter((device) => !row.devices.includes(device));
      if (devices.length > 0) outboxRows.put(batch, recipient, timestamp, { ...current, devices });
      else outboxRows.delete(batch, recipient, timestamp);
      if (log) {
        const sentAt = platform.clock.now();
        sentLog.put(batch, recipient, timestamp, { content, sentAt, devices: result.devices, urgent, tag });
      }
      if (copy !== undefined) outboxRows.put(batch, ownAci, timestamp, copy);
      if (timestamp > this.#highest) facts.put(batch, 'lastStamp', (this.#highest = timestamp));
      return devices.length > 0;
    });
    if (copy !== undefined) this.offer(copy);
    onSettled(row, { state: 'sent', devices: result.devices });
    return left ? 1 : 0;
  }

  async #fail(row: OutboxRow, error: BotError, state: 'held' | 'failed'): Promise<number> {
    const { platform, onSettled } = this.#parts;
    const { recipient, timestamp } = row;
    platform.log.warn(
      { recipient, error: describe(error) },
      state === 'held' ? 'a message is held back' : 'a message will not be sent',
    );
    await this.#settle(row, async (batch, current, isThere) => {
      if (!isThere) return;
      // What nobody asked for leaves nothing behind to look at.
      const isAsked = row.kind === 'text' || row.kind === 'app';
      if (isAsked)
        outboxRows.put(batch, recipient, timestamp, {
          ...current,
          attempts: current.attempts + 1,
          state,
          error: error.code,
        });
      else outboxRows.delete(batch, recipient, timestamp);
      if (row.kind === 'announce') await forgetAnnounced(batch, recipient);
    });
    onSettled(row, { state: 'failed', error });
    return 0;
  }

  /** Changes the row as it is now: while it was under way, another device may have asked for the same message. */
  async #settle<T>(
    row: OutboxRow,
    change: (batch: Batch, current: OutboxRow, isThere: boolean) => T | Promise<T>,
  ): Promise<T> {
    return writeAgainOnConflict(this.#parts.store, async (batch) => {
      const current = await outboxRows.get(batch, row.recipient, row.timestamp);
      return change(batch, current ?? row, current !== undefined);
    });
  }
}

/** It need not be the first any more: a row with an older timestamp may have come while this one was under way. */
function remove({ timestamps }: Queue, timestamp: number): void {
  const place = timestamps.indexOf(timestamp);
  if (place >= 0) timestamps.splice(place, 1);
}

function backoffMs(attempts: number, error: BotError): number {
  const most =
    error.code === 'SERVER_UNREACHABLE' || error.code === 'REQUEST_TIMEOUT' ? MAX_OFFLINE_MS : MAX_BACKOFF_MS;
  return Math.min(most, BACKOFF_MS * 2 ** Math.min(attempts, 16));
}

function withRejection(): { promise: Promise<never>; reject: (reason: unknown) => void } {
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<never>((_, no) => {
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, reject };
}
