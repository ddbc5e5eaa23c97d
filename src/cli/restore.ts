/**
 * `restore`: a backup made a data directory again, here or on another machine.
 */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { checkEmpty, describeBackup, restoreBackup } from '../backup/restore.ts';
import { backupPassphrase, withBackupPassphrase, type BackupPassphraseOptions } from './backup.ts';
import { timeText } from './io.ts';
import { dataFolder, withData, withExamples, type DataOptions, type OutputOptions } from './options.ts';
import type { Shell } from './shell.ts';
import { secretFor } from './unlocking.ts';

export function addRestore(program: Command, shell: Shell): void {
  const command = withData(
    withBackupPassphrase(
      program
        .command('restore')
        .argument('<file>', 'a backup')
        .description('bring a backup up in a data directory that is empty or does not exist'),
    ),
  );
  withExamples(
    command,
    'restore bot.backup --data ./data',
    'restore bot.backup --data ./data --backup-passphrase-file backup.txt --key-file ./store.key',
  ).action(async (name: string, options: DataOptions & OutputOptions & BackupPassphraseOptions) => {
    const { io } = shell;
    const file = resolve(io.cwd, name);
    const folder = dataFolder(io, options);
    // What needs no passphrase is found before one is asked for.
    await checkEmpty(folder);
    const found = await describeBackup(file);
    const printer = shell.printer(options);
    if (!printer.json) printer.note(`This is ${found.aci} as of ${timeText(found.createdAt)}.`);
    const passphrase = await backupPassphrase(io, options, false);
    const secret = await secretFor(io, folder, options);
    const platform = shell.platform(options);
    const restored = await restoreBackup(file, folder, { platform, passphrase, secret }, io.signal);
    printer.print(restored, () =>
      [
        `${restored.aci} is restored as of ${timeText(restored.createdAt)}.`,
        'What it learned later is not there: look at contacts that were verified, changed or blocked since.',
        'Stop the old process if it still runs; this device makes new keys when it starts.',
      ].join('\n'),
    );
  });
}
