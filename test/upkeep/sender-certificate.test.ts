import { PrivateKey } from '@signalapp/libsignal-client';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { facts } from '../../src/store/tables.ts';
import { renewSenderCertificate } from '../../src/upkeep/sender-certificate.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { certificateFor, FakeKeyServer, linkedStore, profileWith, root } from './fixtures.ts';

const DAY = 24 * 60 * 60_000;
let store: Store;
let clock: ManualClock;
let server: FakeKeyServer;
let changes: number;

beforeEach(async () => {
  store = await linkedStore();
  clock = new ManualClock();
  server = new FakeKeyServer();
  server.certificate = certificateFor({ expiresAt: clock.now() + 7 * DAY });
  changes = 0;
});

function renew(trustRoot: PrivateKey | undefined = root): Promise<number> {
  const onChange = (): void => {
    changes += 1;
  };
  const platform = testPlatform({ clock });
  return renewSenderCertificate({
    store,
    requester: server,
    platform,
    profile: profileWith(trustRoot),
    onChange,
  });
}

async function sealed(): Promise<unknown> {
  return await facts.get(store.batch(), 'sealedSender');
}

describe('the sender certificate', () => {
  it('is fetched, checked and kept', async () => {
    expect(await renew()).toBeLessThanOrEqual(DAY);
    expect(await sealed()).toEqual({ state: 'works', reason: '' });
    expect(await facts.get(store.batch(), 'senderCertificate')).toMatchObject({
      expiresAt: clock.now() + 7 * DAY,
    });
    await renew();
    expect([server.log.length, changes]).toEqual([1, 1]);
  });

  it('is renewed at half its life', async () => {
    await renew();
    await clock.advance(3.6 * DAY);
    server.certificate = certificateFor({ expiresAt: clock.now() + 7 * DAY });
    await renew();
    expect(server.log).toHaveLength(2);
    expect(await facts.get(store.batch(), 'senderCertificate')).toMatchObject({
      expiresAt: clock.now() + 7 * DAY,
    });
  });

  it('is fetched anew at once when the one held is for another device', async () => {
    await renew();
    store = await linkedStore({ deviceId: 3 });
    server.certificate = certificateFor({ expiresAt: clock.now() + 7 * DAY, deviceId: 3 });
    await renew();
    expect(await sealed()).toMatchObject({ state: 'works' });
  });

  const bad: [string, () => Uint8Array][] = [
    [
      'signed under another root',
      () => certificateFor({ expiresAt: clock.now() + DAY, signer: PrivateKey.generate() }),
    ],
    ['expired', () => certificateFor({ expiresAt: clock.now() - 1 })],
    ['for another device', () => certificateFor({ expiresAt: clock.now() + DAY, deviceId: 3 })],
    [
      'for another identity',
      () => certificateFor({ expiresAt: clock.now() + DAY, key: PrivateKey.generate() }),
    ],
    ['garbage', () => new Uint8Array([1, 2, 3])],
  ];
  it.each(bad)('turns sealed sending off when it is %s', async (_, make) => {
    server.certificate = make();
    await renew();
    expect(await sealed()).toMatchObject({ state: 'off', reason: expect.stringMatching(/./) as string });
    expect(await facts.get(store.batch(), 'senderCertificate')).toBeUndefined();
  });

  it('is not asked for without trust roots', async () => {
    const platform = testPlatform({ clock });
    await renewSenderCertificate({ store, requester: server, platform, profile: profileWith() });
    expect([server.log.length, await sealed()]).toEqual([0, expect.objectContaining({ state: 'off' })]);
  });

  it('stays in force when the server is away', async () => {
    await renew();
    await clock.advance(4 * DAY);
    server.fault = () => {
      throw new Error('away');
    };
    await expect(renew()).rejects.toThrow('away');
    expect(await sealed()).toMatchObject({ state: 'works' });
  });
});
