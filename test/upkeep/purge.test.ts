import { beforeEach, describe, expect, it } from 'vitest';
import { EMPTY } from '../../src/bytes.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Batch, Store } from '../../src/store/store.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import type { InboxRow, PrekeyRow } from '../../src/store/rows.ts';
import {
  carriers,
  carrierSessions,
  deadRows,
  lastResortUses,
  outboxRows,
  parkedRows,
  prekeys,
  quarantineRows,
  seenMarks,
  senderKeys,
  sentLog,
} from '../../src/store/tables.ts';
import { purge, purgePrekeys, RETENTION } from '../../src/upkeep/purge.ts';
import { ManualClock } from '../support/clock.ts';
import { ACI } from './fixtures.ts';

const DAY = 24 * 60 * 60_000;
let store: Store;
let clock: ManualClock;

beforeEach(() => {
  store = openMemory();
  clock = new ManualClock();
});

async function write(change: (batch: Batch) => void): Promise<void> {
  const batch = store.batch();
  change(batch);
  await batch.commit();
}

async function keys(prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const [key] of store.scan(prefix)) found.push(key.slice(prefix.length));
  return found;
}

function prekey(change: Partial<PrekeyRow>): PrekeyRow {
  return {
    record: EMPTY,
    createdAt: 1,
    confirmedAt: 1,
    usedAt: 0,
    replacedAt: 0,
    lastResort: false,
    ...change,
  };
}

