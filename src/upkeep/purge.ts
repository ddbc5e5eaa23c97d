/**
 * Purge: deletes what has been kept for long enough. How long that is stands in one table, below.
 */
import type { IdentityKind, ServiceId } from '../address.ts';
import type { Clock } from '../platform.ts';
import { Newest, QUARANTINE } from '../store/newest.ts';
import type { Store } from '../store/store.ts';
import type { PrekeyRow } from '../store/rows.ts';
import {
  deadRows,
  lastResortUses,
  carriers,
  carrierSessions,
  outboxRows,
  padded,
  parkedRows,
  prekeys,
  quarantineRows,
  seenMarks,
  senderKeys,
  sentLog,
} from '../store/tables.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** All retention there is. Times in ms. */
export const RETENTION = {
  /** After the server's time in the key. A mark from the future goes by when it was made. */
  seenMarksMs: 30 * DAY_MS,
  /** After sending; answers retry requests. */
  sentLogMs: 14 * DAY_MS,
  quarantineMs: 30 * DAY_MS,
  /** Envelopes of contacts whose key is not trusted; and carriers, after they were opened. */
  parkedMs: 7 * DAY_MS,
  /** Rows and bytes. */
  quarantine: QUARANTINE,
  /** After the attempt that failed for good, or was held back. */
  failedOutboxMs: 30 * DAY_MS,
  /** No limit in time: a dead row waits for a human. */
  deadRows: 10_000,
  lastResortUsesMs: 90 * DAY_MS,
  /** After use: two senders can have been given the same key (3.3). */
  usedEcMs: 15 * MINUTE_MS,
  /** After they were replaced on the server, unused (3.4). */
  replacedOneTimeMs: 90 * DAY_MS,
  /** Group ratchets of one sending device: one for each group, and some to spare. */
  senderKeysPerDevice: 200,
  /** After they were replaced: as long as a message may wait on the server. */
  replacedSignedMs: 45 * DAY_MS,
  /** Signed and last-resort keys that are kept however old. */
  replacedSignedRows: 5,
} as const;

/** Marks later than this are from a clock that was wrong. */
const FUTURE_MS = DAY_MS;
/** Rows that one commit deletes. */
const CHUNK = 100;

export interface PurgeParts {
  readonly store: Store;
  readonly clock: Clock;
}

/**
 * Purges every table.
 * @returns how many rows are gone
 * @throws BotError those of the store
 */
export async function purge(parts: PurgeParts): Promise<number> {
  const { store } = parts;
  const now = parts.clock.now();
  const gone = [
    await purgeSeenMarks(store, now),
    await deleteRows(
      store,
      sentLog.key(),
      olderThan(sentLog.scan(store), (row) => row.sentAt, now - RETENTION.sentLogMs),
    ),
    await deleteRows(
      store,
      outboxRows.key(),
      olderThan(
        outboxRows.scan(store),
        (row) => (row.state === 'queued' ? Infinity : row.timestamp),
        now - RETENTION.failedOutboxMs,
      ),
    ),
    await deleteRows(
      store,
      quarantineRows.key(),
      olderThan(quarantineRows.scan(store), (row) => row.at, now - RETENTION.quarantineMs),
    ),
    await deleteRows(
      store,
      parkedRows.key(),
      olderThan(parkedRows.scan(store), (row) => row.at, now - RETENTION.parkedMs),
    ),
    await purgeCarriers(store, now),
    await deleteRows(store, quarantineRows.key(), surplusQuarantined(store)),
    await keepNewest(store, deadRows.key(), RETENTION.deadRows),
    await deleteRows(
      store,
      lastResortUses.key(),
      olderThan(lastResortUses.scan(store), (at) => at, now - RETENTION.lastResortUsesMs),
    ),
    await deleteRows(store, senderKeys.key(), surplusSenderKeys(store)),
    await purgePrekeys(parts),
  ];
  return gone.reduce((sum, count) => sum + count, 0);
}

/** Sessions of runs that never ended. */
async function purgeCarriers(store: Store, now: number): Promise<number> {
  let gone = 0;
  for await (const [peer, { since }] of carriers.scan(store)) {
    if (since > now - RETENTION.parkedMs) continue;
    gone += await deleteRows(store, '', keysOf(store, carrierSessions.key(peer as ServiceId)));
    gone += await deleteRows(store, '', keysOf(store, carriers.key(peer as ServiceId)));
  }
  return gone;
}

async function* keysOf(store: Store, prefix: string): AsyncIterable<string> {
  for await (const [key] of store.scan(prefix)) yield key;
}

