/**
 * In time: what a plugin does before the bot can start, with an end even where the plugin has none.
 */
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';

/** ms */
const READY_MS = 30_000;

/**
 * @param what of the message: "the plugin dice"
 * @returns what `work` gives; its later end is ignored when it was not in time
 * @throws BotError `PLUGIN_INVALID` after 30 s; the signal's reason; what `work` throws
 */
export async function inTime<T>(
  work: Promise<T>,
  what: string,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<T> {
  const done = new AbortController();
  const either = signal === undefined ? done.signal : AbortSignal.any([signal, done.signal]);
  const late = clock.sleep(READY_MS, either).then(() => {
    throw new BotError('PLUGIN_INVALID', `${what} was not ready in time (${String(READY_MS / 1_000)} s)`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort();
  }
}
