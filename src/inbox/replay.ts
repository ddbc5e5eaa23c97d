/**
 * Replay: opens what was parked once its sender's key is trusted again, in the order in which it came (V-31).
 *
 * Each envelope takes the ordinary way through the receiver and is forgotten afterwards: a crash in between has it
 * opened a second time, which libsignal and the seen marks answer as they answer every copy.
 */
import type { ServiceId } from '../address.ts';
import type { Log } from '../platform.ts';
import type { Parking } from './parking.ts';
import type { Receiver } from './receiver.ts';

export interface ReplayParts {
  readonly receiver: Receiver;
  readonly parking: Parking;
  readonly log: Log;
}

export class Replay {
  readonly #parts: ReplayParts;
  readonly #asked = new Set<ServiceId>();
  #wake: (() => void) | undefined;

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  /** Asks for the envelopes of a contact; returns at once. */
  ring(from: ServiceId): void {
    this.#asked.add(from);
    this.#wake?.();
  }

  /**
   * Opens what is asked for until the abort; first all that a former run has left.
   * @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED`
   */
  async run(signal: AbortSignal): Promise<void> {
    for await (const from of this.#parts.parking.ready()) this.#asked.add(from);
    const stop = (): void => this.#wake?.();
    signal.addEventListener('abort', stop, { once: true });
    try {
      while (!signal.aborted) {
        const [next] = this.#asked;
        if (next === undefined) {
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
          continue;
        }
        this.#asked.delete(next);
        await this.replay(next, signal);
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Opens all that is parked of one contact. */
  async replay(from: ServiceId, signal?: AbortSignal): Promise<void> {
    const { parking, receiver, log } = this.#parts;
    const rows = await parking.rows(from);
    for (const [id, row] of rows) {
      if (signal?.aborted === true) return;
      const delivery = { body: row.envelope, serverTime: row.at, ack: nothing, abandon: nothing };
      const outcome = await receiver.accept(delivery, true);
      if (outcome === 'parked') return; // trust is gone again
      await parking.forget(from, id);
    }
    await parking.emptied(from);
    if (rows.length > 0) log.info({ from, count: rows.length }, 'opened what was parked');
  }
}

function nothing(): void {
  // nobody waits for an answer: it was acked when it was parked
}
