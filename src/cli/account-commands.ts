/**
 * `account …`: the primary device of an account, for servers that have no phone app. Each command is in a file of its own,
 * save those that only look, remove and send.
 */
import type { Command } from 'commander';
import { NEXT_REGISTER } from '../account/approve.ts';
import { BotError, isBotError } from '../errors.ts';
import { callAccount } from './account.ts';
import { addApprove } from './account-approve.ts';
import { addReceive } from './account-receive.ts';
import { addRegister } from './account-register.ts';
import type { Call, SendResult } from './calls.ts';
import { columns, timeText } from './io.ts';
import { wholeNumber, withAccount, withExamples, type AccountOptions } from './options.ts';
import type { OwnDevice } from './own-devices.ts';
import type { Shell } from './shell.ts';

export function addAccountCommands(program: Command, shell: Shell): void {
  const group = program
    .command('account')
    .description('be the primary device of an account: no phone is needed');
  withExamples(
    group,
    'account register --number +15550001111 --server server.json --data ./phone',
    "account approve 'sgnl://linkdevice?uuid=...&pub_key=...' --server server.json --data ./phone",
  );
  group.hook('preAction', () => {
    shell.reword = withRegister;
  });
  addRegister(group, shell);
  addApprove(group, shell);
  addDevices(group, shell);
  addRemove(group, shell);
  addAccountSend(group, shell);
  addReceive(group, shell);
}

/** A data directory without an account is no place to link in: this family registers. */
function withRegister(error: unknown): unknown {
  if (!isBotError(error, 'NOT_LINKED')) return error;
  return new BotError(error.code, error.message, { cause: error, next: NEXT_REGISTER });
}

function addDevices(group: Command, shell: Shell): void {
  const command = withAccount(group.command('devices').description("list the account's devices"));
  withExamples(command, 'account devices --server server.json --data ./phone').action(
    async (options: AccountOptions) => {
      const value = (await callAccount(shell, options, { call: 'devices' })) as {
        devices: readonly OwnDevice[];
      };
      const rows = value.devices.map(({ id, name, lastSeen }) => [
        String(id),
        name ?? (id === 1 ? '(primary)' : '-'),
        timeText(lastSeen ?? undefined),
      ]);
      shell.printer(options).print(value, () => columns(['ID', 'NAME', 'LAST SEEN'], rows, 'no devices'));
    },
  );
}

function addRemove(group: Command, shell: Shell): void {
  const command = withAccount(
    group
      .command('remove')
      .description('remove a linked device from the account')
      .argument('<id>', 'as account devices shows it', wholeNumber(2, 127)),
  );
  withExamples(command, 'account remove 2 --server server.json --data ./phone').action(
    async (id: number, options: AccountOptions) => {
      const value = await callAccount(shell, options, { call: 'remove device', deviceId: id });
      shell.printer(options).print(value, () => `device ${String(id)} is removed`);
    },
  );
}

function addAccountSend(group: Command, shell: Shell): void {
  const command = withAccount(
    group
      .command('send')
      .description('send a text, to try things out')
      .argument('<recipient>', 'ACI, PNI:uuid, self, or a number or name that exactly one contact has')
      .argument('<text>', 'the text')
      .option('--wait <seconds>', 'how long to wait until it is sent', wholeNumber(0, 86_400), 30),
  );
  withExamples(command, 'account send self "hello" --server server.json --data ./phone').action(
    async (recipient: string, text: string, options: AccountOptions & { wait: number }) => {
      const waitMs = options.wait * 1_000;
      const call: Call = { call: 'send', recipient, message: { kind: 'text', text }, waitMs };
      const result = (await callAccount(shell, options, call)) as SendResult;
      shell
        .printer(options)
        .print(result, () =>
          result.state === 'sent'
            ? `sent to ${result.recipient}, device ${result.devices.join(', ')} (${String(result.timestamp)})`
            : `queued for ${result.recipient} (${String(result.timestamp)})`,
        );
    },
  );
}
