/**
 * `trust`: whose identity keys are held, and taking over a new one.
 */
import type { Command } from 'commander';
import type { TrustLine } from '../inspect.ts';
import { callAccount } from './account.ts';
import { columns, timeText } from './io.ts';
import { withData, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';

export function addTrust(program: Command, shell: Shell): void {
  const trust = program.command('trust').description("contacts' identity keys");
  withExamples(trust, 'trust list --data ./data', 'trust accept +15550100 --data ./data');
  addList(trust, shell);
  addAccept(trust, shell);
}

function addList(trust: Command, shell: Shell): void {
  const command = withData(
    trust.command('list').description('whose keys are held, and how far they are trusted'),
  );
  withExamples(command, 'trust list --data ./data').action(async (options: AccountOptions) => {
    const found = (await callAccount(shell, options, { call: 'trust list' })) as { contacts: TrustLine[] };
    shell.printer(options).print(found, () =>
      columns(
        ['CONTACT', 'STATE', 'SINCE', 'KEY'],
        found.contacts.map(({ aci, state, since, identityKey }) => [
          aci,
          state,
          timeText(since),
          identityKey,
        ]),
        'no identity key is held yet',
      ),
    );
  });
}

function addAccept(trust: Command, shell: Shell): void {
  const command = withData(
    trust
      .command('accept')
      .argument('<contact>', 'ACI, number or name')
      .description('trust the new identity key of a contact; make sure that it is theirs before'),
  );
  withExamples(command, 'trust accept 5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01 --data ./data').action(
    async (contact: string, options: AccountOptions) => {
      const taken = (await callAccount(shell, options, { call: 'trust accept', contact })) as TrustLine;
      shell
        .printer(options)
        .print(taken, () => `the new key of ${taken.aci} is trusted: ${taken.identityKey}`);
    },
  );
}
