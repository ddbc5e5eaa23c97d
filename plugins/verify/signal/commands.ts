/**
 * `countersign verify start | enter | status | cancel | unlock`: through the bot that runs with this plugin. Without
 * one, the two that need the other side go online for it, the rest looks into the rows of the data directory.
 *
 * What prompts say is V-25's and V-26's: the code goes by phone or in person, is typed on one device, and the digits at
 * the end may be compared.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BotError, isBotError, type Subcommand, type SubcommandCall } from '../../../src/index.ts';
import { wholeNumber } from '../whole-number.ts';
import type { Verified } from './follow.ts';
import type { Rings } from './operator.ts';
import type { VerifyStatus } from './status.ts';

const CONTACT = { '<contact>': 'ACI, number or name' };
const CODE_OPTIONS = {
  '--code-file <file>': 'the code is the first line of this file',
  '--code-stdin': 'the code is the first line of stdin',
};
const ACI = '5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01';
const MAX_PROMPTS = 5;
const LIFETIME_S = 600;
const DAY_S = 86_400;

type Told = Readonly<Record<string, unknown>>;

export const signalCommands: readonly Subcommand[] = [
  {
    name: 'verify start',
    description:
      'make a code, to be read out to the contact by phone or in person, and verify when it is typed there',
    arguments: CONTACT,
    options: {
      '--words': 'three words in place of digits',
      ...CODE_OPTIONS,
      '--lifetime <seconds>': 'how long the code lives (600; at most a day)',
      '--profile <number>': '1: keys only, without a new session (2)',
    },
    shares: 'account',
    examples: [`verify start ${ACI} --data ./data --server server.json`],
    run: start,
  },
  {
    name: 'verify enter',
    description: 'type the code that the contact has read out',
    arguments: CONTACT,
    options: { ...CODE_OPTIONS, '--fresh': 'open a new session in any case' },
    shares: 'account',
    examples: [`verify enter ${ACI} --data ./data --server server.json`],
    run: enter,
  },
  {
    name: 'verify status',
    description: 'verifications under way, and guesses',
    arguments: { '[contact]': CONTACT['<contact>'] },
    shares: 'data',
    examples: ['verify status --data ./data'],
    run: status,
  },
  {
    name: 'verify cancel',
    description: 'end a verification that is under way',
    arguments: { '[contact]': 'ACI, number or name; all if absent' },
    shares: 'data',
    examples: [`verify cancel ${ACI} --data ./data`],
    run: cancel,
  },
  {
    name: 'verify unlock',
    description: 'take codes of a contact again, after too many were wrong',
    arguments: { '[contact]': CONTACT['<contact>'] },
    options: { '--bare': 'of verify bare, whose guesses are counted together' },
    shares: 'data',
    examples: [`verify unlock ${ACI} --data ./data`],
    run: unlock,
  },
];

async function start(call: SubcommandCall): Promise<void> {
  const { options } = call;
  const code = await givenCode(call);
  const input = {
    format: options['words'] === true ? 2 : 1,
    ...(code === undefined ? {} : { code }),
    lifetimeMs: wholeNumber(call, 'lifetime', LIFETIME_S, [1, DAY_S]) * 1_000,
    profile: wholeNumber(call, 'profile', 2, [1, 2]),
  };
  if (code !== undefined && options['words'] === true)
    throw new BotError('USAGE', '--words makes a code, and one is given');
  await follow(call, 'start', input);
}

/** Shows how a run goes, to its end. It goes on without the command that waits for it. */
async function follow(call: SubcommandCall, name: 'start' | 'enter', input: Told): Promise<void> {
  const [contact] = call.arguments;
  try {
    const done = await call.act(name, { contact, input }, (event) => {
      show(call, event as Told);
    });
    finish(call, done as Verified);
  } catch (error) {
    if (!isBotError(error, 'INTERRUPTED')) throw error;
    const next =
      'What was begun may go on, or be through: countersign verify status tells. A new start takes the place of it.';
    throw new BotError('INTERRUPTED', error.message, { cause: error, next });
  }
}

async function enter(call: SubcommandCall): Promise<void> {
  const contact = call.arguments[0];
  const given = await givenCode(call);
  const fresh = call.options['fresh'] === true;
  const type = async (code: string): Promise<void> => {
    await follow(call, 'enter', { code, fresh });
  };
  if (given !== undefined) {
    await type(given);
    return;
  }
  if (!call.canPrompt)
    throw new BotError('USAGE', 'which code?', { next: 'Give --code-file FILE or --code-stdin.' });
  const rings = (await call.act('ring', { contact })) as Rings;
  call.note(
    `${rings.name === null ? rings.aci : `${rings.name} (${rings.aci})`} asks to verify. Type the code that you are told by phone or in person, on this device only.\n` +
      'Never type a code that came as a text.',
  );
  for (let prompts = 1; ; prompts++) {
    try {
      await type(
        await prompt(call, prompts === 1 ? 'Code: ' : 'That can be no code; nothing was spent. Code: '),
      );
      return;
    } catch (error) {
      if (!isBotError(error, 'CODE_MISTYPED') || prompts === MAX_PROMPTS) throw error;
    }
  }
}

async function status(call: SubcommandCall): Promise<void> {
  const found = (await call.act('status', { contact: call.arguments[0], offline: true })) as VerifyStatus;
  call.print(found, () => statusText(found));
}

