/** Linking, from a code to a device with keys. */
import { PrivateKey } from '@signalapp/libsignal-client';
import { beforeEach, describe, expect, it } from 'vitest';
import { fromBase64, fromUtf8, toUtf8 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { decryptDeviceName } from '../../src/session/device-name.ts';
import { link, resumeLink } from '../../src/provisioning/link.ts';
import { openMemory } from '../../src/store/memory.ts';
import { account as accountCell, pendingLink, pendingRegistration, prekeys } from '../../src/store/tables.ts';
import type { Response } from '../../src/transport/request.ts';
import { settle } from '../support/clock.ts';
import { answer } from './fake-server.ts';
import { LinkStage, never, phone } from './link-stage.ts';
import { envelope, PNI } from './seal.ts';

const UNUSED = { createdAt: 1, confirmedAt: 0, usedAt: 0, replacedAt: 0, lastResort: false };

let stage: LinkStage;

beforeEach(() => {
  stage = new LinkStage();
});

describe('link', () => {
  it('goes from a scan to a linked device with keys and sync requests', async () => {
    const account = await stage.linkWith();
    expect(stage.events.map(({ kind }) => kind)).toEqual(['url', 'scanned', 'registering', 'keys', 'linked']);
    expect(await stage.expectLinked()).toEqual(account);
    expect(account).toMatchObject({ pni: `PNI:${PNI}`, number: '+15555550123', deviceId: 2, name: 'My bot' });
    expect(stage.server.keys.get('pni kyber')).toBe(100);
    const body = stage.server.devices[0]?.body.accountAttributes;
    expect(decryptDeviceName(fromBase64(body?.name ?? ''), phone.identity)).toBe('My bot');
    expect(stage.server.requests.filter((line) => line === 'PUT /v1/devices/link')).toHaveLength(1);
    expect(stage.server.listening).toBe(0);
  });

  it('signs each key with the identity that it belongs to', async () => {
    let body: Record<string, { publicKey: string; signature: string }> = {};
    stage.server.fault = (request, take) => {
      if (request.path === '/v1/devices/link')
        body = JSON.parse(toUtf8(request.body ?? new Uint8Array())) as typeof body;
      return take();
    };
    await stage.linkWith();
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
    await stage.linkWith(stage.store, (url) => {
      stage.server.deliver(url, junk);
      stage.server.scan(url);
      stage.server.scan(url, { provisioningCode: 'another' });
    });
    await stage.expectLinked();
  });

  it('answers a scan of the code before the one that is shown', async () => {
    const linking = stage.linkWith(stage.store, () => undefined);
    await settle();
    await stage.clock.advance(46_000);
    const first = stage.events.find(({ kind }) => kind === 'url');
    expect(stage.events.filter(({ kind }) => kind === 'url')).toHaveLength(2);
    if (first?.kind === 'url') expect(stage.server.scan(first.url)).toBe(true);
    await linking;
    await stage.expectLinked();
  });

  it('ends after seven codes and names the likely reasons', async () => {
    const linking = stage.linkWith(stage.store, () => undefined);
    linking.catch(() => undefined);
    await settle();
    for (let minute = 0; minute < 7; minute++) await stage.clock.advance(60_000);
    await expect(linking).rejects.toMatchObject({
      code: 'LINK_EXPIRED',
      next: expect.stringContaining('device limit') as string,
    });
    expect(stage.server.codes).toBe(7);
    expect(stage.server.listening).toBe(0);
  });

  it('shows a new code when the phone sends what we cannot use, and says so at the end', async () => {
    const linking = stage.linkWith(stage.store, (url) => {
      stage.server.scan(url, { provisioningVersion: 2 });
      setImmediate(() => {
        stage.server.closeCode(url);
      });
    });
    await expect(linking).rejects.toMatchObject({
      code: 'LINK_EXPIRED',
      message: expect.stringContaining('version 2') as string,
    });
    expect(stage.server.codes).toBe(7);
  });

  it('says at once when the server cannot be reached', async () => {
    stage.server.openCode = () => Promise.reject(new BotError('TLS_UNTRUSTED', 'unknown CA'));
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'TLS_UNTRUSTED' });
  });

  it('stops when it is told to, and leaves nothing open', async () => {
    const stop = new AbortController();
    const linking = link(stage.parts(), () => undefined, stop.signal);
    linking.catch(() => undefined);
    await settle();
    stop.abort(new Error('enough'));
    await expect(linking).rejects.toThrow('enough');
    expect([stage.server.listening, stage.clock.sleeping]).toEqual([0, 0]);
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
      stage.server.fault = (request, take) => (request.path === '/v1/devices/link' ? response : take());
      await expect(stage.linkWith()).rejects.toMatchObject(error);
      expect(await pendingLink.get(stage.store.batch())).toBeUndefined();
      await stage.expectEmpty();
    },
  );

  it.each([403, 411, 429])(
    'is linked though status %d answers it, where the request was carried out before',
    async (status) => {
      stage.server.fault = (request, take) => {
        const response = take();
        return request.path === '/v1/devices/link' ? answer(status) : response;
      };
      expect(await stage.linkWith()).toMatchObject({ deviceId: 2, keysUploaded: true });
      await stage.expectLinked();
    },
  );

  it('stays begun when it is not known whether a refused request was carried out before', async () => {
    stage.server.fault = (request, take) => {
      take();
      if (request.path === '/v1/devices/link') return answer(403);
      throw new BotError('SERVER_UNREACHABLE', 'the socket closed');
    };
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    stage.server.fault = (_, take) => take();
    expect(await resumeLink(stage.parts())).toMatchObject({ deviceId: 2, keysUploaded: true });
    await stage.expectLinked();
  });

  it('refuses a store that is linked', async () => {
    await stage.linkWith();
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
  });

  it('refuses a store with a primary device, and one whose registration is not finished', async () => {
    await stage.linkWith();
    const batch = stage.store.batch();
    const row = await accountCell.get(batch);
    if (row === undefined) throw new Error('no account');
    accountCell.put(batch, { ...row, deviceId: 1, keysUploaded: false });
    await batch.commit();
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'ALREADY_LINKED' });

    const begun = openMemory();
    const other = begun.batch();
    pendingRegistration.put(other, { number: '+15550001111' });
    prekeys.put(other, 'aci', 'signed', 7, { ...UNUSED, record: fromUtf8('the server may have it') });
    await other.commit();
    await expect(stage.linkWith(begun)).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
    expect(await prekeys.get(begun.batch(), 'aci', 'signed', 7)).toBeDefined();
    expect(await resumeLink(stage.parts(begun))).toBeUndefined();
  });

  it('refuses an empty name before it asks for a code', async () => {
    await expect(link({ ...stage.parts(), name: ' ' }, () => undefined, never)).rejects.toMatchObject({
      code: 'USAGE',
    });
    expect(stage.server.codes).toBe(0);
  });

  it('goes on without one-time Kyber keys where the server cannot store them', async () => {
    stage.server.fault = (request, take) =>
      toUtf8(request.body ?? new Uint8Array()).includes('pqPreKeys') ? answer(500) : take();
    expect(await stage.linkWith()).toMatchObject({ keysUploaded: true });
    expect([await stage.keysOf('aci', 'ec'), await stage.keysOf('aci', 'kyber')]).toEqual([100, 1]);
  });
});
