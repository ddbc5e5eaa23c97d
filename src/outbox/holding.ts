/**
 * Holding: rows that wait for their recipient to be trusted are queued again (V-33: on an act of the operator or of a run,
 * never by themselves).
 */
import type { ServiceId } from '../address.ts';
import type { Staging, Store } from '../store/store.ts';
import { outboxRows, sentLog } from '../store/tables.ts';

/** Stages the release of all that is held for a recipient. @returns how many rows */
export async function releaseHeld(store: Store, batch: Staging, recipient: ServiceId): Promise<number> {
  let count = 0;
  for await (const [key] of outboxRows.scan(store, [recipient])) {
    const timestamp = Number(key);
    const row = await outboxRows.get(batch, recipient, timestamp);
    if (row?.state !== 'held') continue;
    outboxRows.put(batch, recipient, timestamp, {
      ...row,
      state: 'queued',
      error: '',
      attempts: 0,
      retryAt: 0,
    });
    count++;
  }
  return count;
}

/** Whether the sent log has anything to somebody. */
export async function hasSentTo(store: Store, recipient: ServiceId): Promise<boolean> {
  let count = 0;
  for await (const [key] of store.scan(sentLog.key(recipient), { limit: 1 })) count += key === '' ? 0 : 1;
  return count > 0;
}

/** What was sent to somebody and is still in the sent log, oldest first. */
export async function sentTo(
  store: Store,
  recipient: ServiceId,
): Promise<{ readonly timestamp: number; readonly devices: readonly number[] }[]> {
  const found = [];
  for await (const [key, { devices }] of sentLog.scan(store, [recipient])) {
    found.push({ timestamp: Number(key), devices });
  }
  return found;
}
