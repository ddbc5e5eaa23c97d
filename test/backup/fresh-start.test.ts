/** The first start of a restored store: whatever is interrupted, the server ends with new keys that we can open with. */
import { describe, expect, it } from 'vitest';
import {
  awaitsOldSessions,
  freshStart,
  FreshRows,
  needsFreshStart,
  restoredAt,
} from '../../src/backup/fresh-start.ts';
import { BotError } from '../../src/errors.ts';
import { putSyncRequests } from '../../src/provisioning/first-upload.ts';
import type { Batch, Store } from '../../src/store/store.ts';
import { account as accountCell, outboxRows, prekeys, prekeyStates } from '../../src/store/tables.ts';
import type { Requester } from '../../src/transport/request.ts';
import { PrekeyUpkeep } from '../../src/upkeep/prekey-upkeep.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { FaultyStore, type Fault } from '../support/store-faults.ts';
import { answer, FakeKeyServer, linkedStore } from '../upkeep/fixtures.ts';

const clock = new ManualClock();
const platform = testPlatform({ clock });

/** As `restore` leaves it. */
async function restoredStore(): Promise<Store> {
  const store = await linkedStore();
  const batch = store.batch();
  new FreshRows(platform, clock.now() - 1000).end(batch);
  await batch.commit();
  return store;
}

async function start(store: Store, requester: Requester): Promise<void> {
  const account = await accountCell.get(store.batch());
  if (account === undefined) throw new Error('no account');
  const rotate = (): Promise<void> => new PrekeyUpkeep({ store, requester, platform }).check();
  const ask = (batch: Batch): Promise<void> => putSyncRequests(batch, account, clock.now());
  await freshStart({ store, platform, requester, rotate, ask }, account);
}

/** All that the server has of us, we have and count as confirmed; and the phone is asked once. */
async function check(store: Store, server: FakeKeyServer): Promise<void> {
  expect(await needsFreshStart(store)).toBe(false);
  for (const identity of ['aci', 'pni'] as const) {
    const uploads = server.uploads.filter((upload) => upload.identity === identity);
    const last = <T>(pick: (upload: (typeof uploads)[number]) => T | undefined): T | undefined =>
      uploads.map(pick).findLast((found) => found !== undefined);
    const ec = last(({ preKeys }) => (preKeys.length > 0 ? preKeys : undefined));
    const kyber = last(({ pqPreKeys }) => (pqPreKeys?.length ? pqPreKeys : undefined));
    expect([ec?.length, kyber?.length]).toEqual([100, 100]);
    const signed = last(({ signedPreKey }) => signedPreKey);
    const lastResort = last(({ pqLastResortPreKey }) => pqLastResortPreKey);
    const state = await prekeyStates.get(store.batch(), identity);
    expect([state?.signedId, state?.lastResortId]).toEqual([signed?.keyId, lastResort?.keyId]);
    const held = [
      ...(ec ?? []).map(({ keyId }) => ['ec', keyId] as const),
      ...[...(kyber ?? []), lastResort].map((key) => ['kyber', key?.keyId ?? 0] as const),
      ['signed', signed?.keyId ?? 0] as const,
    ];
    for (const [kind, id] of held) {
      const row = await prekeys.get(store.batch(), identity, kind, id);
      expect([kind, id, row?.confirmedAt !== 0, row?.replacedAt]).toEqual([kind, id, true, 0]);
    }
  }
  const kinds: string[] = [];
  for await (const [, row] of outboxRows.scan(store)) kinds.push(row.kind);
  expect(kinds).toEqual(['sync', 'sync', 'sync', 'sync']);
}

describe('a fresh start', () => {
  it('replaces all prekeys on the server, and is over then', async () => {
    const [store, server] = [await restoredStore(), new FakeKeyServer()];
    expect(await needsFreshStart(store)).toBe(true);
    await start(store, server);
    await check(store, server);
    await start(store, server);
    expect(server.uploads).toHaveLength(6);
    await check(store, server);
  });

  it('is only for restored stores', async () => {
    const store = await linkedStore();
    expect(await needsFreshStart(store)).toBe(false);
    expect(await awaitsOldSessions(store, clock.now())).toBe(false);
  });

  it('expects messages in old sessions until a week after it, however late it comes', async () => {
    const store = await restoredStore();
    const dayMs = 24 * 3_600_000;
    expect(await awaitsOldSessions(store, clock.now() + 30 * dayMs)).toBe(true);
    await clock.advance(20 * dayMs);
    await start(store, new FakeKeyServer());
    expect(await awaitsOldSessions(store, clock.now() + 6 * dayMs)).toBe(true);
    expect(await awaitsOldSessions(store, clock.now() + 8 * dayMs)).toBe(false);
  });

  it('does not change when the store was restored', async () => {
    expect(await restoredAt(await linkedStore())).toBeUndefined();
    const store = await restoredStore();
    const at = clock.now();
    await clock.advance(1000);
    await start(store, new FakeKeyServer());
    expect(await restoredAt(store)).toBe(at);
  });

  it('that is stopped at any commit is finished by the next', { timeout: 120_000 }, async () => {
    const sound = new FaultyStore(await restoredStore());
    await start(sound, new FakeKeyServer());
    expect(sound.commits).toBeGreaterThan(10);
    for (let at = 1; at <= sound.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        const fault: Fault = { at, kind };
        const [store, server] = [new FaultyStore(await restoredStore(), fault), new FakeKeyServer()];
        await expect(start(store, server)).rejects.toBeDefined();
        await start(store.inner, server);
        await check(store.inner, server);
      }
    }
  });

  it('whose request gets no answer is finished by the next', { timeout: 60_000 }, async () => {
    const sound = new FakeKeyServer();
    await start(await restoredStore(), sound);
    for (let at = 0; at < sound.log.length; at++) {
      for (const taken of [false, true]) {
        const [store, server] = [await restoredStore(), new FakeKeyServer()];
        let requests = 0;
        server.fault = (_, take) => {
          if (requests++ !== at) return take();
          if (taken) take();
          throw new BotError('REQUEST_TIMEOUT', 'no answer');
        };
        await expect(start(store, server)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
        await start(store, server);
        await check(store, server);
      }
    }
  });

  it('goes on without one-time Kyber keys where the server cannot store them, and not without EC keys', async () => {
    const server = new FakeKeyServer();
    server.fault = (request, take) =>
      Buffer.from(request.body ?? []).includes('"pqPreKeys":[{') ? answer(500) : take();
    const store = await restoredStore();
    await start(store, server);
    expect(await needsFreshStart(store)).toBe(false);

    const other = await restoredStore();
    server.fault = (request, take) =>
      Buffer.from(request.body ?? []).includes('"preKeys":[{') ? answer(503) : take();
    await expect(start(other, server)).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
    expect(await needsFreshStart(other)).toBe(true);
  });
});
