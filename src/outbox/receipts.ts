/**
 * Receipts: the delivery receipts that the inbox has left as owed become outbox rows, many timestamps in one, so that a
 * backlog of a thousand messages is not answered by a thousand receipts.
 */
import type { ServiceId } from '../address.ts';
import { encodeDeliveryReceipt } from '../content/encode.ts';
import type { Clock } from '../platform.ts';
import { newRow } from '../store/outbox-row.ts';
import type { Store } from '../store/store.ts';
import type { OutboxRow } from '../store/rows.ts';
import { outboxRows, owedReceipts } from '../store/tables.ts';

export interface ReceiptsParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly stamp: () => number;
  readonly onOutbox: (row: OutboxRow) => void;
}

/** How long receipts are gathered. */
const GATHER_MS = 1000;
/** Timestamps in one receipt. */
const PER_RECEIPT = 400;
/** Rows taken in one go. */
const CHUNK = 2000;

export class Receipts {
  readonly #parts: ReceiptsParts;
  #rung: (() => void) | undefined;
  #owed = true;

  constructor(parts: ReceiptsParts) {
    this.#parts = parts;
  }

  /** A receipt is owed. */
  ring(): void {
    this.#owed = true;
    this.#rung?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const onAbort = (): void => this.#rung?.();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (!this.#owed) await new Promise<void>((resolve) => (this.#rung = resolve));
        this.#rung = undefined;
        if (!(await pause(clock, signal))) return;
        this.#owed = false;
        await this.gather();
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Turns all that is owed now into rows. */
  async gather(): Promise<void> {
    const { store, stamp, onOutbox } = this.#parts;
    const owed = new Map<ServiceId, number[]>();
    let count = 0;
    for await (const [rest] of owedReceipts.scan(store, undefined, { limit: CHUNK })) {
      const [from, timestamp] = rest.split('/') as [ServiceId, string];
      owed.set(from, [...(owed.get(from) ?? []), Number(timestamp)]);
      count++;
    }
    for (const [recipient, timestamps] of owed) {
      for (let i = 0; i < timestamps.length; i += PER_RECEIPT) {
        const some = timestamps.slice(i, i + PER_RECEIPT);
        const batch = store.batch();
        for (const timestamp of some) owedReceipts.delete(batch, recipient, timestamp);
        const row = newRow({
          recipient,
          timestamp: stamp(),
          kind: 'receipt',
          content: encodeDeliveryReceipt(some),
        });
        outboxRows.put(batch, recipient, row.timestamp, row);
        await batch.commit();
        onOutbox(row);
      }
    }
    if (count === CHUNK) this.#owed = true;
  }
}

/** @returns false when the wait was aborted */
function pause(clock: Clock, signal: AbortSignal): Promise<boolean> {
  return clock.sleep(GATHER_MS, signal).then(
    () => true,
    () => false,
  );
}
