/**
 * `countersign introduce SUBJECT --to CONTACT`, `introduce list`, `introduce revoke ID`: through the bot that runs with this
 * plugin, or by going online for it; the list is in the rows of the data directory.
 */
import { BotError, type Subcommand, type SubcommandCall } from '../../../src/index.ts';
import type { GivenLine, GotLine, Introductions } from './listing.ts';

const BOB = '5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01';
const CAROL = '8c0d4f7e-52a1-4a86-8f0b-6a7f3c9d1e02';

export const introduceCommands: readonly Subcommand[] = [
  {
    name: 'introduce',
    description:
      'vouch for a verified contact towards others whom you have verified: their bots can write to each other without a run',
    arguments: { '<subject>': 'whom you vouch for: ACI, number or name' },
    options: {
      '--to <contact...>': 'who is told; may be given more than once',
      '--days <number>': 'how long it holds, 1 to 90 (30)',
      '--agreed': 'the subject has told you that they agree; where a run has asked them, that counts instead',
      '--unsigned': 'believed only from you directly, and no proof towards others that you know the subject',
    },
    shares: 'account',
    examples: [
      `introduce ${BOB} --to ${CAROL} --data ./data --server server.json`,
      'introduce +15550100 --to +15550101 --to +15550102 --days 60 --data ./data --server server.json',
    ],
    run: introduce,
  },
  {
    name: 'introduce list',
    description: 'introductions that you have got and given, and what counts',
    shares: 'data',
    examples: ['introduce list --data ./data'],
    run: list,
  },
  {
    name: 'introduce revoke',
    description: 'take an introduction of yours back',
    arguments: { '<id>': 'of introduce list' },
    shares: 'account',
    examples: ['introduce revoke 6f3b1c0a9d2e4f58b7a6c5d4e3f20110 --data ./data --server server.json'],
    run: revoke,
  },
];

async function introduce(call: SubcommandCall): Promise<void> {
  const { options, lists } = call;
  const contacts = lists['to'] ?? [];
  if (contacts.length === 0)
    throw new BotError('USAGE', 'to whom?', { next: 'Give --to CONTACT, once for each.' });
  const input = {
    ...(options['days'] === undefined ? {} : { days: Number(options['days']) }),
    agreed: options['agreed'] === true,
    unsigned: options['unsigned'] === true,
  };
  const given = await call.act('introduce', { contact: call.arguments[0], contacts, input });
  const { introductions } = given as { introductions: GivenLine[] };
  call.print(given, () => introductions.map(givenText).join('\n'));
}

async function list(call: SubcommandCall): Promise<void> {
  const found = (await call.act('introductions', { offline: true })) as Introductions;
  call.print(found, () => {
    const lines = [...found.received.map(gotText), ...found.issued.map(givenText)];
    return lines.length === 0 ? 'no introductions yet' : lines.join('\n');
  });
}

async function revoke(call: SubcommandCall): Promise<void> {
  const line = (await call.act('unintroduce', { input: { id: call.arguments[0] } })) as GivenLine;
  call.print(line, () => givenText(line));
}

function gotText({ id, state, chain, notAfter }: GotLine): string {
  return `${id}  ${state}  ${chain}, until ${dayOf(notAfter)}`;
}

function givenText({ id, state, subject, to, notAfter }: GivenLine): string {
  return `${id}  ${state}  ${subject}, introduced by you to ${to.join(', ')}, until ${dayOf(notAfter)}`;
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
