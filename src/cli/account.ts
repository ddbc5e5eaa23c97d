/**
 * An account as commands reach it: through the control socket of the running bot that holds its store, or, where none
 * runs, by opening the store for the length of one call.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Bot } from '../bot.ts';
import { BotError, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import type { Profile } from '../service/profile.ts';
import { openLevel, storeInfo } from '../store/level.ts';
import type { Store } from '../store/store.ts';
import { answer, needsServer, type Call } from './calls.ts';
import { askRunning } from './control-client.ts';
import type { Io } from './io.ts';
import {
  dataFolder,
  serverProfile,
  type AccountOptions,
  type DataOptions,
  type OutputOptions,
} from './options.ts';
import type { Shell } from './shell.ts';
import { secretFor } from './unlocking.ts';

/** A bot that is starting holds the lock a moment before it serves its socket. */
const LOCK_TRIES = 10;
const LOCK_WAIT_MS = 300;

/** What is done with the answer before this process goes offline. */
export type Linger = (answered: object) => Promise<void>;

/**
 * The answer to one call, from wherever the account is.
 * @param linger called where this command itself went online for the answer, and not where a running bot gave it
 * @throws BotError `STORE_LOCKED` when another process holds the store and does not answer, and what the call throws
 */
export async function callAccount(
  shell: Shell,
  options: AccountOptions,
  call: Call,
  linger?: Linger,
): Promise<object> {
  return reachAccount(
    shell.io,
    options,
    call,
    (answered) => answered ?? answerHere(shell, options, call, linger),
  );
}

/**
 * Asks the running bot, again and again while another process holds the store and does not answer yet.
 * @param take what to do with its answer, or, where none runs, without it: that opens the store
 * @throws BotError `STORE_LOCKED` when it never answers, and what asking and taking throws
 */
export async function reachAccount<T>(
  io: Io,
  options: DataOptions,
  call: Call,
  take: (answered: object | undefined) => Promise<T> | T,
): Promise<T> {
  const folder = dataFolder(io, options);
  for (let tries = 1; ; tries++) {
    const answered = await askRunning(folder, call, io.signal);
    if (answered !== undefined) return take(answered);
    try {
      return await take(undefined);
    } catch (error) {
      if (!isBotError(error, 'STORE_LOCKED') || tries === LOCK_TRIES) throw error;
      await sleep(LOCK_WAIT_MS, undefined, { signal: io.signal });
    }
  }
}

/**
 * The store in the data directory.
 * @throws BotError `NOT_LINKED` when there is none, and what opening throws
 */
export async function openStore(shell: Shell, options: DataOptions & OutputOptions): Promise<Store> {
  const folder = dataFolder(shell.io, options);
  const info = await storeInfo(folder);
  if (!info.exists) throw new BotError('NOT_LINKED', 'there is no store in this data directory');
  const secret = await secretFor(shell.io, folder, options);
  return openLevel(folder, { secret, create: false, platform: shell.platform(options) });
}

async function answerHere(
  shell: Shell,
  options: AccountOptions,
  call: Call,
  linger: Linger | undefined,
): Promise<object> {
  const platform = shell.platform(options);
  const profile = needsServer(call) ? await serverProfile(shell.io, options) : undefined;
  const store = await openStore(shell, options);
  try {
    if (profile === undefined)
      return await answer({ store, platform, bot: undefined }, call, shell.io.signal);
    return await answerOnline({ store, profile, platform, linger }, call, shell.io.signal);
  } finally {
    await store.close();
  }
}

/** Stays online as long as the call takes. Messages that come meanwhile are kept for the next `run`. */
async function answerOnline(
  parts: { store: Store; profile: Profile; platform: Platform; linger: Linger | undefined },
  call: Call,
  signal: AbortSignal,
): Promise<object> {
  const { store, platform, linger } = parts;
  const done = new AbortController();
  const over = new AbortController();
  const { bot, started, life } = startBot(parts, AbortSignal.any([signal, done.signal]));
  const ended = life.then(
    () => {
      over.abort(new BotError('INTERRUPTED', 'stopped before it was done'));
    },
    (error: unknown) => {
      over.abort(error);
    },
  );
  try {
    await Promise.race([started, ended]);
    over.signal.throwIfAborted();
    // Not raced with the end of the bot: unlinking ends the bot, and succeeds.
    const result = await answer({ store, platform, bot }, call, AbortSignal.any([signal, over.signal]));
    await linger?.(result);
    return result;
  } finally {
    done.abort();
    await ended;
  }
}

/** `started` resolves when the bot has begun to connect. */
function startBot(
  { store, profile, platform }: { store: Store; profile: Profile; platform: Platform },
  signal: AbortSignal,
): { bot: Bot; started: Promise<void>; life: Promise<void> } {
  let onEvent = (): void => undefined;
  const started = new Promise<void>((resolve) => {
    onEvent = resolve;
  });
  const bot = new Bot({
    store,
    service: profile,
    platform,
    dispatch: false,
    onEvent: () => {
      onEvent();
    },
  });
  return { bot, started, life: bot.run(signal) };
}
