/**
 * `backup`: all that this device knows, save what must never be used twice, in one encrypted file. A running bot writes it
 * and goes on.
 */
import type { Command } from 'commander';
import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Backup } from '../backup/backup.ts';
import { BotError } from '../errors.ts';
import { callAccount } from './account.ts';
import { oneLine, timeText, type Io } from './io.ts';
import { dataFolder, withData, withExamples, type AccountOptions } from './options.ts';
import { canPrompt, promptSecret } from './prompt.ts';
import type { Shell } from './shell.ts';
import { readPassphrase } from './unlocking.ts';

const NEXT_PASSPHRASE = 'Give --backup-passphrase-file, or type one when asked.';

export interface BackupPassphraseOptions {
  readonly backupPassphraseFile?: string;
}

export function addBackup(program: Command, shell: Shell): void {
  const command = withData(
    withBackupPassphrase(
      program
        .command('backup')
        .argument('<file>', 'where to write it; a backup of that name is replaced')
        .description('write an encrypted backup of a bot that runs, or of one that does not'),
    ),
  );
  withExamples(
    command,
    'backup bot.backup --data ./data',
    'backup bot.backup --data ./data --backup-passphrase-file backup.txt --passphrase-file store.txt',
  ).action(async (name: string, options: AccountOptions & BackupPassphraseOptions) => {
    const { io } = shell;
    const folder = dataFolder(io, options);
    const file = resolve(io.cwd, name);
    await checkOutside(file, folder);
    const passphrase = await backupPassphrase(io, options, true);
    const made = (await callAccount(shell, options, { call: 'backup', file, passphrase })) as Backup;
    shell
      .printer(options)
      .print(made, () =>
        [
          `${made.file}: ${made.aci} as of ${timeText(made.createdAt)}. Keep the passphrase.`,
          ...(made.notes ?? []).map(oneLine),
        ].join('\n'),
      );
  });
}

export function withBackupPassphrase(command: Command): Command {
  return command.option(
    '--backup-passphrase-file <file>',
    'passphrase of the backup, not of the store: first line (or a prompt)',
  );
}

/** The store's folder is no place for other files: some would be taken for its own. @throws BotError `USAGE` */
async function checkOutside(file: string, folder: string): Promise<void> {
  // What is not there yet, or cannot be followed, is looked at as it is written.
  const real = (path: string): Promise<string> => realpath(path).catch(() => path);
  const way = relative(await real(folder), join(await real(dirname(file)), basename(file)));
  if (way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way)) return;
  throw new BotError('USAGE', `${file} would lie in the data directory`, {
    next: 'Give the backup a place outside of --data: it must outlive the data directory.',
  });
}

/**
 * The passphrase of a backup.
 * @param isNew asked for twice, since a slip of the finger would lose it
 * @throws BotError `PASSPHRASE_NEEDED` when none was given and there is no terminal to ask on
 */
export async function backupPassphrase(
  io: Io,
  { backupPassphraseFile: file }: BackupPassphraseOptions,
  isNew: boolean,
): Promise<string> {
  if (file !== undefined) return readPassphrase(resolve(io.cwd, file), '--backup-passphrase-file');
  if (!canPrompt(io)) {
    throw new BotError('PASSPHRASE_NEEDED', 'no passphrase was given for the backup', {
      next: NEXT_PASSPHRASE,
    });
  }
  const passphrase = await promptSecret(
    io,
    isNew ? 'New passphrase of the backup: ' : 'Passphrase of the backup: ',
  );
  if (passphrase === '') {
    throw new BotError('PASSPHRASE_NEEDED', 'the passphrase is empty', { next: NEXT_PASSPHRASE });
  }
  if (isNew && (await promptSecret(io, 'Again: ')) !== passphrase) {
    throw new BotError('PASSPHRASE_WRONG', 'the two passphrases differ');
  }
  return passphrase;
}