async function cancel(call: SubcommandCall): Promise<void> {
  const { cancelled } = (await call.act('cancel', { contact: call.arguments[0], offline: true })) as {
    cancelled: string[];
  };
  call.print({ cancelled }, () =>
    cancelled.length === 0 ? 'nothing is under way' : `ended: ${cancelled.join(', ')}`,
  );
}

async function unlock(call: SubcommandCall): Promise<void> {
  const [contact] = call.arguments;
  const bare = call.options['bare'] === true;
  if (bare === (contact !== undefined))
    throw new BotError('USAGE', 'whose codes are to be taken again?', { next: 'Give a contact, or --bare.' });
  const { unlocked } = (await call.act('unlock', { contact, input: { bare }, offline: true })) as {
    unlocked: string;
  };
  call.print({ unlocked }, () => `codes of ${unlocked} are taken again`);
}

function show(call: SubcommandCall, event: Told): void {
  call.print(event, () => textOf(event));
}

function textOf(event: Told): string | undefined {
  switch (event['event']) {
    case 'code':
      return `Read this out, by phone or in person, and never send it: ${String(event['code'])}`;
    case 'step': {
      const waiting = WAITING[String(event['waitingFor'])];
      return `step ${String(event['step'])} of 4${waiting === undefined ? '' : `, waiting for ${waiting}`}`;
    }
    case 'refused':
      return `Device ${String(event['device'])} of the contact does not take the code: ${REFUSED[String(event['reason'])] ?? 'it has given up'}. Others may.`;
    case 'glare':
      return event['use'] === 'own'
        ? 'Both have made a code: yours counts.'
        : "Both have made a code: the other person's counts.";
    case 'substituted':
      return (
        'IDENTITY_SUBSTITUTED: somebody between you and this contact had given a false key, and relayed what you wrote. ' +
        `It is proven and healed. Read by someone else: ${exposedText(event['exposed'])}`
      );
    case 'replaced':
      return 'IDENTITY_REPLACED: the key that was known before was out of date, and is replaced. Ask the contact about a new phone.';
    default:
      return undefined;
  }
}

const REFUSED: Readonly<Record<string, string>> = {
  unsupported: 'its version cannot verify in this way',
  busy: 'too many codes were wrong there',
  expired: 'by its clock the code has run out',
};

const WAITING: Readonly<Record<string, string>> = {
  'own-operator': 'your code',
  'peer-operator': 'the other person to type the code',
  'peer-bot': "the other person's bot",
};

function exposedText(exposed: unknown): string {
  const messages = Array.isArray(exposed) ? (exposed as { timestamp: number }[]) : [];
  if (messages.length === 0) return 'nothing that is still known here';
  return messages.map(({ timestamp }) => new Date(timestamp).toISOString()).join(', ');
}

function finish(call: SubcommandCall, done: Verified): void {
  call.print(done, () => {
    const digits =
      done.check === null
        ? ''
        : `\nBoth of you see ${done.check}; read it out if you like. If it differs: countersign trust revoke ${done.aci}`;
    return `verified: ${done.aci} has the key ${done.identityKey}${digits}`;
  });
  if (!done.acknowledged)
    call.note(
      'The other side has not said yet that it has verified this one; that comes when its bot is back.',
    );
}

function statusText({ runs, exposed, guesses }: VerifyStatus): string {
  const lines = [
    ...runs.map(({ aci, state, reason, until, check }) => {
      const more =
        reason ?? (until === null ? '' : `${UNTIL[state] ?? 'until'} ${new Date(until).toISOString()}`);
      const digits = check === null ? '' : `  both see ${check}`;
      return `${aci}  ${state}${more === '' ? '' : `  ${more}`}${digits}`;
    }),
    ...exposed.map(({ aci, at, messages }) => {
      const when = new Date(at).toISOString();
      return `${aci}  a false key was proven ${when}; read by someone else: ${exposedText(messages)}`;
    }),
    ...guesses.map(({ aci, times, locked, lockedUntil }) => {
      const until =
        lockedUntil === null ? 'until verify unlock' : `until ${new Date(lockedUntil).toISOString()}`;
      return `${aci}  ${String(times.length)} wrong${locked ? `, locked ${until}` : ''}`;
    }),
  ];
  return lines.length === 0 ? 'nothing is under way' : lines.join('\n');
}

/** Trust has no end of its own: what ends is what is kept of the run. */
const UNTIL: Readonly<Record<string, string>> = {
  verified: 'answers repeated frames until',
  accepted: "waits for the other side's last word until",
  finished: 'kept until',
};

/** @returns undefined when the person is to be asked, or a code to be made */
async function givenCode(call: SubcommandCall): Promise<string | undefined> {
  const file = call.options['codeFile'];
  const fromStdin = call.options['codeStdin'] === true;
  if (file !== undefined && fromStdin) throw new BotError('USAGE', 'the code is given in two ways');
  if (typeof file === 'string') return firstLine(await readCodeFile(resolve(call.cwd, file)));
  return fromStdin ? typedCode(call) : undefined;
}

async function readCodeFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new BotError('USAGE', `the code file ${file} cannot be read`, { cause });
  }
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? '';
}

async function prompt(call: SubcommandCall, question: string): Promise<string> {
  call.note(question);
  return typedCode(call);
}

/** @throws BotError `CODE_MISTYPED` where nothing was typed */
async function typedCode(call: SubcommandCall): Promise<string> {
  const line = await call.readLine();
  if (line === undefined) throw new BotError('CODE_MISTYPED', 'no code was given');
  return line;
}
