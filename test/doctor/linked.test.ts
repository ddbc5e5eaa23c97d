import { PrivateKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import { ServerSecretParams } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bot } from '../../src/bot.ts';
import { concat, fromBase64, type Bytes } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { examineBeside, examineHere } from '../../src/doctor/linked-ways.ts';
import { writeProfile } from '../../src/doctor/profile-text.ts';
import { checkSenderCertificate, signerOf } from '../../src/doctor/sealed-sender.ts';
import { systemPlatform, type Platform } from '../../src/platform.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { prekeyStates } from '../../src/store/tables.ts';
import type { Check } from '../../src/doctor/check.ts';
import { startProxy } from '../support/proxy.ts';
import { Scene } from '../support/scene.ts';
import { byName, namesOf } from './examined.ts';

const never = new AbortController().signal;
const DAY_MS = 24 * 60 * 60_000;
let scene: Scene;
let phone: Phone;
let device: { account: Account; store: Store };

beforeEach(async () => {
  scene = await Scene.start();
  phone = await scene.server.createPhone();
  device = await scene.link(phone);
});
afterEach(() => scene.close());

function examined(
  change: Partial<{ profile: Profile; account: Account; platform: Platform }> = {},
): Promise<Record<string, Check>> {
  const parts = { ...device, profile: scene.profile, platform: systemPlatform(), ...change };
  return byName(examineHere(parts, new Set(), never));
}

