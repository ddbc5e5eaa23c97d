/** What linked devices are told, byte by byte, and what becomes of a question that cannot be answered. */
import { afterEach, describe, expect, it } from 'vitest';
import { SyncAnswers } from '../../src/account/sync-answers.ts';
import { MEDIA_KEY } from '../../src/account/pending-registration.ts';
import { uuidToBytes, type Aci } from '../../src/address.ts';
import { toBase64 } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import { BotError } from '../../src/errors.ts';
import type { Log } from '../../src/platform.ts';
import { signal as proto } from '../../src/proto/messages.js';
import type { Store } from '../../src/store/store.ts';
import type { SyncRequest } from '../../src/store/rows.ts';
import { account as accountCell, contacts, facts, outboxRows, syncRequests } from '../../src/store/tables.ts';
import type { Request, Requester, Response } from '../../src/transport/request.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { ACI, answer, linkedStore, profileWith } from '../upkeep/fixtures.ts';

const MALLORY = '00000000-0000-4000-8000-0000000000aa' as Aci;
const BOB = '00000000-0000-4000-8000-0000000000bb' as Aci;
const HOUR_MS = 3_600_000;

const stop: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of stop.splice(0)) await end();
});

interface Running {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly answers: SyncAnswers;
  readonly requests: Request[];
  readonly warnings: string[];
}

async function run(
  respond: (request: Request) => Response | Promise<Response> = () => answer(404),
): Promise<Running> {
  const clock = new ManualClock();
  const warnings: string[] = [];
  const nothing = (): void => undefined;
  const warn: Log['warn'] = (_, message) => void warnings.push(message);
  const log: Log = { debug: nothing, info: nothing, error: nothing, warn };
  const store = await linkedStore({
    deviceId: 1,
    masterKey: toBase64(new Uint8Array(32).fill(7)),
    accountEntropyPool: 'a'.repeat(64),
  });
  const requests: Request[] = [];
  const requester: Requester = {
    request: (request) => {
      requests.push(request);
      return Promise.resolve(request).then(respond);
    },
  };
  let stamp = 1000;
  const answers = new SyncAnswers({
    store,
    platform: testPlatform({ clock, log }),
    profile: profileWith(),
    requester,
    ownAci: ACI,
    stamp: () => ++stamp,
    onOutbox: nothing,
  });
  const controller = new AbortController();
  const running = answers.run(controller.signal);
  stop.push(() => {
    controller.abort();
    return running;
  });
  await settle();
  return { store, clock, answers, requests, warnings };
}

async function ask({ store, answers, clock }: Running, type: SyncRequest): Promise<void> {
  const batch = store.batch();
  syncRequests.put(batch, type, clock.now());
  await batch.commit();
  answers.ring();
  await settle();
  await pass(clock, 1000);
}

async function pass(clock: ManualClock, ms: number): Promise<void> {
  await clock.advance(ms);
  await settle();
}

async function told({ store }: Running): Promise<proto.SyncMessage[]> {
  const found: proto.SyncMessage[] = [];
  for await (const [, row] of outboxRows.scan(store)) {
    expect([row.recipient, row.kind]).toEqual([ACI, 'sync']);
    const { syncMessage } = proto.Content.decode(row.content);
    if (syncMessage) found.push(syncMessage);
  }
  return found;
}

const isOpen = async ({ store }: Running, type: SyncRequest): Promise<boolean> =>
  (await syncRequests.get(store.batch(), type)) !== undefined;

