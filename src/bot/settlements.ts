/**
 * Settlements: who waits for a message to leave, and how it ended, also when it left before anybody waited.
 */
import type { ServiceId } from '../address.ts';
import { BotError, isErrorCode } from '../errors.ts';
import type { Ending } from '../outbox/sender.ts';
import type { Store } from '../store/store.ts';
import type { OutboxRow } from '../store/rows.ts';
import { outboxRows, sentLog } from '../store/tables.ts';

type Waiter = (end: Ending) => void;

export class Settlements {
  readonly #store: Store;
  /** By message: many may wait, for many messages. */
  readonly #waiters = new Map<string, Set<Waiter>>();

  constructor(store: Store) {
    this.#store = store;
  }

  settle({ recipient, timestamp }: Pick<OutboxRow, 'recipient' | 'timestamp'>, end: Ending): void {
    for (const waiter of this.#waiters.get(nameOf(recipient, timestamp)) ?? []) waiter(end);
  }

  /** Resolves when the message has been sent or has failed; rejects with the signal's reason. */
  async wait(recipient: ServiceId, timestamp: number, signal: AbortSignal): Promise<Ending> {
    signal.throwIfAborted();
    // Waiting begins before the look, so that what ends between the two is not missed.
    const settled = this.#next(recipient, timestamp, signal);
    const looked = this.#look(recipient, timestamp).then((ended) => {
      if (ended !== undefined) this.settle({ recipient, timestamp }, ended);
    });
    const [ended] = await Promise.all([settled, looked]);
    return ended;
  }

  #next(recipient: ServiceId, timestamp: number, signal: AbortSignal): Promise<Ending> {
    const name = nameOf(recipient, timestamp);
    const waiters = this.#waiters.get(name) ?? new Set();
    this.#waiters.set(name, waiters);
    return new Promise<Ending>((resolve, reject) => {
      const leave = (): void => {
        signal.removeEventListener('abort', onAbort);
        waiters.delete(settle);
        if (waiters.size === 0 && this.#waiters.get(name) === waiters) this.#waiters.delete(name);
      };
      const settle: Waiter = (end) => {
        leave();
        resolve(end);
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      waiters.add(settle);
    });
  }

  async #look(recipient: ServiceId, timestamp: number): Promise<Ending | undefined> {
    const batch = this.#store.batch();
    const row = await outboxRows.get(batch, recipient, timestamp);
    if (row !== undefined && row.state !== 'queued') {
      const code = isErrorCode(row.error) ? row.error : 'REQUEST_REFUSED';
      return {
        state: 'failed',
        error: new BotError(
          code,
          row.state === 'held' ? 'the message is held back' : 'the message could not be sent',
        ),
      };
    }
    if (row !== undefined) return undefined;
    const sent = await sentLog.get(batch, recipient, timestamp);
    return { state: 'sent', devices: sent?.devices ?? [] };
  }
}

function nameOf(recipient: ServiceId, timestamp: number): string {
  return `${recipient} ${String(timestamp)}`;
}
