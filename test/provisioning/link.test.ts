import { PrivateKey } from '@signalapp/libsignal-client';
import { beforeEach, describe, expect, it } from 'vitest';
import { fromBase64, fromUtf8, toUtf8 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { signal as proto } from '../../src/proto/messages.js';
import { decryptDeviceName } from '../../src/session/device-name.ts';
import { link, resumeLink, type LinkEvent, type LinkParts } from '../../src/provisioning/link.ts';
import type { Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import {
  account as accountCell,
  contacts,
  outboxRows,
  pendingLink,
  pendingRegistration,
  prekeys,
  prekeyStates,
  sessions,
  type Account,
} from '../../src/store/tables.ts';
import type { Request, Response } from '../../src/transport/request.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { FaultyStore } from '../support/store-faults.ts';
import { answer, FakeServer, scriptedRandom } from './fake-server.ts';
import { ACI, envelope, phoneAccount, PNI } from './seal.ts';

const profile: Profile = {
  name: 'test',
  chat: 'https://chat.example:443',
  cdn: { '0': undefined, '2': undefined, '3': undefined },
  storage: undefined,
  ca: undefined,
  serverPublicParams: undefined,
  sealedSender: { trustRoots: [], mode: 'off' },
};
const phone = phoneAccount();
const never = new AbortController().signal;
const UNUSED = { createdAt: 1, confirmedAt: 0, usedAt: 0, replacedAt: 0, lastResort: false };

let clock: ManualClock;
let server: FakeServer;
let store: Store;
let events: LinkEvent[];
let starts = 0;

beforeEach(() => {
  clock = new ManualClock();
  server = new FakeServer(phone);
  store = openMemory();
  events = [];
});

function parts(on: Store = store): LinkParts {
  const platform = testPlatform({ clock, random: scriptedRandom(`link ${String(starts++)}`) });
  return { store: on, profile, platform, name: 'My bot', transport: server };
}

/** Links with a phone that scans each code at once, unless `onUrl` says otherwise. */
function linkWith(on: Store = store, onUrl = (url: string): unknown => server.scan(url)): Promise<Account> {
  return link(
    parts(on),
    (event) => {
      events.push(event);
      if (event.kind === 'url') onUrl(event.url);
    },
    never,
  );
}

async function keysOf(identity: 'aci' | 'pni', kind: 'ec' | 'signed' | 'kyber'): Promise<number> {
  let confirmed = 0;
  for await (const [, row] of prekeys.scan(store, [identity, kind])) if (row.confirmedAt !== 0) confirmed++;
  return confirmed;
}

async function syncRequests(): Promise<number[]> {
  const types: number[] = [];
  for await (const [, row] of outboxRows.scan(store, [ACI as Account['aci']])) {
    types.push(proto.Content.decode(row.content).syncMessage?.request?.type ?? 0);
  }
  return types;
}

async function expectEmpty(): Promise<void> {
  const left: string[] = [];
  for await (const [key] of store.scan('')) left.push(key);
  expect(left).toEqual([]);
}

async function expectLinked(): Promise<Account> {
  const account = await accountCell.get(store.batch());
  expect(account).toMatchObject({ aci: ACI, keysUploaded: true, unlinkedAt: null });
  expect(server.devices).toHaveLength(1);
  expect(server.devices[0]).toMatchObject({ id: account?.deviceId, password: account?.password });
  expect(await pendingLink.get(store.batch())).toBeUndefined();
  for (const identity of ['aci', 'pni'] as const) {
    expect(server.keys.get(`${identity} ec`)).toBe(100);
    expect([
      await keysOf(identity, 'ec'),
      await keysOf(identity, 'signed'),
      await keysOf(identity, 'kyber'),
    ]).toEqual([100, 1, 101]);
    const state = await prekeyStates.get(store.batch(), identity);
    expect(await prekeys.get(store.batch(), identity, 'signed', state?.signedId ?? 0)).toBeDefined();
    expect(await prekeys.get(store.batch(), identity, 'kyber', state?.lastResortId ?? 0)).toMatchObject({
      lastResort: true,
    });
  }
  expect(await syncRequests()).toEqual([1, 3, 4, 5]);
  if (!account) throw new Error('no account');
  return account;
}

describe('link', () => {
  it('goes from a scan to a linked device with keys and sync requests', async () => {
    const account = await linkWith();
    expect(events.map(({ kind }) => kind)).toEqual(['url', 'scanned', 'registering', 'keys', 'linked']);
    expect(await expectLinked()).toEqual(account);
    expect(account).toMatchObject({ pni: `PNI:${PNI}`, number: '+15555550123', deviceId: 2, name: 'My bot' });
    expect(server.keys.get('pni kyber')).toBe(100);
    const body = server.devices[0]?.body.accountAttributes;
    expect(decryptDeviceName(fromBase64(body?.name ?? ''), phone.identity)).toBe('My bot');
    expect(server.requests.filter((line) => line === 'PUT /v1/devices/link')).toHaveLength(1);
    expect(server.listening).toBe(0);
  });

  it('signs each key with the identity that it belongs to', async () => {
    let body: Record<string, { publicKey: string; signature: string }> = {};
    server.fault = (request, take) => {
      if (request.path === '/v1/devices/link')
        body = JSON.parse(toUtf8(request.body ?? new Uint8Array())) as typeof body;
      return take();
    };
    await linkWith();
    for (const [name, key] of [
      ['aci', phone.identity],
      ['pni', phone.pniIdentity],
    ] as const) {
      for (const field of [`${name}SignedPreKey`, `${name}PqLastResortPreKey`]) {
        const { publicKey = '', signature = '' } = body[field] ?? {};
        expect(key.getPublicKey().verify(fromBase64(publicKey), fromBase64(signature))).toBe(true);
      }
    }
  });

  it('takes the first envelope that it can open and ignores the others', async () => {
    const junk = envelope(PrivateKey.generate().getPublicKey(), new Uint8Array(120).fill(1));
    await linkWith(store, (url) => {
      server.deliver(url, junk);
      server.scan(url);
      server.scan(url, { provisioningCode: 'another' });
    });
    await expectLinked();
  });

  it('answers a scan of the code before the one that is shown', async () => {
    const linking = linkWith(store, () => undefined);
    await settle();
    await clock.advance(46_000);
    const first = events.find(({ kind }) => kind === 'url');
    expect(events.filter(({ kind }) => kind === 'url')).toHaveLength(2);
    if (first?.kind === 'url') expect(server.scan(first.url)).toBe(true);
    await linking;
    await expectLinked();
  });

  it('ends after seven codes and names the likely reasons', async () => {
    const linking = linkWith(store, () => undefined);
    linking.catch(() => undefined);
    await settle();
    for (let minute = 0; minute < 7; minute++) await clock.advance(60_000);
    await expect(linking).rejects.toMatchObject({
      code: 'LINK_EXPIRED',
      next: expect.stringContaining('device limit') as string,
    });
    expect(server.codes).toBe(7);
    expect(server.listening).toBe(0);
  });

  it('shows a new code when the phone sends what we cannot use, and says so at the end', async () => {
    const linking = linkWith(store, (url) => {
      server.scan(url, { provisioningVersion: 2 });
      setImmediate(() => {
        server.closeCode(url);
      });
    });
    await expect(linking).rejects.toMatchObject({
      code: 'LINK_EXPIRED',
      message: expect.stringContaining('version 2') as string,
    });
    expect(server.codes).toBe(7);
  });

  it('says at once when the server cannot be reached', async () => {
    server.openCode = () => Promise.reject(new BotError('TLS_UNTRUSTED', 'unknown CA'));
    await expect(linkWith()).rejects.toMatchObject({ code: 'TLS_UNTRUSTED' });
  });

  it('stops when it is told to, and leaves nothing open', async () => {
    const stop = new AbortController();
    const linking = link(parts(), () => undefined, stop.signal);
    linking.catch(() => undefined);
    await settle();
    stop.abort(new Error('enough'));
    await expect(linking).rejects.toThrow('enough');
    expect([server.listening, clock.sleeping]).toEqual([0, 0]);
  });

  const refusals: [number, Response, object][] = [
    [403, answer(403), { code: 'LINK_EXPIRED', next: expect.stringContaining('scan') as string }],
    [
      409,
      answer(409),
      { code: 'LINK_CAPABILITY', message: expect.stringContaining('usernameChangeSyncMessage') as string },
    ],
    [
      411,
      answer(411, { current: 6, max: 6 }),
      { code: 'DEVICE_LIMIT', message: expect.stringContaining('6 of 6') as string },
    ],
    [
      429,
      answer(429, undefined, { 'retry-after': '120' }),
      {
        code: 'RATE_LIMITED',
        retryAt: 1_700_000_120_000,
        next: expect.stringContaining('2 minutes') as string,
      },
    ],
    [422, answer(422), { code: 'LINK_FAILED', message: expect.stringContaining('422') as string }],
    [400, answer(400), { code: 'LINK_FAILED' }],
  ];
  it.each(refusals)(
    'turns status %d into its own error, and leaves nothing behind',
    async (_, response, error) => {
      server.fault = (request, take) => (request.path === '/v1/devices/link' ? response : take());
      await expect(linkWith()).rejects.toMatchObject(error);
      expect(await pendingLink.get(store.batch())).toBeUndefined();
      await expectEmpty();
    },
  );

  it.each([403, 411, 429])(
    'is linked though status %d answers it, where the request was carried out before',
    async (status) => {
      server.fault = (request, take) => {
        const response = take();
        return request.path === '/v1/devices/link' ? answer(status) : response;
      };
      expect(await linkWith()).toMatchObject({ deviceId: 2, keysUploaded: true });
      await expectLinked();
    },
  );

  it('stays begun when it is not known whether a refused request was carried out before', async () => {
    server.fault = (request, take) => {
      take();
      if (request.path === '/v1/devices/link') return answer(403);
      throw new BotError('SERVER_UNREACHABLE', 'the socket closed');
    };
    await expect(linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    server.fault = (_, take) => take();
    expect(await resumeLink(parts())).toMatchObject({ deviceId: 2, keysUploaded: true });
    await expectLinked();
  });

  it('refuses a store that is linked', async () => {
    await linkWith();
    await expect(linkWith()).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
  });

  it('refuses a store with a primary device, and one whose registration is not finished', async () => {
    await linkWith();
    const batch = store.batch();
    const row = await accountCell.get(batch);
    if (row === undefined) throw new Error('no account');
    accountCell.put(batch, { ...row, deviceId: 1, keysUploaded: false });
    await batch.commit();
    await expect(linkWith()).rejects.toMatchObject({ code: 'ALREADY_LINKED' });

    const begun = openMemory();
    const other = begun.batch();
    pendingRegistration.put(other, { number: '+15550001111' });
    prekeys.put(other, 'aci', 'signed', 7, { ...UNUSED, record: fromUtf8('the server may have it') });
    await other.commit();
    await expect(linkWith(begun)).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
    expect(await prekeys.get(begun.batch(), 'aci', 'signed', 7)).toBeDefined();
    expect(await resumeLink(parts(begun))).toBeUndefined();
  });

  it('refuses an empty name before it asks for a code', async () => {
    await expect(link({ ...parts(), name: ' ' }, () => undefined, never)).rejects.toMatchObject({
      code: 'USAGE',
    });
    expect(server.codes).toBe(0);
  });

  it('goes on without one-time Kyber keys where the server cannot store them', async () => {
    server.fault = (request, take) =>
      toUtf8(request.body ?? new Uint8Array()).includes('pqPreKeys') ? answer(500) : take();
    expect(await linkWith()).toMatchObject({ keysUploaded: true });
    expect([await keysOf('aci', 'ec'), await keysOf('aci', 'kyber')]).toEqual([100, 1]);
  });
});

describe('a device that was removed', () => {
  async function unlink(): Promise<Account> {
    const account = await linkWith();
    const batch = store.batch();
    accountCell.put(batch, { ...account, unlinkedAt: clock.now() });
    sessions.put(batch, 'aci', account.aci, 1, new Uint8Array([1]));
    contacts.put(batch, account.aci, { name: 'me' });
    for await (const [key] of outboxRows.scan(store, [account.aci]))
      outboxRows.delete(batch, account.aci, Number(key));
    await batch.commit();
    server.devices.length = 0;
    return account;
  }

  it('is linked anew with its data, but without its old sessions', async () => {
    const before = await unlink();
    const after = await linkWith();
    expect(after.password).not.toBe(before.password);
    await expectLinked();
    expect(await sessions.get(store.batch(), 'aci', after.aci, 1)).toBeUndefined();
    expect(await contacts.get(store.batch(), after.aci)).toEqual({ name: 'me' });
  });

  it('is not replaced by another account', async () => {
    await unlink();
    const other = new FakeServer({ ...phoneAccount(), aci: '00000000-0000-4000-8000-000000000001' });
    server = other;
    await expect(linkWith()).rejects.toMatchObject({
      code: 'ALREADY_LINKED',
      message: expect.stringContaining('another') as string,
    });
    expect(other.devices).toHaveLength(0);
  });
});

describe('a link that was interrupted', () => {
  const lost = (): never => {
    throw new BotError('SERVER_UNREACHABLE', 'the socket closed before the answer');
  };

  it('is taken up without a code when the device was registered and the answer lost', async () => {
    server.fault = (request, take) => {
      const response = take();
      return request.path === '/v1/devices/link' ? lost() : response;
    };
    await expect(linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    server.fault = (_, take) => take();
    events = [];
    await clock.advance(60_000);
    await linkWith();
    expect(events.map(({ kind }) => kind)).toEqual(['keys', 'linked']);
    await expectLinked();
  });

  it('waits until a request that was given up has settled before it gives up the device', async () => {
    let register: (() => Response) | undefined;
    server.fault = (request, take) => {
      if (request.path !== '/v1/devices/link') return take();
      register = take;
      return lost();
    };
    await expect(linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    const linking = linkWith();
    await settle();
    register?.(); // the server comes to it late
    await clock.advance(10_000);
    expect(await linking).toMatchObject({ deviceId: 2 });
    await expectLinked();
  });

  it('is forgotten with its keys when no device came of it', async () => {
    server.fault = (request, take) => (request.path === '/v1/devices/link' ? lost() : take());
    await expect(linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await clock.advance(60_000);
    expect(await resumeLink(parts())).toBeUndefined();
    await expectEmpty();
  });

  it('stays begun while the server cannot be asked', async () => {
    server.fault = (request, take) => {
      take();
      return request.path === '/v1/devices/link' ? lost() : lost();
    };
    await expect(linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await clock.advance(60_000);
    await expect(resumeLink(parts())).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    server.fault = (_, take) => take();
    expect(await resumeLink(parts())).toMatchObject({ deviceId: 2, keysUploaded: true });
    await expectLinked();
  });

  it('is not taken up with another server', async () => {
    server.fault = (request, take) => (request.path === '/v1/devices/link' ? lost() : take());
    await expect(linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    const other = { ...parts(), profile: { ...profile, chat: 'https://other.example:443' } };
    await expect(resumeLink(other)).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
    expect(server.upgrades).toHaveLength(0);
  });
});

describe('the crash walk over link', () => {
  async function restart(): Promise<void> {
    await clock.advance(60_000);
    server.fault = (_, take) => take();
    await linkWith().catch((error: unknown) => {
      // All was done before the crash, only nobody heard.
      expect(error).toMatchObject({ code: 'ALREADY_LINKED' });
    });
    await expectLinked();
  }

  it('loses nothing and makes one device, whichever commit the process dies at', async () => {
    const counting = new FaultyStore(store);
    await linkWith(counting);
    expect(counting.commits).toBeGreaterThan(10);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        store = openMemory();
        server = new FakeServer(phone);
        await linkWith(new FaultyStore(store, { at, kind })).catch(() => undefined);
        await restart();
      }
    }
  });

  it('loses nothing and makes one device, whichever request the process dies at', async () => {
    await linkWith();
    const total = server.requests.length;
    expect(total).toBe(5);
    for (let at = 1; at <= total; at++) {
      for (const when of ['before', 'after'] as const) {
        store = openMemory();
        server = new FakeServer(phone);
        let count = 0;
        const dying = new FaultyStore(store);
        server.fault = (_: Request, take: () => Response): Response => {
          count += 1;
          if (count < at) return take();
          if (when === 'after' && count === at) take();
          dying.crash();
          throw new BotError('SERVER_UNREACHABLE', 'the process died here');
        };
        await linkWith(dying).catch(() => undefined);
        await restart();
      }
    }
  });
});
