/**
 * Pending: the requests of one socket that wait for their answer, each with its deadline.
 *
 * One sleeper wakes at the earliest deadline; a timer per request would cost more than all else about it.
 */
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import { Aborts } from './aborts.ts';
import type { RequestOptions, Response } from './request.ts';

const DEFAULT_TIMEOUT_MS = 30_000;

interface Entry {
  /** By `Clock.elapsed`, which nobody sets: a clock that is put right ends no request and makes none wait. */
  readonly deadline: number;
  /** Of the frame. */
  readonly bytes: number;
  resolve(response: Response): void;
  reject(reason: unknown): void;
  /** Stops listening to the caller's signal. */
  release(): void;
}

const nothing = (): void => undefined;

export class PendingRequests {
  readonly #clock: Clock;
  readonly #entries = new Map<number, Entry>();
  readonly #aborts = new Aborts();
  /** The sleeper's time and its end; undefined while there is none. */
  #alarm: { readonly at: number; readonly end: AbortController } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * @param bytes of the frame, for `failAll`
   * @throws BotError `REQUEST_TIMEOUT`; what `failAll` says. An abort rejects with the signal's reason
   */
  add(
    id: number,
    bytes: number,
    { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: RequestOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const deadline = this.#clock.elapsed() + timeoutMs;
      const release = signal
        ? this.#aborts.add(signal, () => this.#take(id)?.reject(signal.reason))
        : nothing;
      this.#entries.set(id, { deadline, bytes, resolve, reject, release });
      this.#wakeAt(deadline);
    });
  }

  /** False when nobody waits for this. */
  answer(id: number, response: () => Response): boolean {
    const entry = this.#take(id);
    entry?.resolve(response());
    return entry !== undefined;
  }

  /** The end of the socket. */
  failAll(errorOf: (bytes: number) => BotError): void {
    this.#alarm?.end.abort();
    for (const id of [...this.#entries.keys()]) {
      const entry = this.#take(id);
      entry?.reject(errorOf(entry.bytes));
    }
  }

  #take(id: number): Entry | undefined {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    this.#entries.delete(id);
    entry.release();
    return entry;
  }

  #wakeAt(deadline: number): void {
    if (this.#alarm && this.#alarm.at <= deadline) return;
    this.#alarm?.end.abort();
    const alarm = { at: deadline, end: new AbortController() };
    this.#alarm = alarm;
    this.#clock.sleep(deadline - this.#clock.elapsed(), alarm.end.signal).then(() => {
      if (this.#alarm === alarm) this.#expire();
    }, nothing); // ended for an earlier one, or with the socket
  }

  #expire(): void {
    this.#alarm = undefined;
    const now = this.#clock.elapsed();
    let next = Infinity;
    for (const [id, entry] of [...this.#entries]) {
      if (entry.deadline > now) {
        next = Math.min(next, entry.deadline);
      } else {
        this.#take(id);
        entry.reject(new BotError('REQUEST_TIMEOUT', 'the server did not answer in time'));
      }
    }
    if (next < Infinity) this.#wakeAt(next);
  }
}
