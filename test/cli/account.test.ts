import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { CAPTCHA, CODE } from '../support/primary.ts';
import { runJson, startJson, type Command, type Ended } from '../support/json-command.ts';
import { memoryIo } from '../support/memory-io.ts';
import { ServedFolder } from '../support/served-folder.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NUMBER = '+15550001111';

/** From nothing to a linked bot that answers, with commands alone; one server, tests in their order. */
describe('the account commands', () => {
  let folder: ServedFolder;
  let aci = '';

  const argv = (data: string, words: readonly string[]): string[] => [
    ...words,
    '--server',
    'server.json',
    '--data',
    data,
  ];
  const json = (data: string, ...words: string[]): Promise<Ended> =>
    runJson(argv(data, words), { cwd: folder.path });
  const start = (data: string, ...words: string[]): Command =>
    startJson(argv(data, words), { cwd: folder.path });

  beforeAll(async () => {
    folder = await ServedFolder.open('account-test');
  });

  afterAll(async () => {
    await folder.close();
  });

  it('registers, asking for what is missing by its code', async () => {
    const first = ['account', 'register', '--number', NUMBER, '--insecure-plain-store'];
    expect(await json('phone', ...first)).toMatchObject({
      code: 1,
      value: { error: { code: 'CAPTCHA_NEEDED' } },
    });
    const second = await json('phone', ...first, '--captcha', CAPTCHA);
    expect(second).toMatchObject({ code: 1, value: { error: { code: 'CODE_NEEDED' } } });
    const wrong = await json('phone', ...first, '--code', '222222');
    expect(wrong).toMatchObject({ code: 1, value: { error: { code: 'CODE_WRONG' } } });
    const { code, value } = await json('phone', ...first, '--code', CODE);
    expect([code, Object.keys(value), value['number']]).toEqual([0, ['aci', 'pni', 'number'], NUMBER]);
    expect(value['aci']).toMatch(UUID);
    expect(value['pni']).toMatch(UUID);
    aci = String(value['aci']);
  });

  it('registers in one call on a terminal, which it asks', async () => {
    const io = memoryIo({ cwd: folder.path, terminal: true });
    const code = main(
      [
        'account',
        'register',
        '--number',
        '+15550002222',
        '--name',
        'Friend',
        '--insecure-plain-store',
      ].concat('--server', 'server.json', '--data', 'friend'),
      io,
    );
    for (const [question, answer] of [
      ['Captcha', CAPTCHA],
      ['Code that was sent', CODE],
    ] as const) {
      await expect.poll(() => io.err(), { timeout: 20_000 }).toContain(question);
      (io.stdin as unknown as NodeJS.WritableStream).write(`${answer}\n`);
    }
    expect(await code).toBe(0);
    expect(io.out()).toContain('Registered +15550002222');
  });

  it('asks before it registers again', async () => {
    const again = ['account', 'register', '--number', NUMBER, '--captcha', CAPTCHA, '--code', CODE];
    expect(await json('phone', ...again)).toMatchObject({
      code: 1,
      value: { error: { code: 'CONFIRMATION_NEEDED' } },
    });
    expect(await json('phone', ...again, '--yes')).toMatchObject({ code: 0, value: { aci } });
  });

  it('refuses a call that is wrong', async () => {
    expect(await json('phone', 'account', 'register')).toMatchObject({ code: 2 });
    expect(await json('phone', 'account', 'register', '--number', '1')).toMatchObject({ code: 2 });
    const both = ['--number', NUMBER, '--code', CODE, '--new-code'];
    expect(await json('phone', 'account', 'register', ...both)).toMatchObject({ code: 2 });
    expect(await json('phone', 'account', 'approve', 'no link')).toMatchObject({
      code: 2,
      value: { error: { code: 'USAGE' } },
    });
    expect(await json('phone', 'account', 'remove', '1')).toMatchObject({ code: 2 });
    const strange = `sgnl://linkdevice?uuid=AAECAwQFBgcICQoLDA0ODw%3D%3D&pub_key=${'B'.repeat(44)}`;
    expect(await json('phone', 'account', 'approve', strange)).toMatchObject({
      code: 2,
      value: { error: { code: 'USAGE', next: expect.stringContaining('the whole link') as string } },
    });
  });

  it('makes no store for a registration or a link that cannot be asked for', async () => {
    const wrong = [
      ['--number', '15550001112'],
      ['--number', NUMBER, '--name', 'n'.repeat(258)],
      ['--number', NUMBER, '--name', ' '],
      ['--number', NUMBER, '--code', ''],
      ['--number', NUMBER, '--captcha', ' '],
    ];
    for (const words of wrong) {
      const { code } = await json('new', 'account', 'register', ...words, '--insecure-plain-store');
      expect([words, code, existsSync(join(folder.path, 'new'))]).toEqual([words, 2, false]);
    }
    const link = await json('new', 'link', '--name', 'n'.repeat(131), '--insecure-plain-store');
    expect([link.code, existsSync(join(folder.path, 'new'))]).toEqual([2, false]);
    writeFileSync(join(folder.path, 'file'), '');
    const first = ['account', 'register', '--number', NUMBER, '--insecure-plain-store'];
    const { value } = await json('file', ...first);
    expect(value).toMatchObject({ error: { message: expect.stringContaining('is a file') as string } });
    expect(value).not.toMatchObject({ error: { code: 'STORE_DAMAGED' } });
  });

  it('says, where there is no account, how to register one', async () => {
    for (const words of [
      ['devices'],
      ['receive'],
      ['send', 'self', 'x'],
      ['remove', '2'],
      ['approve', 'sgnl://'],
    ]) {
      const { code, value } = await json('nothing', 'account', ...words);
      expect([words, code, value]).toMatchObject([
        words,
        1,
        {
          error: {
            code: 'NOT_LINKED',
            next: expect.stringContaining('countersign account register') as string,
          },
        },
      ]);
    }
    expect(await json('nothing', 'me')).toMatchObject({
      value: { error: { code: 'NOT_LINKED', next: expect.stringContaining('countersign link') as string } },
    });
  });

  it('neither removes a device that is not there, nor itself', async () => {
    expect(await json('phone', 'account', 'remove', '5')).toMatchObject({
      code: 1,
      value: {
        error: { code: 'DEVICE_UNKNOWN', next: expect.stringContaining('account devices') as string },
      },
    });
    const { code, value } = await json('phone', 'unlink');
    expect(code).toBe(1);
    expect(value).toMatchObject({ error: { code: 'REQUEST_REFUSED' } });
    expect(JSON.stringify(value)).toContain('account remove ID');
    expect(JSON.stringify(value)).not.toContain('phone');
  });

  it('approves a link, without and with account receive beside it', async () => {
    for (const [data, isReceiving] of [
      ['bot', false],
      ['second', true],
    ] as const) {
      const receiving = isReceiving ? start('phone', 'account', 'receive') : undefined;
      const linking = start(data, 'link', '--insecure-plain-store', '--name', `The ${data}`);
      const { url } = await linking.io.line(({ event }) => event === 'url');
      const approved = json('phone', 'account', 'approve', String(url));
      const linked = await linking.io.line(({ event }) => event === 'linked');
      const deviceId = isReceiving ? 3 : 2;
      expect(linked).toMatchObject({ aci, deviceId, number: NUMBER });
      const { code, value } = await approved;
      expect([code, value]).toEqual([0, { deviceId, name: `The ${data}` }]);
      expect(await linking.stop()).toBe(0);
      expect((await receiving?.stop()) ?? 0).toBe(0);
    }
  });

  it('says that a link is too old, and that a linked device approves none', async () => {
    const link =
      'sgnl://linkdevice?uuid=AAECAwQFBgcICQoLDA0ODw%3D%3D&pub_key=BQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g';
    expect(await json('phone', 'account', 'approve', link)).toMatchObject({
      code: 1,
      value: { error: { code: 'LINK_EXPIRED' } },
    });
    for (const words of [['approve', link], ['remove', '3'], ['receive']]) {
      expect(await json('bot', 'account', ...words)).toMatchObject({
        code: 1,
        value: { error: { code: 'NOT_PRIMARY' } },
      });
    }
  });

  it('sends, receives and is answered by the bot', async () => {
    const bot = start('bot', 'run', '--plugin', 'echo');
    await bot.io.line(({ event }) => event === 'ready');
    const friend = start('friend', 'account', 'receive');
    // Else send may be the first to open the store.
    await expect
      .poll(() => existsSync(join(folder.path, 'friend', 'control.sock')), { timeout: 20_000 })
      .toBe(true);
    const sent = await json('friend', 'account', 'send', aci, '!ping');
    expect(sent).toMatchObject({ code: 0, value: { recipient: aci, state: 'sent', devices: [1, 2, 3] } });
    const pong = await friend.io.line(({ text }) => text === 'pong');
    expect(pong).toMatchObject({ event: 'message', from: aci, device: 2, kind: 'text' });
    expect(pong['timestamp']).toBeTypeOf('number');
    const phone = start('phone', 'account', 'receive');
    expect(await phone.io.line(({ text }) => text === '!ping')).toMatchObject({ kind: 'text', device: 1 });
    expect(await phone.io.line(({ text }) => text === 'pong')).toMatchObject({
      kind: 'sync',
      from: aci,
      device: 2,
    });
    expect(await phone.io.line(({ kind, text }) => kind === 'sync' && text === undefined)).toMatchObject({
      from: aci,
    });
    for (const command of [bot, friend, phone]) expect(await command.stop()).toBe(0);
  });

  it('shows a text to people on one line, without what would steer their terminal', async () => {
    const io = memoryIo({ cwd: folder.path });
    const files = ['--server', 'server.json', '--data', 'phone'];
    const receiving = main(['account', 'receive', ...files], io);
    await json('friend', 'account', 'send', aci, 'one\n\u001b[2Jtwo');
    await expect.poll(() => io.out(), { timeout: 20_000 }).toContain('two');
    expect(io.out()).toContain('.1: one\\n\\u001b[2Jtwo\n');
    io.stop.abort();
    expect(await receiving).toBe(0);
  });

  it('lists and removes devices', async () => {
    const { value } = await json('phone', 'account', 'devices');
    expect(value).toMatchObject({
      devices: [
        { id: 1, name: null },
        { id: 2, name: 'The bot' },
        { id: 3, name: 'The second' },
      ],
    });
    expect(await json('phone', 'account', 'remove', '2')).toMatchObject({ code: 0, value: { deviceId: 2 } });
    const removed = await json('bot', 'run');
    expect(removed).toMatchObject({ code: 1, value: { event: 'stopped', reason: 'DEVICE_UNLINKED' } });
    expect(JSON.stringify(removed.value)).toContain('Link again');
  });

  it('tells a primary device that was registered elsewhere to register again', async () => {
    const again = ['account', 'register', '--number', NUMBER, '--captcha', CAPTCHA, '--code', CODE, '--yes'];
    expect(await json('elsewhere', ...again, '--insecure-plain-store')).toMatchObject({ code: 0 });
    for (const words of [['devices'], ['send', 'self', 'x'], ['receive'], ['devices']]) {
      const { code, value } = await json('phone', 'account', ...words);
      expect([words, code, value]).toMatchObject([
        words,
        1,
        {
          error: {
            code: 'DEVICE_UNLINKED',
            next: expect.stringContaining('Register the number again') as string,
          },
        },
      ]);
    }
  });
});