describe('purge', () => {
  it('removes seen marks after thirty days, those from the future by when they were made', async () => {
    const now = clock.now();
    await write((batch) => {
      seenMarks.put(batch, now - 31 * DAY, 'old', now - 31 * DAY);
      seenMarks.put(batch, now - 29 * DAY, 'young', now - 29 * DAY);
      seenMarks.put(batch, now + 2 * DAY, 'future', now - 1);
      seenMarks.put(batch, now + 2 * DAY, 'old future', now - 31 * DAY);
    });
    expect(await purge({ store, clock })).toBe(2);
    expect((await keys('seen/')).map((key) => key.split('/')[1])).toEqual(['young', 'future']);
  });

  it('V-31: removes what was parked after a week, and carriers with their sessions', async () => {
    const now = clock.now();
    const parked = { source: ACI, sourceDevice: 2, timestamp: 1, reason: '', envelope: EMPTY };
    const [other] = ['9d0652a3-dcc3-4d11-975f-74d61598733f' as typeof ACI];
    await write((batch) => {
      parkedRows.put(batch, ACI, 1, { ...parked, at: now - 8 * DAY });
      parkedRows.put(batch, ACI, 2, { ...parked, at: now - 6 * DAY });
      carriers.put(batch, ACI, { since: now - 8 * DAY, ending: false });
      carrierSessions.put(batch, ACI, 2, EMPTY);
      carriers.put(batch, other, { since: now - 6 * DAY, ending: false });
      carrierSessions.put(batch, other, 2, EMPTY);
    });
    expect(await purge({ store, clock })).toBe(3);
    expect(await keys(`parked/${ACI}/`)).toEqual(['0000000000000002']);
    expect(await keys('carrierstate/')).toEqual([other]);
    expect(await keys('carrier/')).toEqual([`${other}/0000000000000002`]);
  });

  it('removes what was sent after two weeks', async () => {
    const row = { content: EMPTY, devices: [], urgent: false, tag: '' };
    await write((batch) => {
      sentLog.put(batch, ACI, 1, { ...row, sentAt: clock.now() - 15 * DAY });
      sentLog.put(batch, ACI, 2, { ...row, sentAt: clock.now() - 13 * DAY });
    });
    await purge({ store, clock });
    expect(await keys(`sent/${ACI}/`)).toEqual(['0000000000000002']);
  });

  it('removes messages that failed for good after thirty days, never one that waits', async () => {
    const batch = store.batch();
    const recipient = ACI;
    const old = clock.now() - 31 * 24 * 3_600_000;
    const row = newRow({ recipient, timestamp: old, kind: 'text', content: EMPTY });
    outboxRows.put(batch, recipient, old, { ...row, state: 'failed' });
    outboxRows.put(batch, recipient, old + 1, { ...row, timestamp: old + 1 });
    await batch.commit();
    await purge({ store, clock });
    expect(await keys('')).toEqual([outboxRows.key(recipient, old + 1)]);
  });

  it('keeps two hundred sender keys of one device', async () => {
    await write((batch) => {
      for (let n = 0; n < 210; n++) senderKeys.put(batch, ACI, 2, `key ${String(n)}`, Uint8Array.of(1));
      senderKeys.put(batch, ACI, 3, 'key', Uint8Array.of(1));
    });
    await purge({ store, clock });
    expect(await keys(senderKeys.key(ACI, 2))).toHaveLength(200);
    expect(await keys(senderKeys.key(ACI, 3))).toHaveLength(1);
  });

  it('keeps a thousand quarantined envelopes, for thirty days', async () => {
    const row = { source: '', sourceDevice: 0, timestamp: 0, reason: '', envelope: EMPTY };
    await write((batch) => {
      quarantineRows.put(batch, 1, { ...row, at: clock.now() - 31 * DAY });
      for (let id = 2; id <= 1005; id++) quarantineRows.put(batch, id, { ...row, at: clock.now() });
    });
    expect(await purge({ store, clock })).toBe(5);
    const left = await keys('quarantine/');
    expect([left.length, left[0]]).toEqual([1000, '0000000000000006']);
  });

  it('keeps no more quarantined envelopes than fit in 32 MiB', async () => {
    const row = { source: '', sourceDevice: 0, timestamp: 0, reason: '', at: clock.now() };
    await write((batch) => {
      const envelope = new Uint8Array(4 * 1024 * 1024);
      for (let id = 1; id <= 10; id++) quarantineRows.put(batch, id, { ...row, envelope });
    });
    expect(await purge({ store, clock })).toBe(2);
    expect((await keys('quarantine/'))[0]).toBe('0000000000000003');
  });

  it('keeps dead rows however old, the newest ten thousand', async () => {
    const row: Partial<InboxRow> = { source: ACI, content: EMPTY, receivedAt: 1 };
    await write((batch) => {
      for (let id = 1; id <= RETENTION.deadRows + 2; id++) deadRows.put(batch, id, row as InboxRow);
    });
    expect(await purge({ store, clock })).toBe(2);
    expect((await keys('dead/'))[0]).toBe('0000000000000003');
  });

  it('forgets uses of last-resort keys after ninety days', async () => {
    await write((batch) => {
      lastResortUses.put(batch, 'aci', 'a', clock.now() - 91 * DAY);
      lastResortUses.put(batch, 'aci', 'b', clock.now() - 89 * DAY);
    });
    await purge({ store, clock });
    expect(await keys('kyberuse/aci/')).toEqual(['b']);
  });

  it('deletes a used key after fifteen minutes, a replaced one after ninety days, others never', async () => {
    const now = clock.now();
    await write((batch) => {
      prekeys.put(batch, 'aci', 'ec', 1, prekey({ usedAt: now - 16 * 60_000 }));
      prekeys.put(batch, 'aci', 'ec', 2, prekey({ usedAt: now - 14 * 60_000 }));
      prekeys.put(batch, 'aci', 'ec', 3, prekey({ replacedAt: now - 91 * DAY }));
      prekeys.put(batch, 'aci', 'ec', 4, prekey({ replacedAt: now - 89 * DAY }));
      prekeys.put(batch, 'aci', 'ec', 5, prekey({}));
      prekeys.put(batch, 'pni', 'kyber', 6, prekey({ replacedAt: now - 91 * DAY }));
    });
    expect(await purgePrekeys({ store, clock })).toBe(3);
    expect((await keys('prekey/aci/ec/')).map(Number)).toEqual([2, 4, 5]);
  });

  it('keeps five replaced signed keys however old, more of them for forty-five days', async () => {
    const now = clock.now();
    await write((batch) => {
      prekeys.put(batch, 'aci', 'signed', 100, prekey({}));
      for (let id = 1; id <= 8; id++) {
        prekeys.put(batch, 'aci', 'signed', id, prekey({ replacedAt: now - (50 - id) * DAY }));
        prekeys.put(
          batch,
          'aci',
          'kyber',
          id,
          prekey({ replacedAt: now - (30 - id) * DAY, lastResort: true }),
        );
      }
    });
    await purge({ store, clock });
    expect((await keys('prekey/aci/signed/')).map(Number)).toEqual([4, 5, 6, 7, 8, 100]);
    expect(await keys('prekey/aci/kyber/')).toHaveLength(8);
  });
});
