/**
 * `me`, `status`, `devices`, `contacts`, `outbox`: looking at an account.
 */
import type { Command } from 'commander';
import { NOTHING_LINKED, type ContactLine, type Me, type OutboxLine, type Status } from '../inspect.ts';
import { isBotError } from '../errors.ts';
import { callAccount } from './account.ts';
import { columns, oneLine, timeText } from './io.ts';
import { withAccount, withData, withExamples, type AccountOptions } from './options.ts';
import type { OwnDevice } from './own-devices.ts';
import type { Shell } from './shell.ts';

export function addLookCommands(program: Command, shell: Shell): void {
  addMe(program, shell);
  addStatus(program, shell);
  addDevices(program, shell);
  addContacts(program, shell);
  addOutbox(program, shell);
}

function addMe(program: Command, shell: Shell): void {
  const command = withData(program.command('me').description('who this linked device is'));
  withExamples(command, 'me --data ./data', 'me --data ./data --json').action(
    async (options: AccountOptions) => {
      const found = (await callAccount(shell, options, { call: 'me' })) as Me;
      shell.printer(options).print(found, () =>
        Object.entries(found)
          .map(([name, value]) => `${name.padEnd(15)} ${value === null ? '-' : oneLine(String(value))}`)
          .join('\n'),
      );
    },
  );
}

function addStatus(program: Command, shell: Shell): void {
  const command = withData(program.command('status').description('what is linked, connected and waiting'));
  withExamples(
    command.option('--check', 'exit with 1 unless a bot runs here and is online'),
    'status --data ./data',
    'status --data ./data --check',
  ).action(async (options: AccountOptions & { check?: boolean }) => {
    const found = await statusOf(shell, options);
    shell.printer(options).print(found, () => statusText(found));
    if (options.check === true && found.connection !== 'online') shell.exitCode = 1;
  });
}

/** A data directory without a store is a plain "not linked", not a failure. */
async function statusOf(shell: Shell, options: AccountOptions): Promise<Status> {
  try {
    return (await callAccount(shell, options, { call: 'status' })) as Status;
  } catch (error) {
    if (isBotError(error, 'NOT_LINKED')) return NOTHING_LINKED;
    throw error;
  }
}

function statusText(found: Status): string {
  const { aci, pni } = found.prekeys;
  return [
    `linked       ${found.linked ? 'yes' : 'no'}`,
    `connection   ${found.connection}`,
    `inbox        ${String(found.inbox)}`,
    `outbox       ${String(found.outbox)}`,
    `dead         ${String(found.dead)}`,
    `quarantine   ${String(found.quarantine)}`,
    `prekeys      aci ${String(aci.ec)} EC, ${String(aci.kyber)} Kyber; pni ${String(pni.ec)} EC, ${String(pni.kyber)} Kyber`,
    `plugins      ${found.plugins.length === 0 ? '-' : found.plugins.join(', ')}`,
    ...(found.dropped?.untagged ? [`untagged     ${String(found.dropped.untagged)} dropped unopened`] : []),
  ].join('\n');
}

function addDevices(program: Command, shell: Shell): void {
  const command = withAccount(
    program.command('devices').description('the devices of the account, asked of the server'),
  );
  withExamples(command, 'devices --server server.json --data ./data').action(
    async (options: AccountOptions) => {
      const found = (await callAccount(shell, options, { call: 'devices' })) as { devices: OwnDevice[] };
      shell.printer(options).print(found, () =>
        columns(
          ['DEVICE', 'NAME', 'LAST SEEN'],
          found.devices.map(({ id, name, lastSeen }) => [
            String(id),
            name ?? '-',
            timeText(lastSeen ?? undefined),
          ]),
          'no devices',
        ),
      );
    },
  );
}

function addContacts(program: Command, shell: Shell): void {
  const command = withData(program.command('contacts').description('everyone this device knows of'));
  withExamples(command, 'contacts --data ./data').action(async (options: AccountOptions) => {
    const found = (await callAccount(shell, options, { call: 'contacts' })) as { contacts: ContactLine[] };
    shell.printer(options).print(found, () =>
      columns(
        ['ACI', 'NUMBER', 'NAME', 'TRUST'],
        found.contacts.map(({ aci, number, name, trust }) => [aci, number ?? '-', name ?? '-', trust]),
        'no contacts yet',
      ),
    );
  });
}

function addOutbox(program: Command, shell: Shell): void {
  const command = withData(program.command('outbox').description('what is still to be sent'));
  withExamples(command, 'outbox --data ./data').action(async (options: AccountOptions) => {
    const found = (await callAccount(shell, options, { call: 'outbox' })) as { rows: OutboxLine[] };
    shell.printer(options).print(found, () =>
      columns(
        ['RECIPIENT', 'WRITTEN', 'KIND', 'STATE', 'ATTEMPTS', 'NEXT TRY', 'ERROR'],
        found.rows.map((row) => [
          row.recipient,
          timeText(row.timestamp),
          row.kind,
          row.state,
          String(row.attempts),
          timeText(row.retryAt),
          row.error ?? '-',
        ]),
        'nothing waits to be sent',
      ),
    );
  });
}
