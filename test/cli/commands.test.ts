import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLevel } from '../../src/store/level.ts';
import { noteUnlinked } from '../../src/store/unlinked.ts';
import type { DemoPhone } from '../../src/cli/demo-phone.ts';
import { CAPTCHA, CODE } from '../support/primary.ts';
import { runJson, startJson, type Command, type Ended, type World } from '../support/json-command.ts';
import { ServedFolder } from '../support/served-folder.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** One server and one linked device, used by the tests in their order. */
describe('the commands, from link to unlink', () => {
  let folder: ServedFolder;
  let data: string;
  let world: World;
  let phone: DemoPhone;
  let friend: DemoPhone;

  const json = (...argv: string[]): Promise<Ended> => runJson(argv, world);
  const start = (...argv: string[]): Command => startJson(argv, world);

  beforeAll(async () => {
    folder = await ServedFolder.open('commands-test');
    data = join(folder.path, 'data');
    world = { cwd: folder.path, env: { COUNTERSIGN_SERVER: folder.profile, COUNTERSIGN_DATA: data } };
    expect(folder.ready).toMatchObject({ profile: folder.profile, captcha: CAPTCHA, code: CODE });
    phone = await folder.phone('Owner');
    friend = await folder.phone('Friend');
  });

  afterAll(async () => {
    await folder.close();
  });

  it('says so where nothing is linked', async () => {
    expect(await json('me')).toMatchObject({ code: 1, value: { error: { code: 'NOT_LINKED' } } });
    const { code, value } = await json('status');
    expect([code, value['linked'], value['connection']]).toEqual([0, false, 'stopped']);
    expect((await json('status', '--check')).code).toBe(1);
    expect(existsSync(data)).toBe(false);
  });

  it('links: url, scanned, registering, keys, linked; and writes the code as a picture', async () => {
    const linking = start('link', '--insecure-plain-store', '--name', 'Test bot', '--qr', 'code.svg');
    const { url, expiresAt } = await linking.io.line(({ event }) => event === 'url');
    expect(expiresAt).toBeGreaterThan(Date.now());
    await phone.scan(String(url));
    const linked = await linking.io.line(({ event }) => event === 'linked');
    expect(linked).toMatchObject({ aci: phone.aci, number: phone.number, deviceId: 2, name: 'Test bot' });
    expect(linking.io.lines().map(({ event }) => event)).toEqual([
      'url',
      'scanned',
      'registering',
      'keys',
      'linked',
    ]);
    expect(statSync(join(folder.path, 'code.svg')).size).toBeGreaterThan(500);
    expect(await linking.stop()).toBe(0);
    expect(await json('link')).toMatchObject({ code: 1, value: { error: { code: 'ALREADY_LINKED' } } });
  });

  it('looks at what is linked', async () => {
    const { value } = await json('me');
    expect(value).toMatchObject({ aci: phone.aci, number: phone.number, deviceId: 2, name: 'Test bot' });
    expect(Buffer.from(String(value['identityKey']), 'base64')).toHaveLength(33);
    const status = await json('status');
    expect(status.value).toMatchObject({
      linked: true,
      connection: 'stopped',
      prekeys: { aci: { ec: 100, kyber: 100 }, pni: { ec: 100, kyber: 100 } },
      plugins: [],
    });
    for (const list of ['quarantine', 'dead']) expect((await json(list)).value).toEqual({ rows: [] });
    const devices = (await json('devices')).value['devices'];
    expect(devices).toContainEqual(expect.objectContaining({ id: 2, name: 'Test bot' }));
  });

  it('sends without a running bot, a text and an app message', async () => {
    const text = await json('send', friend.aci, 'hello there');
    expect(text).toMatchObject({ code: 0, value: { recipient: friend.aci, state: 'sent', devices: [1] } });
    expect(text.value['timestamp']).toBeGreaterThan(1_600_000_000_000);
    const shown = await friend.messages((message) => message.text === 'hello there');
    expect(shown).toContainEqual(expect.objectContaining({ from: phone.aci, device: 2, kind: 'text' }));

    writeFileSync(join(folder.path, 'payload.bin'), 'payload');
    for (const tag of ['no tag', 'example.org/test/01', 'x/'.repeat(32) + '1']) {
      const { code, value } = await json('send', friend.aci, '--tag', tag, 'x');
      expect([code, (value['error'] as { code: string }).code]).toEqual([2, 'USAGE']);
    }
    const app = await json('send', friend.aci, '--tag', 'example.org/test/1', '--payload', 'payload.bin');
    expect(app).toMatchObject({ code: 0, value: { state: 'sent' } });
    await friend.messages((message) => message.kind === 'null');
  });

  it('runs a bot that answers, and serves the other commands meanwhile', async () => {
    const bot = start('run', '--plugin', 'echo');
    const ready = await bot.io.line(({ event }) => event === 'ready');
    expect(ready).toEqual({ event: 'ready', aci: phone.aci, deviceId: 2 });
    await friend.write(phone, '!ping');
    await friend.messages((message) => message.text === 'pong');

    expect((await json('status', '--check')).value).toMatchObject({
      connection: 'online',
      plugins: ['echo'],
      dropped: { unknownTags: 0, blocked: 0, refused: 0 },
    });
    expect((await json('me')).value).toMatchObject({ aci: phone.aci });
    expect((await json('send', 'self', 'a note')).value).toMatchObject({
      state: 'sent',
      recipient: phone.aci,
    });
    const trust = (await json('trust', 'list')).value['contacts'];
    expect(trust).toContainEqual(expect.objectContaining({ aci: friend.aci, state: 'tofu' }));
    expect(await json('trust', 'accept', friend.aci)).toMatchObject({
      code: 1,
      value: { error: { code: 'ROW_UNKNOWN' } },
    });
    const contacts = (await json('contacts')).value['contacts'];
    expect(contacts).toContainEqual(expect.objectContaining({ aci: friend.aci, trust: 'tofu' }));
    expect((await json('devices')).value['devices']).toContainEqual(expect.objectContaining({ id: 2 }));
    expect(await json('dead', 'retry', '9')).toMatchObject({
      code: 1,
      value: { error: { code: 'ROW_UNKNOWN' } },
    });
    expect(await json('store', 'rekey', '--new-key-file', 'k')).toMatchObject({ code: 1 });

    expect(await bot.stop()).toBe(0);
    const events = bot.io.lines();
    expect(events.at(-1)).toEqual({ event: 'stopped', reason: 'signal' });
    const states = events.filter(({ event }) => event === 'connection').map(({ state }) => state);
    expect(states).toEqual(['connecting', 'online', 'stopped']);
    expect(existsSync(join(data, 'control.sock'))).toBe(false);
  });

  it('queues what it cannot send in time, with exit code 0', async () => {
    const { code, value } = await json('send', friend.aci, 'later', '--wait', '0');
    expect(code).toBe(0);
    expect(['queued', 'sent']).toContain(value['state']);
  });

  it('refuses a recipient that it does not know, and a call that makes no sense', async () => {
    expect(await json('send', 'nobody', 'x')).toMatchObject({
      code: 1,
      value: { error: { code: 'RECIPIENT_UNKNOWN' } },
    });
    for (const argv of [
      ['send', friend.aci],
      ['send', friend.aci, 'x', '--payload', 'f'],
      ['send'],
      ['nonsense'],
      [],
    ]) {
      const { code, value } = await json(...argv);
      expect([argv, code, (value['error'] as { code: string } | undefined)?.code]).toEqual([
        argv,
        2,
        'USAGE',
      ]);
    }
  });

  it('ends run with a coded error when a plugin cannot be loaded', async () => {
    const { code, value } = await json('run', '--plugin', './none.ts');
    expect(code).toBe(1);
    expect(value).toMatchObject({
      event: 'stopped',
      reason: 'PLUGIN_INVALID',
      error: { code: 'PLUGIN_INVALID' },
    });
  });

  it.each([['send', 'friend', 'x'], ['devices']])(
    'asks the server before it says that the device was removed: %s',
    async (...argv) => {
      const store = await openLevel(data, { secret: { kind: 'plain' } });
      await noteUnlinked(store, Date.now());
      await store.close();
      expect(await json(...argv.map((word) => (word === 'friend' ? friend.aci : word)))).toMatchObject({
        code: 0,
      });
      expect((await json('status')).value).toMatchObject({ linked: true });
    },
  );

  it('unlinks, and keeps what is stored', async () => {
    expect(await json('unlink')).toMatchObject({ code: 0, value: { aci: phone.aci, deviceId: 2 } });
    expect((await json('status')).value).toMatchObject({ linked: false });
    expect((await json('me')).value['aci']).toMatch(UUID);
    expect(await json('send', friend.aci, 'x')).toMatchObject({
      code: 1,
      value: { error: { code: 'DEVICE_UNLINKED' } },
    });
  });
});