describe('a linked device', () => {
  it('in order has nothing that fails', async () => {
    const checks = await examined();
    expect(namesOf(checks, 'fail')).toEqual([]);
    expect(namesOf(checks, 'ok')).toEqual([
      'linked server', 'authenticated socket', 'queue', 'signed prekeys', 'one-time prekeys', 'sealed sender',
      'group credential', 'storage login', 'attachment form',
    ]); // prettier-ignore
    expect(checks['queue']?.message).toContain('nothing waits');
    expect(checks['one-time prekeys']?.message).toContain('ACI 100 EC, 100 Kyber; PNI 100 EC, 100 Kyber');
  });

  it('loses no message and no key by the look at its queue', async () => {
    const friend = await scene.server.createPhone();
    await friend.send(phone.aci, '!say first');
    await friend.send(phone.aci, '!say second');
    const before = await scene.server.keyCounts(phone.aci, 2, 'aci');
    for (const checks of [await examined(), await examined()]) {
      expect(checks['queue']).toMatchObject({ state: 'ok' });
      expect(checks['queue']?.message).toMatch(/^[1-9].* wait on the server/);
    }
    expect(await scene.server.keyCounts(phone.aci, 2, 'aci')).toEqual(before);
    const texts: (string | undefined)[] = [];
    await new Promise<void>((resolve, reject) => {
      const configure = (bot: Bot): void => {
        bot.command('say', (ctx) => {
          if (texts.push(ctx.text) === 2) resolve();
        });
      };
      scene.run(phone, device.account, device.store, configure).catch(reject);
    });
    expect(texts).toEqual(['!say first', '!say second']);
  });

  it('that the server has removed is said to be', async () => {
    const other = { ...device.account, password: 'another' };
    const checks = await examined({ account: other });
    expect(namesOf(checks, 'fail')).toEqual(['authenticated socket']);
    expect(checks['authenticated socket']?.message).toContain('403');
    expect(checks['authenticated socket']?.next).toContain('Link again');
    expect(checks['one-time prekeys']).toMatchObject({ state: 'skip' });
    const gone = await examined({ account: { ...device.account, unlinkedAt: 1 } });
    expect(gone['linked server']).toMatchObject({ state: 'fail' });
    expect(gone['linked server']?.next).toContain('Link again');
    const primary = await examined({ account: { ...device.account, deviceId: 1, unlinkedAt: 1 } });
    expect(primary['linked server']?.next).toContain('Register the number again');
    const wrong = await examined({ account: { ...device.account, deviceId: 1, password: 'another' } });
    expect(wrong['authenticated socket']?.next).toContain('Register the number again');
  });

  /** The server's answer to who am I, once. */
  const sayWhoami = (body: { uuid: string; pni: string }): void => {
    scene.server.faults.add({ verb: 'GET', path: '/v1/accounts/whoami', action: { status: 200, body } });
  };
  const OTHER = '11111111-1111-4111-8111-111111111111';

  it('that the server takes for one of another account is told to link again', async () => {
    sayWhoami({ uuid: OTHER, pni: phone.pni });
    const checks = await examined();
    expect(namesOf(checks, 'fail')).toEqual(['authenticated socket']);
    expect(checks['authenticated socket']?.message).toContain(`one of ${OTHER}`);
    expect(checks['authenticated socket']?.next).toContain('do not belong together');
    expect(checks['queue']).toMatchObject({ state: 'skip' });
  });

  it('whose account has got another number is told what is lost', async () => {
    sayWhoami({ uuid: phone.aci, pni: OTHER });
    const checks = await examined();
    expect(namesOf(checks, 'fail')).toEqual([]);
    expect(checks['authenticated socket']).toMatchObject({ state: 'warn' });
    expect(checks['authenticated socket']?.message).toContain('another phone-number identity');
    expect(checks['authenticated socket']?.next).toContain('messages to the number');
    expect(checks['queue']).toMatchObject({ state: 'ok' });
  });

  it('whose login the storage service refuses is told where to look', async () => {
    const storage = await startProxy(scene.server.url, { status: 401 });
    try {
      const checks = await examined({ profile: { ...scene.profile, storage: storage.url } });
      expect(namesOf(checks, 'fail')).toEqual(['storage login']);
      expect(checks['storage login']?.message).toContain('answers 401 to the login');
      expect(checks['storage login']?.next).toContain('the same secret');
    } finally {
      storage.close();
    }
  });

  it('to which the server says nothing of its queue is told to look at the message store', async () => {
    await (await scene.server.createPhone()).send(phone.aci, 'never sent');
    scene.server.faults.add({ path: '/api/v1/message', action: { delayMs: 3_600_000 } });
    const system = systemPlatform();
    const clock = {
      ...system.clock,
      sleep: (ms: number, signal?: AbortSignal) => system.clock.sleep(ms / 20, signal),
    };
    const checks = await examined({ platform: { ...system, clock } });
    expect(namesOf(checks, 'fail')).toEqual(['queue']);
    expect(checks['queue']?.message).toContain('neither sends messages nor says that there are none');
    expect(checks['queue']?.next).toContain('message store');
  });

  it('that would upload to a CDN which the profile does not name is told which', async () => {
    const checks = await examined({
      profile: { ...scene.profile, cdn: { '0': undefined, '2': undefined, '3': undefined } },
    });
    expect(checks['attachment form']).toMatchObject({ state: 'warn' });
    expect(checks['attachment form']?.next).toMatch(/^Add "[0-9]" to "cdn"/);
  });

  it('from which the server takes no attachment is told so', async () => {
    scene.server.faults.add({ path: '/v4/attachments/form/upload', action: { status: 413 } });
    const checks = await examined();
    expect(checks['attachment form']).toMatchObject({ state: 'warn' });
    expect(checks['attachment form']?.message).toContain('not even take an attachment of one byte');
  });

  it('does not show its password to another server, and says what the bot would say there', async () => {
    const other = await Scene.start();
    try {
      const checks = await examined({ profile: other.profile });
      const thrown = await other
        .run(phone, device.account, device.store, undefined, { profile: other.profile })
        .catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(BotError);
      const { message, next } = thrown as BotError;
      expect(checks['linked server']).toEqual({ name: 'linked server', state: 'fail', message, next });
      expect(checks['authenticated socket']).toMatchObject({ state: 'skip' });
      expect((await other.server.stats()).sockets.authenticated).toBe(0);
    } finally {
      await other.close();
    }
  });

  it('whose keys the server no longer has is told to upload them', async () => {
    const batch = device.store.batch();
    const state = await prekeyStates.get(batch, 'pni');
    if (state === undefined) throw new Error('no prekeys');
    prekeyStates.put(batch, 'pni', { ...state, signedId: null });
    await batch.commit();
    await scene.server.exhaustKeys(phone.aci, 2);
    const checks = await examined();
    expect(checks['signed prekeys']).toMatchObject({ state: 'fail' });
    expect(checks['signed prekeys']?.message).toContain('PNI: this device has none');
    expect(checks['one-time prekeys']).toMatchObject({ state: 'warn' });
  });

  it('is asked over the connection of the bot that runs, which stays', async () => {
    const running = await scene.run(phone, device.account, device.store);
    const profile = parseProfile(writeProfile(scene.profile), '/');
    expect(profile).toEqual(scene.profile);
    const requester = running.bot.requester;
    const parts = { ...device, profile, platform: systemPlatform() };
    const { checks } = await examineBeside({ ...parts, bot: { connection: 'online', requester } }, never);
    expect(checks.filter(({ state }) => state === 'fail')).toEqual([]);
    expect(checks.find(({ name }) => name === 'queue')).toMatchObject({ state: 'skip' });
    expect(running.bot.connection).toBe('online');
    expect((await scene.server.stats()).sockets.authenticated).toBe(1);
  });
});

