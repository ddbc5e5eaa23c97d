/**
 * `trust …`: whose identity keys are held, how far they are trusted and why, and the operator's word on them.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { z } from 'zod';
import { BotError, describe } from '../errors.ts';
import type { TrustDetails, TrustLine } from '../trust/operator.ts';
import type { PolicySettings } from '../trust/policy.ts';
import { callAccount } from './account.ts';
import { columns, timeText } from './io.ts';
import { withData, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';
import type { PolicyAnswer } from './trust-calls.ts';

const ACI = '5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01';
const POLICIES = ['any', 'tofu', 'introduced', 'verified'];

type KeyOptions = AccountOptions & { readonly key?: string };
type PolicyOptions = AccountOptions & {
  readonly command?: string;
  readonly inbound?: 'any' | 'tofu' | 'introduced' | 'verified';
  readonly outbound?: 'any' | 'tofu' | 'introduced' | 'verified';
  readonly keyChange?: 'block' | 'follow';
  readonly remove?: boolean;
};

export function addTrust(program: Command, shell: Shell): void {
  const trust = program.command('trust').description("contacts' identity keys, and how far they are trusted");
  withExamples(trust, 'trust list --data ./data', 'trust accept +12125550100 --data ./data');
  addList(trust, shell);
  addShow(trust, shell);
  for (const command of KEY_COMMANDS) addKeyCommand(trust, shell, command);
  addPolicy(trust, shell);
  addImport(trust, shell);
}

function addList(trust: Command, shell: Shell): void {
  const command = withData(
    trust.command('list').description('whose keys are held, and how far they are trusted'),
  );
  withExamples(command, 'trust list --data ./data').action(async (options: AccountOptions) => {
    const found = (await callAccount(shell, options, { call: 'trust list' })) as { contacts: TrustLine[] };
    shell.printer(options).print(found, () => linesText(found.contacts));
  });
}

function addShow(trust: Command, shell: Shell): void {
  const command = withData(
    trust
      .command('show')
      .argument('<contact>', 'ACI, number or name')
      .description('what is known of one contact, why, and since when'),
  );
  withExamples(command, `trust show ${ACI} --data ./data`).action(
    async (contact: string, options: AccountOptions) => {
      const found = (await callAccount(shell, options, { call: 'trust show', contact })) as TrustDetails;
      shell.printer(options).print(found, () => detailsText(found));
    },
  );
}

/** Of what an operator says about the key of one contact. */
interface KeyCommand {
  readonly name: 'accept' | 'revoke';
  readonly description: string;
  readonly key: string;
  readonly done: (contact: TrustLine) => string;
}

const KEY_COMMANDS: readonly KeyCommand[] = [
  {
    name: 'accept',
    description: 'trust the new identity key of a contact; make sure that it is theirs before',
    key: 'this key, also where it was revoked; else the one that appeared',
    done: ({ aci, identityKey }) => `the new key of ${aci} is trusted: ${identityKey}`,
  },
  {
    name: 'revoke',
    description: 'a key of this contact is bad: send nothing under it, and drop what comes',
    key: 'another key than the one that is held',
    done: ({ aci, state }) => `noted; ${aci} is ${state}`,
  },
];

function addKeyCommand(trust: Command, shell: Shell, { name, description, key, done }: KeyCommand): void {
  const command = withData(
    trust
      .command(name)
      .argument('<contact>', 'ACI, number or name')
      .option('--key <base64>', key)
      .description(description),
  );
  withExamples(command, `trust ${name} ${ACI} --data ./data`).action(
    async (contact: string, options: KeyOptions) => {
      const call = { call: `trust ${name}` as const, contact, ...(options.key && { key: options.key }) };
      const now = (await callAccount(shell, options, call)) as TrustLine;
      shell.printer(options).print(now, () => done(now));
    },
  );
}

function addPolicy(trust: Command, shell: Shell): void {
  const command = withData(
    trust
      .command('policy')
      .argument('[plugin]', 'whose rule to set')
      .option('--command <name>', 'for one command of it')
      .addOption(new Option('--inbound <policy>', 'who may call').choices(POLICIES))
      .addOption(new Option('--outbound <policy>', 'who may be written to').choices(POLICIES))
      .addOption(
        new Option('--key-change <what>', 'when a key that was only seen is followed by another').choices([
          'block',
          'follow',
        ]),
      )
      .option('--remove', 'take the rule away again, all of the plugin or that of --command')
      .description('what is asked of contacts; shows it, or sets a rule that goes before all others'),
  );
  withExamples(
    command,
    'trust policy --data ./data',
    'trust policy echo --inbound verified --data ./data',
    'trust policy echo --remove --data ./data',
  ).action(async (plugin: string | undefined, options: PolicyOptions) => {
    const { command: name, inbound, outbound, keyChange, remove } = options;
    const rule = inbound ?? outbound;
    if (plugin === undefined && (rule ?? name ?? remove) !== undefined)
      throw new BotError('USAGE', 'a rule needs the name of its plugin');
    if (name !== undefined && (rule ?? remove) === undefined)
      throw new BotError('USAGE', 'what is asked of those who call it?', {
        next: 'Give --inbound, --outbound or --remove.',
      });
    if (remove === true && rule !== undefined)
      throw new BotError('USAGE', 'a rule is set or removed, not both');
    const call = {
      call: 'trust policy' as const,
      plugin,
      command: name,
      inbound,
      outbound,
      keyChange,
      remove,
    };
    const settings = (await callAccount(shell, options, call)) as PolicyAnswer;
    const printer = shell.printer(options);
    printer.print(settings, () => policyText(settings));
    if (settings.hint !== undefined) printer.note(settings.hint);
  });
}