describe('a linked device that asks', () => {
  it('for blocked contacts is told their ACIs, in both forms, and no others', async () => {
    const running = await run();
    const batch = running.store.batch();
    contacts.put(batch, MALLORY, { blocked: true });
    contacts.put(batch, BOB, { blocked: false });
    await batch.commit();
    await ask(running, 'blocked');
    const [message] = await told(running);
    expect(message?.blocked?.acis).toEqual([MALLORY]);
    expect(message?.blocked?.acisBinary.map((bytes) => [...bytes])).toEqual([[...uuidToBytes(MALLORY)]]);
    expect(await isOpen(running, 'blocked')).toBe(false);
  });

  it('for the configuration is told that everything is off', async () => {
    const running = await run();
    await ask(running, 'configuration');
    const [message] = await told(running);
    expect(message?.configuration).toMatchObject({
      readReceipts: false,
      unidentifiedDeliveryIndicators: false,
      typingIndicators: false,
      linkPreviews: false,
    });
  });

  it('for keys is told those of now', async () => {
    const running = await run();
    const batch = running.store.batch();
    const row = await accountCell.get(batch);
    if (row === undefined) throw new Error('no account');
    accountCell.put(batch, { ...row, accountEntropyPool: 'b'.repeat(64) });
    facts.put(batch, MEDIA_KEY, toBase64(new Uint8Array(32).fill(9)));
    await batch.commit();
    await ask(running, 'keys');
    const [message] = await told(running);
    expect(message?.keys?.accountEntropyPool).toBe('b'.repeat(64));
    expect([...(message?.keys?.master ?? [])]).toEqual(Array<number>(32).fill(7));
    expect([...(message?.keys?.mediaRootBackupKey ?? [])]).toEqual(Array<number>(32).fill(9));
  });

  it('is told what our own reader of such messages understands', async () => {
    const running = await run();
    const batch = running.store.batch();
    contacts.put(batch, MALLORY, { blocked: true });
    await batch.commit();
    await ask(running, 'blocked');
    for await (const [, row] of outboxRows.scan(running.store)) {
      const content = decodeContent(row.content);
      expect(
        content.kind === 'sync' && content.sync.type === 'blocked' && [...new Set(content.sync.acis)],
      ).toEqual([MALLORY]);
    }
  });
});

describe('a question that cannot be answered', () => {
  it('is asked of the server ever more seldom, and dropped with one warning after about an hour', async () => {
    const running = await run(() => answer(503));
    await ask(running, 'contacts');
    const times = [0];
    for (let seconds = 30; seconds <= 6 * 3600; seconds += 30) {
      const before = running.requests.length;
      await pass(running.clock, 30_000);
      if (running.requests.length > before) times.push(seconds);
    }
    const waits = times.slice(1).map((at, index) => at - (times[index] ?? 0));
    expect(waits).toHaveLength(7);
    expect(waits.every((wait, index) => index === 0 || wait >= 1.5 * (waits[index - 1] ?? 0))).toBe(true);
    expect(running.requests).toHaveLength(8);
    expect(running.warnings).toEqual(['a sync request could not be answered']);
    expect(await isOpen(running, 'contacts')).toBe(false);
  });

  it('is dropped at once where the server refuses, and the others are answered', async () => {
    const running = await run(() => answer(403));
    await ask(running, 'contacts');
    expect(await isOpen(running, 'contacts')).toBe(false);
    expect(running.warnings).toHaveLength(1);
    await ask(running, 'configuration');
    expect(await told(running)).toHaveLength(1);
    await pass(running.clock, 3 * HOUR_MS);
    expect(running.requests).toHaveLength(1);
  });

  it('counts anew when it is asked again', async () => {
    let isUp = false;
    const running = await run(() => {
      if (!isUp) throw new BotError('REQUEST_TIMEOUT', 'no answer');
      return answer(404);
    });
    await ask(running, 'contacts');
    for (let i = 0; i < 6; i++) await pass(running.clock, 30_000 * 2 ** i + 1000);
    expect(running.requests.length).toBeGreaterThan(5);
    await ask(running, 'contacts');
    await pass(running.clock, 31_000);
    await pass(running.clock, 61_000);
    expect(await isOpen(running, 'contacts')).toBe(true);
    isUp = true;
    await pass(running.clock, HOUR_MS);
    expect(await isOpen(running, 'contacts')).toBe(false);
  });
});
