/**
 * The headless primary on the development server, in each dialect: two accounts that are registered here, and what they
 * do with the bots that are linked to them.
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bot } from '../../src/bot.ts';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { isBotError } from '../../src/errors.ts';
import { systemPlatform } from '../../src/platform.ts';
import { listDevices, removeDevice } from '../../src/service/devices.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import { decryptDeviceName } from '../../src/session/device-name.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { account as accountRow, contacts, syncRequests } from '../../src/store/tables.ts';
import { answers, freeNumber, Primary, registerHere } from '../support/primary.ts';
import { until } from '../support/until.ts';

const ASKED = ['contacts', 'blocked', 'configuration', 'keys'] as const;

describe.each(['jun25', 'dec25', 'aug26'] as const)('on a server of %s', (dialect) => {
  let server: DevServer;
  let profile: Profile;
  let alice: Primary;
  let bob: Primary;
  let aliceBot: LinkedBot;
  let bobBot: LinkedBot;

  beforeAll(async () => {
    server = await startDevServer({ dialect });
    profile = parseProfile(JSON.stringify(server.profile), '/');
    alice = await Primary.start(profile);
    bob = await Primary.start(profile);
  });

  afterAll(async () => {
    await Promise.all([alice.stop(), bob.stop(), aliceBot.stop(), bobBot.stop()]);
    await server.close();
  });

  it('registers accounts with all their keys, as device 1', () => {
    for (const { account } of [alice, bob]) {
      expect(account).toMatchObject({ deviceId: 1, keysUploaded: true, unlinkedAt: null });
      expect(account.accountEntropyPool).toMatch(/^[0-9a-z]{64}$/);
    }
    expect(alice.account.aci).not.toBe(bob.account.aci);
  });

  it('links a bot to each by approving what it shows, and reads its name', async () => {
    const linked = await Promise.all([alice.link('Door bot'), bob.link('Gate bot')]);
    expect(linked.map(({ approved }) => approved)).toEqual([
      { deviceId: 2, name: 'Door bot' },
      { deviceId: 2, name: 'Gate bot' },
    ]);
    const [a, b] = linked;
    for (const [{ account }, primary] of [[a, alice] as const, [b, bob] as const]) {
      const { aci, pni, number, identity, pniIdentity, profileKey, masterKey } = primary.account;
      expect(account).toMatchObject({
        aci,
        pni,
        number,
        identity,
        pniIdentity,
        profileKey,
        masterKey,
        deviceId: 2,
      });
      expect(account.accountEntropyPool).toBe(primary.account.accountEntropyPool);
    }
    aliceBot = await LinkedBot.run(profile, a.store);
    bobBot = await LinkedBot.run(profile, b.store);
  });

  it('carries texts both ways between primaries and bots, with transcripts', async () => {
    expect(await alice.send(bob.account.aci, 'hello from the primary')).toEqual([1, 2]);
    await until(() => bob.texts.length === 1 && bobBot.texts.length === 1);
    expect(bob.texts[0]).toEqual({ from: alice.account.aci, device: 1, text: 'hello from the primary' });
    expect(bobBot.texts).toEqual(['hello from the primary']);
    await until(() => aliceBot.transcripts.includes('hello from the primary'));

    await bobBot.send(alice.account.aci, 'hello from the bot');
    await until(() => alice.texts.length === 1 && aliceBot.texts.length === 1);
    expect(alice.texts[0]).toEqual({ from: bob.account.aci, device: 2, text: 'hello from the bot' });
    await until(() => bob.transcripts.includes('hello from the bot'));
  });

  it('carries a note to self both ways', async () => {
    expect(await alice.send(alice.account.aci, 'remember the milk')).toEqual([2]);
    await until(() => aliceBot.texts.includes('remember the milk'));
    await aliceBot.send(alice.account.aci, 'it is remembered');
    await until(() => alice.texts.some(({ text, device }) => text === 'it is remembered' && device === 2));
  });

  it('answers what the linked device asks for: contacts, blocked, configuration, keys', async () => {
    const told = (): number =>
      alice.events.filter((event) => event.kind === 'unseen' && event.what === 'sync').length;
    await until(() => told() === 4);
    await until(async () => {
      const left = await Promise.all(
        ASKED.map(async (type) => await syncRequests.get(alice.store.batch(), type)),
      );
      return left.every((since) => since === undefined);
    });
    // Asked again, now that there is somebody to tell of.
    const batch = alice.store.batch();
    const mallory = '00000000-0000-4000-8000-0000000000aa' as Account['aci'];
    const changed = {
      ...alice.account,
      accountEntropyPool: '0'.repeat(64),
      masterKey: toBase64(new Uint8Array(32).fill(1)),
    };
    accountRow.put(batch, changed);
    contacts.put(batch, bob.account.aci, { name: 'Bob', blocked: false });
    contacts.put(batch, mallory, { blocked: true });
    for (const type of ['contacts', 'blocked', 'keys'] as const) syncRequests.put(batch, type, 1);
    await batch.commit();
    await alice.stop();
    alice = await Primary.run(profile, alice.store, changed);
    await until(async () => (await contacts.get(aliceBot.store.batch(), bob.account.aci))?.name === 'Bob');
    await until(async () => (await contacts.get(aliceBot.store.batch(), mallory))?.blocked === true);
    expect((await contacts.get(aliceBot.store.batch(), bob.account.aci))?.blocked).not.toBe(true);
    await until(async () => (await accountRow.get(aliceBot.store.batch()))?.masterKey === changed.masterKey);
    const { accountEntropyPool } = changed;
    expect(await accountRow.get(aliceBot.store.batch())).toMatchObject({ accountEntropyPool });
  });

  it('lists its devices, and a removed one ends with DEVICE_UNLINKED', async () => {
    const { requester } = alice.bot;
    const devices = await listDevices(requester);
    const key = PrivateKey.deserialize(fromBase64(alice.account.identity.privateKey));
    const names = devices === 'not-offered' ? [] : devices.map(({ encryptedName }) => encryptedName);
    expect(names.map((name) => name && decryptDeviceName(name, key))).toEqual([undefined, 'Door bot']);
    expect(await removeDevice(requester, 2)).toBe('removed');
    expect(isBotError(await aliceBot.ended, 'DEVICE_UNLINKED')).toBe(true);
    expect(await bob.send(alice.account.aci, 'still there?')).toEqual([1]);
    await until(() => alice.texts.some(({ text }) => text === 'still there?'));
    const again = await alice.link('Door bot');
    expect(again.approved.deviceId).toBe(2);
    aliceBot = await LinkedBot.run(profile, again.store);
  });

  it('registering again asks, keeps account and identity, and removes the linked devices', async () => {
    const { number, aci, identity } = alice.account;
    await expect(registerHere(profile, alice.store, number ?? '')).rejects.toMatchObject({
      code: 'CONFIRMATION_NEEDED',
    });
    expect(await accountRow.get(alice.store.batch())).toEqual(alice.account);
    await alice.stop();
    const { account, reregistration } = await registerHere(profile, alice.store, number ?? '', answers(true));
    expect(reregistration).toBe(true);
    expect(account).toMatchObject({ aci, identity, deviceId: 1, keysUploaded: true });
    expect(account.password).not.toBe(alice.account.password);
    expect(isBotError(await aliceBot.ended, 'DEVICE_UNLINKED')).toBe(true);
    alice = await Primary.run(profile, alice.store, account);
    expect(await bob.send(aci, 'welcome back')).toEqual([1]);
    await until(() => alice.texts.some(({ text }) => text === 'welcome back'));
    expect(await alice.send(bob.account.aci, 'thank you')).toEqual([1, 2]);
    await until(() => bob.texts.some(({ text }) => text === 'thank you'));
  });

  it('a primary that another registration has replaced ends with DEVICE_UNLINKED, and so does its bot', async () => {
    const number = freeNumber();
    const first = await Primary.start(profile, number);
    const bot = await LinkedBot.run(profile, (await first.link()).store);
    const store = openMemory();
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'TRANSFER_POSSIBLE' });
    expect(first.bot.connection).toBe('online');
    const { account, reregistration } = await registerHere(profile, store, number, answers(true));
    expect([account.aci, reregistration]).toEqual([first.account.aci, true]);
    const second = await Primary.run(profile, store, account);
    expect(await first.ended).toMatchObject({ code: 'DEVICE_UNLINKED' });
    expect(await bot.ended).toMatchObject({ code: 'DEVICE_UNLINKED' });
    expect(await second.stop()).toBeUndefined();
  });

  it('asks before it takes the number of a phone, whose linked devices it would remove', async () => {
    const phone = await server.createPhone();
    const store = openMemory();
    await expect(registerHere(profile, store, phone.number)).rejects.toMatchObject({
      code: 'TRANSFER_POSSIBLE',
    });
    const { account, reregistration } = await registerHere(profile, store, phone.number, answers(true));
    expect([account.aci, reregistration]).toEqual([phone.aci, true]);
  });

  it('exchanges texts with a phone, sealed too', async () => {
    const phone = await server.createPhone();
    await phone.send(bob.account.aci, 'sealed', { sealed: true });
    await until(() => bob.texts.some(({ text, from }) => text === 'sealed' && from === phone.aci));
    await bob.send(phone.aci as Account['aci'], 'answer');
    await until(async () => (await phone.messages()).some(({ text }) => text === 'answer'));
  });
});

class LinkedBot {
  readonly store: Store;
  readonly bot: Bot;
  readonly texts: string[] = [];
  readonly transcripts: string[] = [];
  readonly ended: Promise<unknown>;
  readonly #stop = new AbortController();

  private constructor(profile: Profile, store: Store, onReady: () => void) {
    this.store = store;
    this.bot = new Bot({
      store,
      service: profile,
      platform: systemPlatform(),
      onEvent: ({ kind }) => {
        if (kind === 'ready') onReady();
      },
    });
    this.bot.handle((on) => {
      on.text(({ text }) => {
        this.texts.push(text);
      });
      on.sync(({ content: { sync } }) => {
        if (sync.type === 'sent' && sync.content.kind === 'text') this.transcripts.push(sync.content.text);
      });
    });
    this.ended = this.bot.run(this.#stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  static run(profile: Profile, store: Store): Promise<LinkedBot> {
    return new Promise((resolve) => {
      const bot: LinkedBot = new LinkedBot(profile, store, () => {
        resolve(bot);
      });
    });
  }

  async send(to: Account['aci'], text: string): Promise<void> {
    const { timestamp } = await this.bot.send(to, { kind: 'text', text });
    const end = await this.bot.sent(to, timestamp, AbortSignal.timeout(20_000));
    if (end.state === 'failed') throw end.error;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.ended;
  }
}
