/**
 * `quarantine`, `dead`: messages that could not be opened, and messages whose handler failed; and acting on them.
 */
import type { Command } from 'commander';
import type { DeadLine, QuarantineLine } from '../inspect.ts';
import { callAccount } from './account.ts';
import { columns, timeText } from './io.ts';
import { withData, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';

export function addStuckCommands(program: Command, shell: Shell): void {
  addQuarantine(program, shell);
  addDead(program, shell);
}

function addQuarantine(program: Command, shell: Shell): void {
  const quarantine = withData(program.command('quarantine').description('messages that could not be opened'));
  withExamples(quarantine, 'quarantine --data ./data', 'quarantine drop 12 --data ./data');
  quarantine.action(async (options: AccountOptions) => {
    const found = (await callAccount(shell, options, { call: 'quarantine' })) as { rows: QuarantineLine[] };
    shell.printer(options).print(found, () =>
      columns(
        ['ID', 'FROM', 'DEVICE', 'SENT', 'REASON'],
        found.rows.map((row) => [
          row.id,
          row.from ?? 'unknown',
          row.device === null ? '-' : String(row.device),
          timeText(row.timestamp),
          row.reason,
        ]),
        'the quarantine is empty',
      ),
    );
  });
  addAction(quarantine, shell, 'drop', 'remove one for good', 'quarantine drop');
}

function addDead(program: Command, shell: Shell): void {
  const dead = withData(program.command('dead').description('messages whose handler failed five times'));
  withExamples(dead, 'dead --data ./data', 'dead retry 12 --data ./data', 'dead drop 12 --data ./data');
  dead.action(async (options: AccountOptions) => {
    const found = (await callAccount(shell, options, { call: 'dead' })) as { rows: DeadLine[] };
    shell.printer(options).print(found, () =>
      columns(
        ['ID', 'FROM', 'SENT', 'PLUGIN', 'ATTEMPTS', 'ERROR'],
        found.rows.map((row) => [
          row.id,
          row.from,
          timeText(row.timestamp),
          row.plugin,
          String(row.attempts),
          row.error,
        ]),
        'no dead messages',
      ),
    );
  });
  addAction(dead, shell, 'retry', 'give one to its handler again', 'dead retry');
  addAction(dead, shell, 'drop', 'remove one for good', 'dead drop');
}

function addAction(
  parent: Command,
  shell: Shell,
  name: string,
  description: string,
  call: 'quarantine drop' | 'dead drop' | 'dead retry',
): void {
  const command = withData(
    parent.command(name).argument('<id>', 'as the list shows it').description(description),
  );
  withExamples(command, `${call} 12 --data ./data`);
  // Options that stand before the word belong to the parent, so both are asked.
  command.action(async (id: string, _own: unknown, self: Command) => {
    const options: AccountOptions = self.optsWithGlobals();
    const result = await callAccount(shell, options, { call, id });
    shell.printer(options).print(result, () => `${call}: ${id}`);
  });
}
