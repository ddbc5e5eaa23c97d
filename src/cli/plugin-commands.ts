/**
 * Commands of plugins: a plugin declares them (`src/plugin/subcommand.ts`), and is loaded only when one of them is called.
 */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { loadPlugin } from '../plugin/load.ts';
import type { Subcommand, SubcommandCall } from '../plugin/subcommand.ts';
import { callAccount, openStore } from './account.ts';
import { withAccount, withData, withExamples, withOutput, type AccountOptions } from './options.ts';
import { canPrompt, readLine } from './prompt.ts';
import type { Shell } from './shell.ts';

/** First words of commands, the built-in plugin that has them, and their line in `--help`. */
const GROUPS: Readonly<Record<string, { readonly plugin: string; readonly description: string }>> = {
  verify: { plugin: 'verify', description: "verify a contact's identity key with a spoken code" },
  introduce: { plugin: 'verify', description: 'vouch for a verified contact towards other ones' },
  bls: { plugin: 'threshold-bls', description: 'threshold BLS signatures: one key, several bots' },
};

type Given = AccountOptions & Readonly<Record<string, string | true | readonly string[] | undefined>>;

/**
 * Adds the groups, and the commands of the one that is called.
 * @throws BotError `PLUGIN_INVALID`
 */
export async function addPluginCommands(
  program: Command,
  shell: Shell,
  argv: readonly string[],
): Promise<void> {
  const [first, second] = argv.filter((word) => !word.startsWith('-'));
  const called = first === 'help' ? second : first;
  for (const [word, { plugin, description }] of Object.entries(GROUPS)) {
    const group = program.command(word).description(description);
    if (word !== called) continue;
    // A group that is a command itself has options too: those behind a word of it are that word's.
    program.enablePositionalOptions();
    group.enablePositionalOptions();
    const { subcommands = [] } = await loadPlugin(plugin, shell.io.cwd);
    for (const subcommand of subcommands) addSubcommand(group, shell, plugin, subcommand);
    // One that is a command itself has its own.
    if (subcommands.some(({ name }) => name === word)) continue;
    const parts = subcommands.filter(({ name }) => name.startsWith(`${word} `));
    withExamples(group, ...parts.flatMap(({ examples = [] }) => examples.slice(0, 1)));
  }
}

function addSubcommand(group: Command, shell: Shell, plugin: string, subcommand: Subcommand): void {
  const [first, ...words] = subcommand.name.split(' ');
  if (first !== group.name()) return;
  const command =
    words.length === 0
      ? group.description(subcommand.description)
      : words.reduce(
          (parent, word) => parent.commands.find((child) => child.name() === word) ?? parent.command(word),
          group,
        );
  command.description(subcommand.description);
  const { arguments: named = {}, options = {} } = subcommand;
  for (const [syntax, help] of Object.entries(named)) command.argument(syntax, help);
  for (const [flags, help] of Object.entries(options)) command.option(flags, help);
  const shared = { data: withData, account: withAccount, none: withOutput };
  withExamples(shared[subcommand.shares ?? 'none'](command), ...(subcommand.examples ?? [])).action(
    async (...args: unknown[]) => {
      // Behind the arguments commander hands over the options, then the command.
      const given = args.slice(0, Object.keys(named).length) as (string | undefined)[];
      await subcommand.run(callOf(shell, plugin, command.opts<Given>(), given));
    },
  );
}

function callOf(
  shell: Shell,
  plugin: string,
  options: Given,
  given: readonly (string | undefined)[],
): SubcommandCall {
  const { io } = shell;
  const folder = options.data ?? io.env['COUNTERSIGN_DATA'];
  return {
    arguments: given,
    options: valuesOf(options, isValue),
    lists: valuesOf(options, isList),
    platform: shell.platform(options),
    signal: io.signal,
    cwd: io.cwd,
    stdin: io.stdin,
    readLine: () => readLine(io),
    canPrompt: canPrompt(io),
    dataFolder: folder === undefined || folder === '' ? undefined : resolve(io.cwd, folder),
    print: (value, text) => {
      shell.printer(options).print(value, text);
    },
    fail: () => {
      shell.exitCode = 1;
    },
    note: (text) => {
      shell.printer(options).note(text);
    },
    takeStdout: () => {
      shell.resultsTo = 'stderr';
      io.onStdoutTaken?.();
      return (bytes) =>
        new Promise((written, failed) => {
          io.stdout.write(bytes, (error) => {
            if (error) failed(error);
            else written();
          });
        });
    },
    act: (name, { contact, contacts, input = {}, offline = false }, onEvent) => {
      const others = contacts === undefined ? {} : { contacts: [...contacts] };
      const call = { call: 'act' as const, plugin, name, contact, ...others, input, offline };
      return callAccount(shell, options, call, onEvent === undefined ? {} : { tell: onEvent });
    },
    openStore: () => openStore(shell, options),
  };
}

type Value = string | true | undefined;

function valuesOf<T extends Value | readonly string[]>(
  options: Given,
  isOne: (value: unknown) => value is T,
): Readonly<Record<string, T>> {
  const found: Record<string, T> = {};
  for (const [name, value] of Object.entries(options)) if (isOne(value)) found[name] = value;
  return found;
}

function isValue(value: unknown): value is Value {
  return !isList(value);
}

/** Of what commander gives, nothing else is an array. */
function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value);
}
