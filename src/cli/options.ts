/**
 * Options that several commands share, and where their values come from when they are not given.
 */
import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { BotError } from '../errors.ts';
import { loadProfile, type Profile } from '../service/profile.ts';
import type { Io } from './io.ts';
import type { UnlockingOptions } from './unlocking.ts';

export interface OutputOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

export interface DataOptions extends UnlockingOptions {
  readonly data?: string;
}

export interface ServerOptions {
  readonly server?: string;
}

export type AccountOptions = OutputOptions & DataOptions & ServerOptions;

export function withOutput(command: Command): Command {
  return command
    .option('--json', 'print JSON: one value, or one per line where a stream is natural')
    .option('--verbose', 'write structured logs to stderr');
}

/** For commands that need no server: a script may give the same options to all. */
export function withData(command: Command): Command {
  return withStore(command.addOption(new Option('--server <file>', 'not needed here').hideHelp()));
}

function withStore(command: Command): Command {
  return withOutput(
    command
      .option('--data <dir>', "the linked device's data directory (or COUNTERSIGN_DATA)")
      .option(
        '--passphrase-file <file>',
        'passphrase of the store: first line (or COUNTERSIGN_PASSPHRASE, or a prompt)',
      )
      .option('--key-file <file>', 'key file of the store')
      .option('--insecure-plain-store', 'a new store is not encrypted; does nothing on one that exists'),
  );
}

export function withAccount(command: Command): Command {
  return withStore(command.option('--server <file>', 'server profile (or COUNTERSIGN_SERVER)'));
}

/** Examples below the options of `--help`. */
export function withExamples(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText(
    'after',
    `\nExamples:\n${lines.map((line) => `  $ countersign ${line}`).join('\n')}`,
  );
}

/** The absolute data directory. @throws BotError `USAGE` */
export function dataFolder(io: Io, options: DataOptions): string {
  const given = options.data ?? io.env['COUNTERSIGN_DATA'];
  if (given === undefined || given === '') {
    throw new BotError('USAGE', 'which data directory?', {
      next: 'Give --data DIR, or set COUNTERSIGN_DATA.',
    });
  }
  return resolve(io.cwd, given);
}

/** @throws BotError `USAGE`, `PROFILE_INVALID` */
export function serverProfile(io: Io, options: ServerOptions): Promise<Profile> {
  const given = options.server ?? io.env['COUNTERSIGN_SERVER'];
  if (given === undefined || given === '') {
    throw new BotError('USAGE', 'which server?', { next: 'Give --server FILE, or set COUNTERSIGN_SERVER.' });
  }
  return loadProfile(resolve(io.cwd, given));
}

/** For options that are a whole number in a range. */
export function wholeNumber(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= lowest && value <= highest) return value;
    throw new InvalidArgumentError(`It is a whole number from ${String(lowest)} to ${String(highest)}.`);
  };
}
