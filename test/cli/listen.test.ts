/** `run --listen tagged`, from the command line to the count in `status`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DemoPhone } from '../../src/cli/demo-phone.ts';
import { ServedFolder } from '../support/served-folder.ts';
import { Side } from '../support/side.ts';

describe('a bot that listens to tagged messages alone', () => {
  let folder: ServedFolder;
  let bot: Side;
  let friend: DemoPhone;

  /** A bot that is looked at, and stopped. */
  const withBot = async (options: readonly string[], look: () => Promise<void>): Promise<void> => {
    const running = await bot.listen('--plugin', 'echo', ...options);
    await look();
    expect(await running.stop()).toBe(0);
  };

  const dropped = async (): Promise<number> => {
    const { code, value } = await bot.run('status');
    expect(code).toBe(0);
    return (value['dropped'] as { untagged: number }).untagged;
  };

  beforeAll(async () => {
    folder = await ServedFolder.open('listen-test');
    bot = await Side.link(folder, 'Owner');
    friend = await folder.phone('Friend');
  });

  afterAll(async () => {
    await folder.close();
  });

  it('drops what a phone sends, says how much, and hears its own account', async () => {
    await withBot(['--listen', 'tagged'], async () => {
      await friend.write(bot.phone, '!ping');
      await expect.poll(dropped, { timeout: 20_000 }).toBe(1);
      expect(await bot.text('status')).toMatch(/^untagged +1 dropped unopened$/m);
      await bot.phone.write(bot.phone, '!echo still there');
      await bot.phone.messages((message) => message.text === 'still there');
    });
  });

  it('is told so by the configuration file too, and the command line goes before it', async () => {
    writeFileSync(join(folder.path, 'bot.json'), JSON.stringify({ listen: 'tagged' }));
    await withBot(['--config', 'bot.json'], async () => {
      await friend.write(bot.phone, '!ping');
      await expect.poll(dropped, { timeout: 20_000 }).toBe(1);
    });
    await withBot(['--config', 'bot.json', '--listen', 'all'], async () => {
      await friend.write(bot.phone, '!ping');
      const came = await friend.messages((message) => message.text === 'pong');
      // Of all that it has written to a bot that did not hear it nothing came back.
      expect(came.filter(({ kind }) => kind === 'text' || kind === 'undecodable')).toHaveLength(1);
      expect(await dropped()).toBe(0);
    });
  });

  it('is refused another word for what to listen to', async () => {
    const first = await bot.run('run', '--listen', 'nothing');
    expect(first).toMatchObject({ code: 2, value: { error: { code: 'USAGE' } } });
    writeFileSync(join(folder.path, 'bad.json'), JSON.stringify({ listen: 'nothing' }));
    const second = await bot.run('run', '--config', 'bad.json');
    expect(second).toMatchObject({ code: 1, value: { error: { code: 'PLUGIN_INVALID' } } });
  });
});
