/**
 * An account as commands reach it: through the control socket of the running bot that holds its store, or, where none
 * runs, by opening the store for the length of one call.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Bot } from '../bot.ts';
import { offlinePlugins } from '../bot/offline-host.ts';
import { BotError, isBotError } from '../errors.ts';
import { listOutbox } from '../inspect.ts';
import type { Platform } from '../platform.ts';
import type { Plugin } from '../plugin/contract.ts';
import { loadPlugin } from '../plugin/load.ts';
import type { Profile } from '../service/profile.ts';
import { openLevel, storeInfo } from '../store/level.ts';
import type { Store } from '../store/store.ts';
import { account } from '../store/tables.ts';
import { noteLinked } from '../store/unlinked.ts';
import { answer, leavesMessages, needsServer, type Call } from './calls.ts';
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

/** How long a command that went online stays for what it has left to be sent. */
const SEND_MS = 15_000;
const SEND_POLL_MS = 100;
/** How long a device that was said to be removed has to come online all the same. */
const ONLINE_MS = 15_000;
const ONLINE_POLL_MS = 100;

export interface CallExtras {
  /** Called where this command itself went online for the answer, and not where a running bot gave it. */
  readonly linger?: (answered: object) => Promise<void>;
  /** Told what happens before the answer. */
  readonly tell?: (event: object) => void;
}

/**
 * The answer to one call, from wherever the account is.
 * @throws BotError `STORE_LOCKED` when another process holds the store and does not answer, and what the call throws
 */
export async function callAccount(
  shell: Shell,
  options: AccountOptions,
  call: Call,
  extras: CallExtras = {},
): Promise<object> {
  return reachAccount(
    shell.io,
    options,
    call,
    (answered) => answered ?? answerHere(shell, options, call, extras),
    extras.tell,
  );
}

/**
 * Asks the running bot, again and again while another process holds the store and does not answer yet.
 * @param take what to do with its answer, or, where none runs, without it: that opens the store
 * @param tell told what happens before the answer
 * @throws BotError `STORE_LOCKED` when it never answers, and what asking and taking throws
 */
export async function reachAccount<T>(
  io: Io,
  options: DataOptions,
  call: Call,
  take: (answered: object | undefined) => Promise<T> | T,
  tell?: (event: object) => void,
): Promise<T> {
  const folder = dataFolder(io, options);
  for (let tries = 1; ; tries++) {
    const answered = await askRunning(folder, call, io.signal, tell);
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

/** The store of an account that is to be made: a new one where there is none. @throws BotError those of the store; `USAGE` */
export async function openOrMakeStore(shell: Shell, options: DataOptions & OutputOptions): Promise<Store> {
  const folder = dataFolder(shell.io, options);
  const secret = await secretFor(shell.io, folder, options);
  return openLevel(folder, { secret, create: true, platform: shell.platform(options) });
}

async function answerHere(
  shell: Shell,
  options: AccountOptions,
  call: Call,
  extras: CallExtras,
): Promise<object> {
  const platform = shell.platform(options);
  const profile = needsServer(call) ? await serverProfile(shell.io, options) : undefined;
  const store = await openStore(shell, options);
  try {
    const plugin = call.call === 'act' ? await loadPlugin(call.plugin, shell.io.cwd) : undefined;
    if (profile === undefined) {
      const plugins = plugin && (await offlinePlugins(store, platform, plugin));
      const parts = { store, platform, bot: undefined, ...(plugins && { acts: plugins.acts }) };
      return await answer(parts, call, shell.io.signal);
    }
    return await answerOnline({ store, profile, platform, plugin, extras }, call, shell.io.signal);
  } finally {
    await store.close();
  }
}

interface OnlineParts {
  readonly store: Store;
  readonly profile: Profile;
  readonly platform: Platform;
  /** The one that the call is for. */
  readonly plugin: Plugin | undefined;
  readonly extras: CallExtras;
}

/** Stays online as long as the call takes. Messages that come meanwhile are kept for the next `run`. */
async function answerOnline(parts: OnlineParts, call: Call, signal: AbortSignal): Promise<object> {
  const { store, platform } = parts;
  const { linger, tell } = parts.extras;
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
    await Promise.race([askAgain(store, platform, bot, over.signal), ended]);
    over.signal.throwIfAborted();
    // Not raced with the end of the bot: unlinking ends the bot, and succeeds.
    const either = AbortSignal.any([signal, over.signal]);
    const result = await answer({ store, platform, bot, ...(tell && { tell }) }, call, either);
    await linger?.(result);
    return result;
  } finally {
    if (leavesMessages(call)) await sendRest(store, platform, AbortSignal.any([signal, over.signal]));
    done.abort();
    await ended;
  }
}

/** That the device was removed may have been a proxy's word: a server that takes its password is believed instead. */
async function askAgain(store: Store, { clock }: Platform, bot: Bot, signal: AbortSignal): Promise<void> {
  const until = clock.now() + ONLINE_MS;
  const row = await account.get(store.batch());
  if (row === undefined || row.unlinkedAt === null) return;
  while (bot.connection !== 'online' && clock.now() < until && !signal.aborted) {
    await clock.sleep(ONLINE_POLL_MS, signal).catch(() => undefined);
  }
  if (bot.connection === 'online') await noteLinked(store);
}

/** Until what waits to be sent has left, or some time is over. */
async function sendRest(store: Store, { clock }: Platform, signal: AbortSignal): Promise<void> {
  const until = clock.now() + SEND_MS;
  while (!signal.aborted && clock.now() < until) {
    const { rows } = await listOutbox(store);
    if (!rows.some(({ state }) => state === 'queued')) return;
    await clock.sleep(SEND_POLL_MS, signal).catch(() => undefined);
  }
}

/** `started` resolves when the bot has begun to connect. */
function startBot(
  { store, profile, platform, plugin }: OnlineParts,
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
    dispatch: plugin === undefined ? false : 'app',
    onEvent: () => {
      onEvent();
    },
  });
  if (plugin !== undefined) bot.use(plugin);
  return { bot, started, life: bot.run(signal) };
}
