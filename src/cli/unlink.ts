/**
 * `unlink`: has the server remove this device. What is stored here is kept.
 */
import type { Command } from 'commander';
import { callAccount } from './account.ts';
import { withAccount, withExamples, type AccountOptions } from './options.ts';
import type { Unlinked } from './own-devices.ts';
import type { Shell } from './shell.ts';

export function addUnlink(program: Command, shell: Shell): void {
  const command = withAccount(
    program.command('unlink').description('remove this device from the account; what is stored here is kept'),
  );
  withExamples(command, 'unlink --server server.json --data ./data').action(
    async (options: AccountOptions) => {
      const result = (await callAccount(shell, options, { call: 'unlink' })) as Unlinked;
      shell
        .printer(options)
        .print(
          result,
          () => `device ${String(result.deviceId)} of ${result.aci} is unlinked; its data is kept`,
        );
    },
  );
}