const fileSchema = z.object({
  contacts: z
    .array(z.object({ aci: z.string(), identityKey: z.string(), state: z.string().optional() }))
    .max(10_000),
});

function addImport(trust: Command, shell: Shell): void {
  const command = withData(
    trust
      .command('import')
      .argument('<file>', 'JSON as of trust list, or a group: what me --json prints, a line for each contact')
      .description(
        'verify the contacts of a file that you vouch for; what it calls less than verified is left out',
      ),
  );
  withExamples(command, 'trust import contacts.json --data ./data').action(
    async (file: string, options: AccountOptions) => {
      const { contacts, fileHash } = await readImport(resolve(shell.io.cwd, file));
      const call = { call: 'trust import' as const, contacts, fileHash };
      const found = (await callAccount(shell, options, call)) as { contacts: TrustLine[] };
      shell.printer(options).print(found, () => linesText(found.contacts));
    },
  );
}

async function readImport(
  file: string,
): Promise<{ contacts: { aci: string; identityKey: string }[]; fileHash: string }> {
  try {
    const bytes = await readFile(file);
    const { contacts } = fileSchema.parse(parseImport(bytes.toString('utf8')));
    const verified = contacts.filter(({ state }) => state === undefined || state === 'verified');
    return {
      contacts: verified.map(({ aci, identityKey }) => ({ aci, identityKey })),
      fileHash: createHash('sha256').update(bytes).digest('hex'),
    };
  } catch (cause) {
    throw new BotError('CONTENT_INVALID', `the file cannot be imported: ${describe(cause)}`, {
      cause,
      next: 'It is what countersign trust list --json prints, or a line of countersign me --json for each contact.',
    });
  }
}

/** One value as of `trust list`, or a group file: one value of `me` on each line. */
function parseImport(text: string): unknown {
  const whole = text.trim(); // a mark of byte order as well
  const lines = whole
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.length > 1 && lines.every((line) => line.startsWith('{') && line.endsWith('}'))) {
    return { contacts: lines.map((line): unknown => JSON.parse(line)) };
  }
  const value = JSON.parse(whole) as { readonly contacts?: unknown };
  return value.contacts === undefined ? { contacts: [value] } : value;
}

function linesText(contacts: readonly TrustLine[]): string {
  return columns(
    ['CONTACT', 'STATE', 'SINCE', 'KEY'],
    contacts.map(({ aci, state, since, identityKey }) => [aci, state, timeText(since), identityKey || '-']),
    'no identity key is held yet',
  );
}

function detailsText(found: TrustDetails): string {
  const { aci, state, since, identityKey, candidate, revoked, pni, parked, held } = found;
  return [
    `contact      ${aci}`,
    `state        ${state}${state === 'changed' && found.wasVerified ? ' (was verified)' : ''}`,
    `since        ${timeText(since)}`,
    `key          ${identityKey || '-'}`,
    ...(candidate === null ? [] : [`other key    ${candidate}`]),
    ...revoked.map((key) => `revoked      ${key}`),
    ...(pni === null ? [] : [`pni          ${pni.pni}`]),
    `waiting      ${String(parked)} to be opened, ${String(held)} to be sent`,
    ...found.exposed.flatMap(exposureLines),
    ...found.evidence.map((item) => `evidence     ${timeText(item.at)} ${evidenceText(item)}`),
    ...found.history.map(
      ({ at, event, from, to }) => `history      ${timeText(at)} ${from} -> ${to}: ${event}`,
    ),
  ].join('\n');
}

/** Section 8, step 6. */
function exposureLines({ at, messages }: TrustDetails['exposed'][number]): string[] {
  const count = messages.length === 0 ? 'nothing that was still known' : String(messages.length);
  return [
    `exposed      ${timeText(at)} a false key was proven; read by someone else: ${count}`,
    ...messages.map(({ timestamp }) => `             ${timeText(timestamp)}`),
  ];
}

/**
 * Of a run, its digits (V-25); of an introduction, who vouches, since when and how long (V-38); what stands behind
 * that is in `introduce list`.
 */
function evidenceText(item: TrustDetails['evidence'][number]): string {
  if (item.kind === 'pake') return item.check === undefined ? 'pake' : `pake, both see ${item.check}`;
  if (item.kind !== 'introduction') return item.kind;
  const { introducer, verifiedAt, notAfter } = item;
  return `introduction by ${introducer}, who verified them on ${dayText(verifiedAt)}, until ${dayText(notAfter)}`;
}

function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function policyText({ keyChange, plugins }: PolicySettings): string {
  const rows = Object.entries(plugins).flatMap(([plugin, { inbound, outbound, commands = {} }]) => [
    [plugin, '-', inbound ?? '-', outbound ?? '-'],
    ...Object.entries(commands).map(([name, rule]) => [
      plugin,
      name,
      rule.inbound ?? '-',
      rule.outbound ?? '-',
    ]),
  ]);
  const rules = columns(
    ['PLUGIN', 'COMMAND', 'INBOUND', 'OUTBOUND'],
    rows,
    'no rule of yours; plugins have theirs',
  );
  return `a key that was only seen, followed by another: ${keyChange}\n${rules}`;
}
