/**
 * `rounds list | show | abort`: the ceremonies of round-based protocols that this device takes part in.
 */
import type { Command } from 'commander';
import type { CeremonyDetails, CeremonyLine } from '../rounds/operator.ts';
import { callAccount } from './account.ts';
import { columns, oneLine, timeText } from './io.ts';
import { withAccount, withData, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';

/** As people see an id; so much of it is enough for `show` and `abort`. */
const ID_SHOWN = 12;
const ID = 'an id of rounds list, or how it begins';

export function addRounds(program: Command, shell: Shell): void {
  const rounds = program
    .command('rounds')
    .description('ceremonies with other bots: keys that are made, messages that are signed');
  withExamples(
    rounds,
    'rounds list --data ./data',
    'rounds abort 3fa9c1 --reason "wrong amount" --data ./data',
  );
  addList(rounds, shell);
  addShow(rounds, shell);
  addAbort(rounds, shell);
}

function addList(rounds: Command, shell: Shell): void {
  const command = withData(
    rounds.command('list').description('those that are open, and those that ended within the last day'),
  );
  withExamples(command, 'rounds list --data ./data', 'rounds list --data ./data --json').action(
    async (options: AccountOptions) => {
      const found = (await callAccount(shell, options, { call: 'rounds list' })) as {
        ceremonies: CeremonyLine[];
      };
      shell.printer(options).print(found, () =>
        columns(
          ['ID', 'PROTOCOL', 'STATE', 'ROUND', 'WAITING FOR', 'UNTIL'],
          found.ceremonies.map((line) => [
            line.id.slice(0, ID_SHOWN),
            line.protocol,
            line.state,
            String(line.round),
            waitedText(line),
            timeText(line.deadlineAt),
          ]),
          'no ceremonies',
        ),
      );
    },
  );
}

function addShow(rounds: Command, shell: Shell): void {
  const command = withData(
    rounds.command('show').argument('<id>', ID).description('one ceremony: its parties, how far it has come'),
  );
  withExamples(command, 'rounds show 3fa9c1 --data ./data').action(
    async (id: string, options: AccountOptions) => {
      const found = (await callAccount(shell, options, { call: 'rounds show', id })) as CeremonyDetails;
      shell.printer(options).print(found, () => detailsText(found));
    },
  );
}

function addAbort(rounds: Command, shell: Shell): void {
  const command = withAccount(
    rounds
      .command('abort')
      .argument('<id>', ID)
      .option('--reason <text>', 'what the other parties are told', 'the operator has ended it')
      .description('end a ceremony, and tell the other parties why'),
  );
  withExamples(
    command,
    'rounds abort 3fa9c1 --data ./data --server server.json',
    'rounds abort 3fa9c1 --reason "wrong amount" --data ./data --server server.json',
  ).action(async (id: string, options: AccountOptions & { readonly reason: string }) => {
    const call = { call: 'rounds abort' as const, id, reason: options.reason };
    const ended = (await callAccount(shell, options, call)) as CeremonyDetails;
    shell.printer(options).print(ended, () => `ended: ${ended.id}`);
  });
}

function waitedText({ waitingFor }: CeremonyLine): string {
  return waitingFor.map(({ index, aci }) => `${String(index)} (${aci})`).join(', ') || '-';
}

function detailsText(found: CeremonyDetails): string {
  const { id, ceremonyId, protocol, plugin, state, round, deadlineAt, parties, self, blame, end } = found;
  const marks = ({ index, isSigner }: CeremonyDetails['parties'][number]): string =>
    `${index === self ? ', ourselves' : ''}${isSigner ? '' : ', does not take part'}`;
  return [
    `id           ${id}`,
    `ceremony id  ${ceremonyId ?? '-'}`,
    `protocol     ${protocol} of the plugin ${plugin}`,
    `state        ${state}${found.isHeld ? ', has its result; the others have not all confirmed' : ''}`,
    `round        ${String(round)}`,
    `waiting for  ${waitedText(found)}`,
    `until        ${timeText(deadlineAt)}`,
    ...parties.map((party) => {
      const { index, aci, deviceId } = party;
      return `party ${String(index).padEnd(6)} ${aci}, device ${String(deviceId)}${marks(party)}`;
    }),
    `message      ${found.message || '-'}`,
    ...blame.map(({ party, reason }) => `blame        party ${String(party)} ${oneLine(reason)}`),
    ...(end === null
      ? []
      : [`ended        ${timeText(end.at)} by party ${String(end.by)}: ${oneLine(end.reason)}`]),
    ...(found.output === null ? [] : [`output       ${found.output}`]),
  ].join('\n');
}
