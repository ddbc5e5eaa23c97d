/**
 * `doctor`: checks a server profile, the server behind it and, with a data directory, the linked device there, line by
 * line. Beside a bot that runs, the device's lines are asked over that bot's connection.
 */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { failureOf, ok, warn, type Check } from '../doctor/check.ts';
import { checkProfile, examineServer, untried } from '../doctor/doctor.ts';
import { withoutDevice } from '../doctor/linked.ts';
import { examineHere } from '../doctor/linked-ways.ts';
import { writeProfile } from '../doctor/profile-text.ts';
import { checkStoreFiles } from '../doctor/store-files.ts';
import { BotError, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import type { Profile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { account as accountCell } from '../store/tables.ts';
import { openStore, reachAccount } from './account.ts';
import type { Printer } from './io.ts';
import { dataFolder, withAccount, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';

interface DoctorOptions extends AccountOptions {
  readonly slow?: boolean;
}

const NAME_WIDTH = 21;
const NEXT_EMPTY = 'Is that the directory you mean? If so, link a device there first.';

const reportSchema = z.object({
  checks: z.array(
    z.object({
      name: z.string(),
      state: z.enum(['ok', 'warn', 'fail', 'skip']),
      message: z.string(),
      next: z.string().optional(),
    }),
  ),
});

export function addDoctor(program: Command, shell: Shell): void {
  const command = withAccount(
    program
      .command('doctor')
      .description(
        'check a server profile, the server, and with --data the linked device; says what is wrong',
      )
      .option('--slow', 'also wait, for a minute, whether a silent connection stays open'),
  );
  withExamples(
    command,
    'doctor --server server.json',
    'doctor --server server.json --data ./data --slow',
    'doctor --server server.json --json',
  ).action(async (options: DoctorOptions) => {
    const printer = shell.printer(options);
    const checks: Check[] = [];
    for await (const check of examine(shell, options)) {
      checks.push(check);
      if (!printer.json) show(printer, check);
    }
    printer.print({ checks }, () => summary(checks));
    if (checks.some(({ state }) => state === 'fail')) shell.exitCode = 1;
  });
}

/** @throws BotError `USAGE` when no profile is named */
async function* examine(shell: Shell, options: DoctorOptions): AsyncGenerator<Check> {
  const { io } = shell;
  const file = options.server ?? io.env['COUNTERSIGN_SERVER'];
  if (file === undefined || file === '') {
    throw new BotError('USAGE', 'which server?', { next: 'Give --server FILE, or set COUNTERSIGN_SERVER.' });
  }
  const { check, profile } = await checkProfile(resolve(io.cwd, file));
  yield check;
  if (profile === undefined) {
    yield* untried();
    yield* withoutDevice('not tried, because of "profile"');
    return;
  }
  const platform = shell.platform(options);
  const blocked = new Set<string>();
  yield* examineServer({ profile, platform, slow: options.slow === true, blocked }, io.signal);
  const data = options.data ?? io.env['COUNTERSIGN_DATA'];
  if (data === undefined || data === '') {
    yield* withoutDevice('not tried: no linked device was named with --data');
    return;
  }
  yield* examineDevice(shell, options, { profile, platform, blocked });
}

/** The lines `store` and `store files`, then those of the linked device. */
async function* examineDevice(
  shell: Shell,
  options: DoctorOptions,
  parts: { profile: Profile; platform: Platform; blocked: Set<string> },
): AsyncGenerator<Check> {
  const name = 'store';
  const files = async (): Promise<Check> => ({
    name: 'store files',
    ...(await checkStoreFiles(dataFolder(shell.io, options))),
  });
  let found: Found;
  try {
    found = await findDevice(shell, options, parts.profile);
  } catch (error) {
    shell.io.signal.throwIfAborted();
    const isEmpty = isBotError(error, 'NOT_LINKED');
    const place = dataFolder(shell.io, options);
    yield { name, ...(isEmpty ? warn(`${error.message}: ${place}`, NEXT_EMPTY) : failureOf(error)) };
    yield await files();
    yield* withoutDevice(isEmpty ? 'not tried: nothing is linked there' : 'not tried, because of "store"');
    return;
  }
  if (found.kind === 'running') {
    yield { name, ...ok('in the hands of a bot that runs; it answers what follows') };
    yield await files();
    yield* found.checks;
    return;
  }
  try {
    yield { name, ...ok('opens') };
    yield await files();
    yield* examineHere(
      { ...parts, store: found.store, account: found.account },
      parts.blocked,
      shell.io.signal,
    );
  } finally {
    await found.store.close();
  }
}

type Found =
  | { readonly kind: 'running'; readonly checks: readonly Check[] }
  | { readonly kind: 'here'; readonly store: Store; readonly account: Account };

/** @throws BotError `NOT_LINKED`, `STORE_LOCKED`, and what opening or the running bot throws */
function findDevice(shell: Shell, options: DoctorOptions, profile: Profile): Promise<Found> {
  const call = { call: 'doctor', profile: writeProfile(profile) } as const;
  return reachAccount(shell.io, options, call, (answered): Promise<Found> | Found =>
    answered === undefined ? openHere(shell, options) : { kind: 'running', checks: readReport(answered) },
  );
}

async function openHere(shell: Shell, options: DoctorOptions): Promise<Found> {
  const store = await openStore(shell, options);
  try {
    const account = await accountCell.get(store.batch());
    if (account === undefined) throw new BotError('NOT_LINKED', 'no device is linked in this data directory');
    return { kind: 'here', store, account };
  } catch (error) {
    await store.close();
    throw error;
  }
}

function readReport(answered: object): Check[] {
  return reportSchema
    .parse(answered)
    .checks.map(({ next, ...check }) => (next === undefined ? check : { ...check, next }));
}

function show(printer: Printer, { name, state, message, next }: Check): void {
  const line = `${state.padEnd(4)}  ${name.padEnd(NAME_WIDTH)} ${message}`;
  printer.print({}, () =>
    next === undefined ? line : `${line}\n      ${' '.repeat(NAME_WIDTH)} -> ${next}`,
  );
}

function summary(checks: readonly Check[]): string {
  const count = (wanted: Check['state']): number => checks.filter(({ state }) => state === wanted).length;
  const [fails, warnings] = [count('fail'), count('warn')];
  if (fails === 0 && warnings === 0) return 'nothing is wrong';
  return `${String(fails)} failed, ${String(warnings)} to look at`;
}
