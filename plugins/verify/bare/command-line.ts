/**
 * What was given to `verify bare`, checked as a whole before anything is opened.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BotError, type SubcommandCall } from '../../../src/index.ts';
import type { Profile, Suite } from '../messages/frame.ts';
import { wholeNumber } from '../whole-number.ts';
import { parseEndpoint, type Endpoint } from './links.ts';

export type LinkOption =
  | { readonly kind: 'listen'; readonly at: Endpoint }
  | { readonly kind: 'connect'; readonly at: Endpoint }
  | { readonly kind: 'stdio' };

export type CodeOption =
  | { readonly kind: 'create'; readonly format: 1 | 2 }
  | { readonly kind: 'file'; readonly text: string }
  | { readonly kind: 'stdin' }
  | { readonly kind: 'prompt' };

export interface BareCommand {
  readonly link: LinkOption;
  readonly code: CodeOption;
  readonly lifetimeMs: number;
  readonly suite: Suite;
  readonly profile: Profile;
  /** Who the other side is: ACI, number or name; undefined when nobody says. */
  readonly contact: string | undefined;
}

const DAY_S = 86_400;
const LIFETIME_S = 600;

/** @throws BotError `USAGE` */
export async function readCommandLine(call: SubcommandCall): Promise<BareCommand> {
  const link = linkOf(call);
  return {
    link,
    code: await codeOf(call, link),
    lifetimeMs: wholeNumber(call, 'lifetime', LIFETIME_S, [1, DAY_S]) * 1_000,
    suite: wholeNumber(call, 'suite', 1, [1, 2]) as Suite,
    profile: wholeNumber(call, 'profile', 2, [1, 2]) as Profile,
    contact: contactOf(call),
  };
}

function contactOf({ options: { contact }, dataFolder }: SubcommandCall): string | undefined {
  if (typeof contact !== 'string') return undefined;
  if (dataFolder === undefined) throw usage('contacts are kept in a data directory', 'Add --data.');
  return contact;
}

function linkOf({ options: { listen, connect, stdio } }: SubcommandCall): LinkOption {
  if ([listen, connect, stdio].filter((given) => given !== undefined).length !== 1) {
    throw usage('how is the other side reached?', 'Give one of --listen, --connect and --stdio.');
  }
  if (typeof listen === 'string') return { kind: 'listen', at: parseEndpoint(listen) };
  return typeof connect === 'string' ? { kind: 'connect', at: parseEndpoint(connect) } : { kind: 'stdio' };
}

async function codeOf(call: SubcommandCall, link: LinkOption): Promise<CodeOption> {
  const { create, words, codeFile, codeStdin } = call.options;
  if ([create, codeFile, codeStdin].filter((given) => given !== undefined).length > 1) {
    throw usage('there is one code', 'Give one of --create, --code-file and --code-stdin.');
  }
  if (words === true && create !== true)
    throw usage('--words is for a code that is made here', 'Add --create.');
  if (codeStdin === true && link.kind === 'stdio') {
    throw usage('stdin is the connection', 'Give the code with --code-file.');
  }
  if (create === true) return { kind: 'create', format: words === true ? 2 : 1 };
  if (typeof codeFile === 'string')
    return { kind: 'file', text: await readCode(resolve(call.cwd, codeFile)) };
  if (codeStdin === true) return { kind: 'stdin' };
  if (call.canPrompt && link.kind !== 'stdio') return { kind: 'prompt' };
  throw usage('which code?', 'Give --code-file, --code-stdin or --create.');
}

/** The first line. */
async function readCode(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).split(/\r?\n/, 1)[0] ?? '';
  } catch (cause) {
    throw new BotError('USAGE', `the code file ${file} cannot be read`, { cause });
  }
}

function usage(message: string, next: string): BotError {
  return new BotError('USAGE', message, { next });
}
