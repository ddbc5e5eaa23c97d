/**
 * `run`: the bot itself, until a signal ends it. While it runs, other commands reach the store through its control socket.
 */
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { Bot, type BotEvent } from '../bot.ts';
import { BotError, isBotError } from '../errors.ts';
import { LISTEN, type Listen } from '../inbox/listening.ts';
import { loadPlugin } from '../plugin/load.ts';
import { openStore } from './account.ts';
import { leaveEnd, takeEnd } from './last-end.ts';
import { failureText, toFailure, type Io, type Printer } from './io.ts';
import { dataFolder, serverProfile, withAccount, withExamples, type AccountOptions } from './options.ts';
import { readPluginConfig, type RunConfig } from './plugin-config.ts';
import { serve } from './serve.ts';
import type { Shell } from './shell.ts';
import type { Watch } from './watchdog.ts';

interface RunOptions extends AccountOptions {
  readonly plugin: readonly string[];
  readonly config?: string;
  readonly listen?: Listen;
}

export function addRun(program: Command, shell: Shell): void {
  const command = withAccount(
    program
      .command('run')
      .description('receive, dispatch to plugins, send, and look after keys, until stopped')
      .option(
        '--plugin <name-or-path>',
        'a plugin: a name, a path or a package; give it again for more',
        collect,
        [],
      )
      .option('--config <file>', 'JSON: {"plugins": {NAME: {...}}, "listen": "all" or "tagged"}')
      .addOption(
        new Option(
          '--listen <what>',
          'what is opened: all (the default), or only what bots send that know this one (docs/outer-tag.md)',
        ).choices(LISTEN),
      ),
  );
  withExamples(
    command,
    'run --server server.json --data ./data --plugin echo',
    'run --server server.json --data ./data --plugin ./my-plugin.ts --config bot.json',
    'run --server server.json --data ./data --plugin echo --listen tagged',
  ).action(async (options: RunOptions) => {
    const printer = shell.printer(options);
    try {
      await run(shell, options, printer);
      if (isBotError(shell.io.signal.reason, 'UNCAUGHT')) throw shell.io.signal.reason;
      printer.print({ event: 'stopped', reason: 'signal' }, () => 'stopped');
    } catch (error) {
      if (isBotError(error, 'USAGE')) throw error;
      printer.print(stopped(error), () => undefined);
      if (!printer.json) printer.note(failureText(toFailure(error)));
      shell.exitCode = 1;
    }
  });
}

/** The last line. */
function stopped(error: unknown): object {
  const failure = toFailure(error);
  return { event: 'stopped', reason: failure.error.code, ...failure };
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** Resolves when a signal has stopped the bot. */
async function run(shell: Shell, options: RunOptions, printer: Printer): Promise<void> {
  const { env, startWatchdog } = shell.io;
  const watch = startWatchdog?.(options.plugin.length, printer.json, stallSeconds(env));
  const forget = shell.io.onExit?.((error, print) => {
    if (watch?.isEnding() === true) return 'told';
    if (printer.json) print(JSON.stringify(stopped(error)));
    return undefined;
  });
  try {
    await serveWith(shell, options, printer, watch);
  } catch (error) {
    if (error !== shell.io.signal.reason) throw error; // stopped while a plugin was being loaded
  } finally {
    forget?.();
    watch?.stop();
  }
}

/** @throws BotError `USAGE` */
function stallSeconds(env: Io['env']): number | undefined {
  const text = env['COUNTERSIGN_STALL_SECONDS'];
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new BotError('USAGE', 'COUNTERSIGN_STALL_SECONDS is a whole number of seconds; 0 is never');
}

async function serveWith(
  shell: Shell,
  options: RunOptions,
  printer: Printer,
  watch: Watch | undefined,
): Promise<void> {
  const { io } = shell;
  const platform = shell.platform(options);
  const folder = dataFolder(io, options);
  const service = await serverProfile(io, options);
  const {
    plugins: config,
    policy,
    listen,
  }: RunConfig = options.config === undefined
    ? { plugins: {}, policy: {} }
    : await readPluginConfig(resolve(io.cwd, options.config));
  const configs: Readonly<Record<string, unknown>> = config;
  watch?.name(options.plugin);
  const plugins = await Promise.all(
    options.plugin.map(async (name) => {
      watch?.onCall(name, 1);
      const plugin = await loadPlugin(name, io.cwd, { signal: io.signal });
      watch?.onCall(name, -1);
      return plugin;
    }),
  );
  watch?.name(plugins.map((plugin) => plugin.name));
  const strangers = [...Object.keys(config), ...Object.keys(policy)].filter(
    (name) => !plugins.some((plugin) => plugin.name === name),
  );
  if (strangers.length > 0) {
    throw new BotError(
      'PLUGIN_INVALID',
      `the configuration names plugins that are not loaded: ${strangers.join(', ')}`,
    );
  }
  const store = await openStore(shell, options);
  const forget = io.onExit?.(() => {
    leaveEnd(folder);
    return undefined;
  });
  try {
    await takeEnd(folder, store);
    const bot = new Bot({
      store,
      service,
      platform,
      policy,
      listen: options.listen ?? listen ?? 'all',
      ...(watch === undefined ? {} : { onCall: watch.onCall }),
      onEvent: (event) => {
        show(printer, event);
      },
    });
    for (const plugin of plugins) bot.use(plugin, configs[plugin.name]);
    await serve({ bot, store, platform, folder }, io);
  } finally {
    forget?.();
    await store.close();
  }
}

function show(printer: Printer, event: BotEvent): void {
  switch (event.kind) {
    case 'connection':
      // The last line says it for people.
      printer.print({ event: 'connection', state: event.state }, () =>
        event.state === 'stopped' ? undefined : event.state,
      );
      break;
    case 'ready':
      printer.print(
        { event: 'ready', aci: event.aci, deviceId: event.deviceId },
        () => `ready: device ${String(event.deviceId)} of ${event.aci}. Ctrl-C stops it.`,
      );
      break;
    case 'warning':
      printer.note(`warning: ${event.message}`);
      break;
    case 'notice':
      printer.note(`${event.plugin}: ${event.message}`);
      break;
    case 'trust':
    case 'unseen':
      break;
  }
}