describe('the keys of the profile', () => {
  it('that belong to another server are found', async () => {
    const root = PrivateKey.generate().getPublicKey().serialize();
    const serverPublicParams = ServerSecretParams.generate().getPublicParams().serialize();
    const sealedSender = { trustRoots: [root], mode: 'auto' } as const;
    const checks = await examined({ profile: { ...scene.profile, sealedSender, serverPublicParams } });
    expect(namesOf(checks, 'fail')).toEqual(['sealed sender', 'group credential']);
    expect(checks['sealed sender']?.next).toContain('trustRoots');
    expect(checks['group credential']?.next).toContain('zk parameters');
  });

  it('may be left out', async () => {
    const sealedSender = { trustRoots: [], mode: 'off' } as const;
    const profile = { ...scene.profile, sealedSender, serverPublicParams: undefined, storage: undefined };
    const checks = await examined({ profile });
    expect(namesOf(checks, 'fail')).toEqual([]);
    for (const name of ['sealed sender', 'group credential', 'storage login'])
      expect(checks[name]).toMatchObject({ state: 'skip' });
  });
});

describe('a sender certificate', () => {
  const root = PrivateKey.generate();
  const signer = PrivateKey.generate();
  const now = Date.now();

  const judge = (bytes: Bytes): Check => {
    const sealedSender = { trustRoots: [root.getPublicKey().serialize()], mode: 'auto' } as const;
    return {
      name: '',
      ...checkSenderCertificate(bytes, device.account, { ...scene.profile, sealedSender }, now),
    };
  };
  const certificate = (change: {
    aci?: string;
    deviceId?: number;
    key?: PrivateKey;
    expiresIn?: number;
  }): Bytes => {
    const identity = PrivateKey.deserialize(fromBase64(device.account.identity.privateKey));
    return SenderCertificate.new(
      change.aci ?? device.account.aci,
      null,
      change.deviceId ?? device.account.deviceId,
      (change.key ?? identity).getPublicKey(),
      now + (change.expiresIn ?? 7 * DAY_MS),
      ServerCertificate.new(1, signer.getPublicKey(), root),
      signer,
    ).serialize();
  };

  it('is judged as a recipient would judge it', () => {
    expect(judge(certificate({}))).toMatchObject({ state: 'ok' });
    expect(judge(certificate({ expiresIn: 60_000 }))).toMatchObject({ state: 'warn' });
    expect(judge(certificate({ expiresIn: -1 })).message).toContain('expired');
    expect(judge(certificate({ aci: phone.pni.replace('PNI:', '') })).message).toContain('another device');
    expect(judge(certificate({ deviceId: 9 })).message).toContain('another device');
    expect(judge(certificate({ key: PrivateKey.generate() })).message).toContain('another identity key');
    expect(judge(new Uint8Array([1, 2, 3])).message).toContain('cannot be read');
  });

  it('that names its signer by number is the trap of embedSigner', () => {
    // As the newest servers write it: device 2, expiry, key, uuid as bytes (7), signer id (8) in place of the certificate (5).
    const key = PrivateKey.deserialize(fromBase64(device.account.identity.privateKey))
      .getPublicKey()
      .serialize();
    const uuid = Buffer.from(device.account.aci.replaceAll('-', ''), 'hex');
    const expires = Buffer.alloc(8);
    expires.writeBigUInt64LE(BigInt(now + DAY_MS));
    const inner = concat(
      Buffer.of(0x10, 2, 0x19), expires, Buffer.of(0x22, 33), key, Buffer.of(0x3a, 16), uuid, Buffer.of(0x40, 1),
    ); // prettier-ignore
    const signature = signer.sign(inner);
    const bytes = concat(Buffer.of(0x0a, inner.length), inner, Buffer.of(0x12, 64), signature);
    expect(signerOf(bytes)).toBe('id');
    expect(judge(bytes)).toMatchObject({ state: 'fail' });
    expect(judge(bytes).next).toContain('embedSigner to true');
    expect(signerOf(certificate({}))).toBe('embedded');
  });
});
