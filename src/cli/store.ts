/**
 * `store rekey`: another passphrase or key file for a store; the identity in it stays.
 */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { BotError } from '../errors.ts';
import { rekey, storeInfo, type Secret } from '../store/level.ts';
import type { Io } from './io.ts';
import { dataFolder, withData, withExamples, type DataOptions, type OutputOptions } from './options.ts';
import { canPrompt } from './prompt.ts';
import type { Shell } from './shell.ts';
import { askPassphrase, givenSecret, readPassphrase, secretFor } from './unlocking.ts';

interface RekeyOptions extends DataOptions, OutputOptions {
  readonly newPassphraseFile?: string;
  readonly newKeyFile?: string;
}

export function addStore(program: Command, shell: Shell): void {
  const store = program.command('store').description('care for the store');
  withExamples(store, 'store rekey --data ./data --new-key-file ./store.key');
  const command = withData(
    store
      .command('rekey')
      .description('change what unlocks the store')
      .option(
        '--new-passphrase-file <file>',
        'the new passphrase: first line (or COUNTERSIGN_NEW_PASSPHRASE, or a prompt)',
      )
      .option('--new-key-file <file>', 'a key file in place of a passphrase'),
  );
  withExamples(
    command,
    'store rekey --data ./data --passphrase-file old.txt --new-passphrase-file new.txt',
    'store rekey --data ./data --new-key-file ./store.key',
  ).action(async (options: RekeyOptions) => {
    const folder = dataFolder(shell.io, options);
    const { exists } = await storeInfo(folder);
    if (!exists) throw new BotError('NOT_LINKED', 'there is no store in this data directory');
    const old = await secretFor(shell.io, folder, options);
    const next = await newSecret(shell.io, options);
    await rekey(folder, old, next);
    shell
      .printer(options)
      .print({ protection: next.kind }, () => `the store is now protected by a ${wordFor(next)}`);
  });
}

function wordFor(secret: Secret): string {
  return secret.kind === 'key-file' ? `key file, ${secret.file}` : 'passphrase';
}

/** @throws BotError `PASSPHRASE_NEEDED` when none was given and there is no terminal to ask on */
async function newSecret(io: Io, options: RekeyOptions): Promise<Secret> {
  if (options.newKeyFile !== undefined)
    return { kind: 'key-file', file: resolve(io.cwd, options.newKeyFile) };
  if (options.newPassphraseFile !== undefined) {
    const file = resolve(io.cwd, options.newPassphraseFile);
    return { kind: 'passphrase', passphrase: await readPassphrase(file, '--new-passphrase-file') };
  }
  const env = { COUNTERSIGN_PASSPHRASE: io.env['COUNTERSIGN_NEW_PASSPHRASE'] };
  const given = await givenSecret({ ...io, env }, {});
  if (given !== undefined) return given;
  if (canPrompt(io)) return askPassphrase(io, true);
  throw new BotError('PASSPHRASE_NEEDED', 'no new passphrase was given', {
    next: 'Give --new-passphrase-file, COUNTERSIGN_NEW_PASSPHRASE or --new-key-file.',
  });
}
