/** `run --listen tagged`, from the command line to the count in `status`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DemoPhone } from '../../src/cli/demo-phone.ts';
import { main } from '../../src/cli/main.ts';
import { memoryIo, type MemoryIo } from '../support/memory-io.ts';

const never = new AbortController().signal;

describe('a bot that listens to tagged messages alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'listen-test-'));
  const env = { COUNTERSIGN_SERVER: join(folder, 'server.json'), COUNTERSIGN_DATA: join(folder, 'data') };
  const server = memoryIo({ cwd: folder });
  let serving: Promise<number>;
  let phone: DemoPhone;
  let friend: DemoPhone;

  const run = (...argv: string[]): { io: MemoryIo; code: Promise<number> } => {
    const io = memoryIo({ cwd: folder, env });
    return { io, code: main(argv, io) };
  };

  /** A bot on whose account it is looked, and that is stopped. */
  const withBot = async (argv: readonly string[], look: () => Promise<void>): Promise<void> => {
    const { io, code } = run('run', '--plugin', 'echo', '--json', ...argv);
    await io.line(({ event }) => event === 'ready');
    await look();
    io.stop.abort();
    expect(await code).toBe(0);
  };

  const dropped = async (): Promise<number> => {
    const { io, code } = run('status', '--json');
    expect(await code).toBe(0);
    return (io.lines().at(-1)?.['dropped'] as { untagged: number }).untagged;
  };

  beforeAll(async () => {
    serving = main(['devserver', '--profile', 'server.json', '--json'], server);
    const ready = await server.line(({ event }) => event === 'ready');
    phone = await DemoPhone.create(String(ready['control']), 'Owner', never);
    friend = await DemoPhone.create(String(ready['control']), 'Friend', never);
    const { io, code } = run('link', '--insecure-plain-store', '--json');
    await phone.scan(String((await io.line(({ event }) => event === 'url'))['url']));
    expect(await code).toBe(0);
  });

  afterAll(async () => {
    server.stop.abort();
    expect(await serving).toBe(0);
    rmSync(folder, { recursive: true });
  });

  it('drops what a phone sends, says how much, and hears its own account', async () => {
    await withBot(['--listen', 'tagged'], async () => {
      await friend.write(phone, '!ping');
      await expect.poll(dropped, { timeout: 20_000 }).toBe(1);
      const { io, code } = run('status');
      expect(await code).toBe(0);
      expect(io.out()).toMatch(/^untagged +1 dropped unopened$/m);
      await phone.write(phone, '!echo still there');
      await phone.messages((message) => message.text === 'still there');
    });
  });

  it('is told so by the configuration file too, and the command line goes before it', async () => {
    writeFileSync(join(folder, 'bot.json'), JSON.stringify({ listen: 'tagged' }));
    await withBot(['--config', 'bot.json'], async () => {
      await friend.write(phone, '!ping');
      await expect.poll(dropped, { timeout: 20_000 }).toBe(1);
    });
    await withBot(['--config', 'bot.json', '--listen', 'all'], async () => {
      await friend.write(phone, '!ping');
      const came = await friend.messages((message) => message.text === 'pong');
      // Of all that it has written to a bot that did not hear it nothing came back.
      expect(came.filter(({ kind }) => kind === 'text' || kind === 'undecodable')).toHaveLength(1);
      expect(await dropped()).toBe(0);
    });
  });

  it('is refused another word for what to listen to', async () => {
    const { io, code } = run('run', '--listen', 'nothing', '--json');
    expect(await code).toBe(2);
    expect(io.lines().at(-1)).toMatchObject({ error: { code: 'USAGE' } });
    writeFileSync(join(folder, 'bad.json'), JSON.stringify({ listen: 'nothing' }));
    const second = run('run', '--config', 'bad.json', '--json');
    expect(await second.code).toBe(1);
    expect(second.io.lines().at(-1)).toMatchObject({ error: { code: 'PLUGIN_INVALID' } });
  });
});
