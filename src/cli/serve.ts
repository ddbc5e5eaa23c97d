/**
 * Serving: a bot that runs, with the control socket beside it that other commands reach it by.
 */
import type { Bot } from '../bot.ts';
import type { Platform } from '../platform.ts';
import type { Store } from '../store/store.ts';
import { answer } from './calls.ts';
import { ControlServer } from './control-server.ts';
import type { Io } from './io.ts';

/**
 * Resolves when the signal has stopped the bot.
 * @param parts.folder the data directory
 * @param io.onExit takes the control socket away where the process ends before
 * @throws what `ControlServer.open` and `Bot.run` throw
 */
export async function serve(
  parts: { bot: Bot; store: Store; platform: Platform; folder: string },
  { signal, onExit }: Pick<Io, 'signal' | 'onExit'>,
): Promise<void> {
  const { bot, store, platform, folder } = parts;
  const control = await ControlServer.open(folder, (call, gone, tell) =>
    answer({ store, platform, bot, tell }, call, gone),
  );
  const forget = onExit?.(() => {
    control.abandon();
    return undefined;
  });
  try {
    await bot.run(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await control.close();
    forget?.();
  }
}