/** Their names are the sender's to choose; one that is missed is asked for again with the message that needs it. */
async function* surplusSenderKeys(store: Store): AsyncIterable<string> {
  let [device, count] = ['', 0];
  for await (const [rest] of senderKeys.scan(store)) {
    const sender = rest.slice(0, rest.lastIndexOf('/'));
    count = sender === device ? count + 1 : 1;
    device = sender;
    if (count > RETENTION.senderKeysPerDevice) yield rest;
  }
}

/** Prekeys only; also run on its own, soon after one was used. */
export async function purgePrekeys({ store, clock }: PurgeParts): Promise<number> {
  const now = clock.now();
  let gone = 0;
  for (const identity of ['aci', 'pni'] as const) {
    gone += await deleteRows(store, prekeys.key(identity, 'ec'), oneTimeKeys(store, identity, 'ec', now));
    gone += await deleteRows(
      store,
      prekeys.key(identity, 'kyber'),
      oneTimeKeys(store, identity, 'kyber', now),
    );
    gone += await purgeReplaced(store, identity, 'signed', now);
    gone += await purgeReplaced(store, identity, 'kyber', now);
  }
  return gone;
}

async function* oneTimeKeys(
  store: Store,
  identity: IdentityKind,
  kind: 'ec' | 'kyber',
  now: number,
): AsyncIterable<string> {
  for await (const [id, row] of prekeys.scan(store, [identity, kind])) {
    if (row.lastResort) continue;
    const isSpent = row.usedAt !== 0 && row.usedAt <= now - RETENTION.usedEcMs;
    const isStale = row.replacedAt !== 0 && row.replacedAt <= now - RETENTION.replacedOneTimeMs;
    if (isSpent || isStale) yield id;
  }
}

async function purgeReplaced(
  store: Store,
  identity: IdentityKind,
  kind: 'signed' | 'kyber',
  now: number,
): Promise<number> {
  const replaced: { id: string; row: PrekeyRow }[] = [];
  for await (const [id, row] of prekeys.scan(store, [identity, kind])) {
    if (row.replacedAt !== 0 && (kind === 'signed' || row.lastResort)) replaced.push({ id, row });
  }
  const old = replaced
    .sort((a, b) => b.row.replacedAt - a.row.replacedAt)
    .slice(RETENTION.replacedSignedRows)
    .filter(({ row }) => row.replacedAt <= now - RETENTION.replacedSignedMs)
    .map(({ id }) => id);
  return deleteRows(store, prekeys.key(identity, kind), old);
}

/** Keys begin with the time, so the old ones are the first, and the wrong ones the last. */
async function purgeSeenMarks(store: Store, now: number): Promise<number> {
  const limit = padded(Math.max(0, now - RETENTION.seenMarksMs));
  async function* old(): AsyncIterable<string> {
    for await (const [key] of seenMarks.scan(store)) {
      if (key >= limit) return;
      yield key;
    }
  }
  const future = seenMarks.scan(store, [], { after: padded(now + FUTURE_MS) });
  const stale = olderThan(future, (at) => at, now - RETENTION.seenMarksMs);
  return (
    (await deleteRows(store, seenMarks.key(), old())) + (await deleteRows(store, seenMarks.key(), stale))
  );
}

async function* olderThan<T>(
  rows: AsyncIterable<readonly [key: string, value: T]>,
  timeOf: (value: T) => number,
  limit: number,
): AsyncIterable<string> {
  for await (const [key, value] of rows) if (timeOf(value) < limit) yield key;
}

async function* surplusQuarantined(store: Store): AsyncIterable<string> {
  const newest = new Newest<string>(RETENTION.quarantine);
  for await (const [key, { envelope }] of quarantineRows.scan(store)) yield* newest.add(key, envelope.length);
}

/** Keys are numbers that only grow, so the oldest come first. */
async function keepNewest(store: Store, prefix: string, count: number): Promise<number> {
  const keys: string[] = [];
  for await (const [key] of store.scan(prefix)) keys.push(key.slice(prefix.length));
  return deleteRows(store, prefix, keys.slice(0, Math.max(0, keys.length - count)));
}

/** Deletes without reading, so that no other writer is in the way. */
async function deleteRows(
  store: Store,
  prefix: string,
  keys: AsyncIterable<string> | Iterable<string>,
): Promise<number> {
  let batch = store.batch();
  let count = 0;
  for await (const key of keys) {
    batch.delete(prefix + key);
    count += 1;
    if (count % CHUNK !== 0) continue;
    await batch.commit();
    batch = store.batch();
  }
  await batch.commit();
  return count;
}
