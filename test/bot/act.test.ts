/** `Bot.act`: what a program asks of a plugin, and what it hears where that cannot be. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import frost from '../../plugins/frost/index.ts';
import { Bot } from '../../src/bot.ts';
import { definePlugin } from '../../src/index.ts';
import { openMemory } from '../../src/store/memory.ts';
import { Scene } from '../support/scene.ts';

let scene: Scene;

beforeEach(async () => {
  scene = await Scene.start();
});

afterEach(async () => {
  await scene.close();
});

const call = {
  contact: undefined,
  input: {},
  signal: new AbortController().signal,
  tell: (): void => undefined,
};

describe('an act', () => {
  it('needs a bot that runs, and says how it comes to that', async () => {
    const bot = new Bot({ store: openMemory(), service: scene.profile }).use(frost);
    const refused = {
      code: 'NOT_RUNNING',
      next: expect.stringMatching(/run\(\).*event ready/) as string,
    };
    await expect(bot.act('frost', 'deal', call)).rejects.toMatchObject(refused);
    const running = await scene.bot((made) => made.use(frost));
    await expect(running.bot.act('frost', 'deal', call)).rejects.toMatchObject({ code: 'USAGE' });
    await running.stop();
    await expect(running.bot.act('frost', 'deal', call)).rejects.toMatchObject(refused);
  });

  it('that there is not is told from a plugin that there is not', async () => {
    const quiet = definePlugin({ name: 'quiet', version: '1.0.0', setup: () => undefined });
    const { bot } = await scene.bot((made) => made.use(frost).use(quiet));
    await expect(bot.act('frost', 'keygen', call)).rejects.toMatchObject({
      code: 'USAGE',
      message: 'the plugin frost has no act keygen',
      next: 'It has: deal, import, sign.',
    });
    await expect(bot.act('quiet', 'speak', call)).rejects.toMatchObject({
      code: 'USAGE',
      next: 'It has none.',
    });
    await expect(bot.act('loud', 'speak', call)).rejects.toMatchObject({
      code: 'PLUGIN_NOT_LOADED',
      next: 'Stop the bot and run it with --plugin loud.',
    });
  });
});
