import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { facts, prekeys } from '../../src/store/tables.ts';
import { Upkeep } from '../../src/upkeep/upkeep.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { concat } from '../../src/bytes.ts';
import { contact, encryptBlob, record } from './contact-blob.ts';
import { ACI, answer, certificateFor, FakeKeyServer, linkedStore, profileWith, root } from './fixtures.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
let store: Store;
let clock: ManualClock;
let server: FakeKeyServer;
let stop: AbortController;
let upkeep: Upkeep;
let running: Promise<void>;
let warnings: string[];

beforeEach(async () => {
  store = await linkedStore();
  clock = new ManualClock();
  server = new FakeKeyServer();
  server.certificate = certificateFor({ expiresAt: clock.now() + 7 * DAY });
  stop = new AbortController();
  warnings = [];
});
afterEach(async () => {
  stop.abort();
  await running.catch(() => undefined);
});

/** Batches of 100 keys take many turns of the event loop. */
async function settleLong(): Promise<void> {
  for (let i = 0; i < 30; i++) await settle();
}

async function start(): Promise<void> {
  const system = testPlatform({ clock });
  const log = { ...system.log, warn: (_: object, message: string) => void warnings.push(message) };
  const { blob } = contactList;
  upkeep = new Upkeep({
    store,
    requester: server,
    platform: { ...system, log },
    profile: profileWith(root),
    download: () => Promise.resolve(blob),
  });
  running = upkeep.run(stop.signal);
  running.catch(() => undefined);
  await settle();
}
const contactList = encryptBlob(concat(record(contact(ACI, 'Me'))));

function asked(path: string): number {
  return server.log.filter((line) => line.includes(path)).length;
}

describe('upkeep', () => {
  it('fetches a certificate and checks keys at start', async () => {
    await start();
    expect(asked('certificate')).toBe(1);
    await clock.advance(6000);
    await settleLong();
    expect(server.uploads.map((upload) => upload.identity)).toEqual(['aci', 'pni']);
    expect(asked('GET /v2/keys')).toBe(2);
  });

  it('checks daily, renews the certificate and rotates keys as time goes by', async () => {
    await start();
    for (let hour = 0; hour < 4 * 24; hour++) {
      await clock.advance(60 * MINUTE);
      await settle();
    }
    expect(asked('keys/check')).toBeGreaterThanOrEqual(4);
    expect(server.uploads.length).toBeGreaterThanOrEqual(4);
    expect(asked('certificate')).toBe(2);
  });

  it('refills soon after a ring, once for many rings', async () => {
    await start();
    await clock.advance(10_000);
    await settleLong();
    const before = asked('GET /v2/keys');
    server.counts.set('aci ec', 3);
    for (let i = 0; i < 20; i++) upkeep.ring();
    await clock.advance(6000);
    await settleLong();
    expect(asked('GET /v2/keys') - before).toBe(2);
    expect(server.counts.get('aci ec')).toBe(100);
  });

  it('deletes a used key a quarter of an hour after the ring', async () => {
    await start();
    await clock.advance(30 * MINUTE);
    const batch = store.batch();
    const row = { record: new Uint8Array(), createdAt: 1, confirmedAt: 1, replacedAt: 0, lastResort: false };
    prekeys.put(batch, 'aci', 'ec', 1, { ...row, usedAt: clock.now() });
    await batch.commit();
    upkeep.ring();
    await clock.advance(14 * MINUTE);
    expect(await prekeys.get(store.batch(), 'aci', 'ec', 1)).toBeDefined();
    await clock.advance(3 * MINUTE);
    await settle();
    expect(await prekeys.get(store.batch(), 'aci', 'ec', 1)).toBeUndefined();
  });

  it('takes in the contact list that the phone sends', async () => {
    await start();
    const batch = store.batch();
    facts.put(batch, 'contactsBlob', contactList.fact);
    await batch.commit();
    upkeep.ring();
    await clock.advance(6000);
    await settle();
    expect(await facts.get(store.batch(), 'contactsBlob')).toBeUndefined();
  });

  it('tries again with growing waits when the server is away, and stops no other task', async () => {
    server.fault = (request, take) => {
      if (request.path.startsWith('/v1/certificate')) throw new BotError('REQUEST_TIMEOUT', 'away');
      return take();
    };
    await start();
    await clock.advance(20 * MINUTE);
    await settleLong();
    expect(asked('certificate')).toBeGreaterThanOrEqual(4);
    expect(asked('certificate')).toBeLessThanOrEqual(7);
    expect(warnings).not.toHaveLength(0);
    expect(server.uploads).toHaveLength(2);
  });

  it('does not let rings shorten the wait after a failure', async () => {
    await start();
    await clock.advance(10_000);
    await settleLong();
    server.fault = (request, take) => {
      if (request.verb === 'GET' && request.path.startsWith('/v2/keys'))
        throw new BotError('REQUEST_TIMEOUT', 'away');
      return take();
    };
    const before = asked('GET /v2/keys');
    for (let minute = 0; minute < 20; minute++) {
      upkeep.ring();
      await clock.advance(MINUTE);
      await settle();
    }
    expect(asked('GET /v2/keys') - before).toBeLessThanOrEqual(7);
  });

  it('waits as long as the server says', async () => {
    server.fault = (request, take) =>
      request.path.startsWith('/v1/certificate')
        ? { ...answer(429), headers: { 'retry-after': '7200' } }
        : take();
    await start();
    await clock.advance(119 * MINUTE);
    expect(asked('certificate')).toBe(1);
    await clock.advance(2 * MINUTE);
    expect(asked('certificate')).toBe(2);
  });

  it('stops when told to, and ends with the store', async () => {
    await start();
    stop.abort();
    await expect(running).resolves.toBeUndefined();
    expect(clock.sleeping).toBe(0);
  });

  it('has nothing to look after without an account', async () => {
    store = openMemory();
    await start();
    await expect(running).rejects.toMatchObject({ code: 'NOT_LINKED' });
  });

  it('rejects when the store cannot be written', async () => {
    const inner = store;
    store = {
      ...inner,
      scan: (prefix, options) => inner.scan(prefix, options),
      close: () => inner.close(),
      batch: () => {
        const batch = inner.batch();
        const commit = (): Promise<void> =>
          Promise.reject(new BotError('STORE_WRITE_FAILED', 'the disk is full'));
        return { get: (key) => batch.get(key), put: () => undefined, delete: () => undefined, commit };
      },
    };
    await start();
    await expect(running).rejects.toMatchObject({ code: 'STORE_WRITE_FAILED' });
  });
});
