/**
 * Turnstile: where requests wait for a socket. Open it lets everybody through; shut it holds a bounded number of them,
 * each up to its own deadline; stopped it turns everybody away with the reason.
 */
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import { Aborts } from './aborts.ts';

const MAX_WAITING = 1024;

interface Waiter<T> {
  admit(value: T): void;
  refuse(error: BotError): void;
}

export class Turnstile<T> {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter<T>>();
  readonly #aborts = new Aborts();
  #open: { readonly value: T } | undefined;
  #stopped: BotError | undefined;
  /** Why nothing is open, as far as is known. */
  #trouble: BotError | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  open(value: T): void {
    this.#open = { value };
    this.#trouble = undefined;
    for (const waiter of [...this.#waiters]) waiter.admit(value);
  }

  shut(): void {
    this.#open = undefined;
  }

  /** Those who wait in vain from now on are told this cause. */
  blame(trouble: BotError): void {
    this.#trouble = trouble;
  }

  /** For good. */
  stop(reason: BotError): void {
    this.#open = undefined;
    this.#stopped = reason;
    for (const waiter of [...this.#waiters]) waiter.refuse(reason);
  }

  /**
   * @throws BotError `SERVER_UNREACHABLE` nothing opened within `timeoutMs`, or too many wait already; the reason, once
   *   stopped. An abort rejects with the signal's reason
   */
  enter(timeoutMs: number, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#open) {
        resolve(this.#open.value);
        return;
      }
      if (this.#stopped) throw this.#stopped;
      if (this.#waiters.size >= MAX_WAITING) {
        throw new BotError('SERVER_UNREACHABLE', 'too many requests wait for a connection');
      }
      const timer = new AbortController();
      const leave = (): void => {
        this.#waiters.delete(waiter);
        timer.abort();
        release?.();
      };
      const waiter: Waiter<T> = {
        admit: (value) => {
          leave();
          resolve(value);
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      const release =
        signal &&
        this.#aborts.add(signal, () => {
          leave();
          reject(signal.reason as Error);
        });
      this.#clock.sleep(timeoutMs, timer.signal).then(
        () => {
          waiter.refuse(this.#late(timeoutMs));
        },
        () => undefined, // it left before
      );
    });
  }

  #late(timeoutMs: number): BotError {
    const trouble = this.#trouble;
    const message = `no connection within ${String(timeoutMs)} ms`;
    if (!trouble) return new BotError('SERVER_UNREACHABLE', message);
    return new BotError('SERVER_UNREACHABLE', `${message}: ${trouble.message}`, {
      cause: trouble,
      next: trouble.next,
    });
  }
}
