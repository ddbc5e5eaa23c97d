/**
 * Holding: rows that wait for their recipient to be trusted are queued again (V-33: on an act of the operator or of a run,
 * never by themselves).
 */
import type { DeviceId, ServiceId } from '../address.ts';
import { decodeContent } from '../content/content.ts';
import type { Span } from '../identities/pin-times.ts';
import { VERIFY_TAG } from '../session/carrier.ts';
import type { Staging, Store } from '../store/store.ts';
import type { SentRow } from '../store/rows.ts';
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

/** Whether the sent log still has a message to this recipient. */
export async function hasSentTo(store: Store, recipient: ServiceId): Promise<boolean> {
  let count = 0;
  for await (const [key] of store.scan(sentLog.key(recipient), { limit: 1 })) count += key === '' ? 0 : 1;
  return count > 0;
}

/**
 * What was sent to somebody at these times and is still in the sent log, oldest first. Null messages, verification frames
 * and announcements have nothing to be read.
 */
export async function sentWithin(
  store: Store,
  recipient: ServiceId,
  spans: readonly Span[],
): Promise<{ readonly timestamp: number; readonly devices: readonly DeviceId[] }[]> {
  const found = [];
  if (spans.length === 0) return [];
  for await (const [key, row] of sentLog.scan(store, [recipient])) {
    const isWithin = spans.some(({ from, to }) => row.sentAt >= from && row.sentAt <= to);
    if (isWithin && isReadable(row)) found.push({ timestamp: Number(key), devices: row.devices });
  }
  return found;
}

/** What cannot be decoded counts as readable, so that healing does not fail for it. */
function isReadable({ content, tag }: SentRow): boolean {
  try {
    const { kind } = decodeContent(content);
    // The announcements of bots are app messages too, and their rows have no tag.
    return kind === 'app' ? tag !== '' && tag !== VERIFY_TAG : kind === 'text' || kind === 'other';
  } catch {
    return true;
  }
}
