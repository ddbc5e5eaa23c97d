/**
 * `countersign verify bare`: two programs verify each other over a connection of their own, then exchange lines of text.
 */
import {
  BotError,
  isBotError,
  offlineHost,
  type Store,
  type Subcommand,
  type SubcommandCall,
  type TrustEvent,
} from '../../../src/index.ts';
import type { Notice } from '../machine/step.ts';
import { chat } from './chat.ts';
import { readCommandLine, type BareCommand } from './command-line.ts';
import type { Duplex } from './duplex.ts';
import { Lines } from './lines.ts';
import { accept, connect } from './links.ts';
import { occasionalSide } from './node.ts';
import type { BarePeer } from './peer.ts';
import type { ReadCode } from './run.ts';
import { storedSide } from './stored.ts';
import { overSocket, overStdio } from './streams.ts';
import { createCode, verifyOver, type Created, type Side, type VerifyOptions } from './verify.ts';

export const bare: Subcommand = {
  name: 'verify bare',
  description: 'verify another program over a connection of its own, then send it the lines of stdin',
  options: {
    '--listen <address>': 'wait for the other side: [HOST:]PORT, on loopback if unsaid; 0 is any free port',
    '--connect <address>': 'the other side listens there: HOST:PORT',
    '--stdio': 'the connection is stdin and stdout; events go to stderr',
    '--create': 'make a code here, to be read out to the other person',
    '--words': 'with --create: three words in place of digits',
    '--code-file <file>': 'the code is the first line of this file',
    '--code-stdin': 'the code is the first line of stdin',
    '--lifetime <seconds>': 'how long the code lives (600; at most a day)',
    '--suite <number>': '2: symmetric SPAKE2 on Ed25519; both sides have to say so',
    '--contact <aci>': 'who the other side is: nobody else is taken, and a key known before may be replaced',
    '--profile <number>': '1: keys only, for a page at the other end (2: a ratchet session)',
  },
  shares: 'data',
  examples: [
    'verify bare --listen 4000 --create',
    'verify bare --connect example.org:4000 --code-file code.txt --json',
  ],
  run: verifyBareCommand,
};

/** Whose state the guesses are, and what is asked of the store. */
const PLUGIN = { name: 'verify', version: '1.0.0', permissions: ['identities'] } as const;

interface Opened {
  readonly duplex: Duplex;
  /** What is sent afterwards; undefined where stdin is the connection. */
  readonly lines: Lines | undefined;
}

async function verifyBareCommand(call: SubcommandCall): Promise<void> {
  const command = await readCommandLine(call);
  const { clock, random } = call.platform;
  if (call.dataFolder === undefined) {
    await verifyAs(call, command, occasionalSide(clock, random));
    return;
  }
  const store = await openStore(call);
  try {
    const host = await offlineHost(store, call.platform, PLUGIN);
    host.trust.onEvent((event) => {
      showFound(call, event);
    });
    await verifyAs(call, command, storedSide(host, random, undefined, command.contact));
  } finally {
    await store.close();
  }
}

/** @throws BotError `STORE_LOCKED` and those of `SubcommandCall.openStore` */
async function openStore(call: SubcommandCall): Promise<Store> {
  try {
    return await call.openStore();
  } catch (cause) {
    if (!isBotError(cause, 'STORE_LOCKED')) throw cause;
    // The run writes to the store at every step, and its texts too: it cannot share it with a bot.
    const next =
      'Stop the bot for as long as this takes, or leave --data away: then an identity is made for the occasion.';
    throw new BotError('STORE_LOCKED', 'a bot uses this data directory', { cause, next });
  }
}

async function verifyAs(call: SubcommandCall, command: BareCommand, side: Side): Promise<void> {
  const { clock, random } = call.platform;
  const made = command.code.kind === 'create' ? createCode(command.code.format, random) : undefined;
  const until = clock.now() + command.lifetimeMs;
  const write = command.link.kind === 'stdio' ? call.takeStdout() : undefined;
  if (made !== undefined) {
    const { spoken } = made;
    call.print({ event: 'code', code: spoken }, () => `Read this out, by phone or in person: ${spoken}`);
  }
  const opened: Opened = write
    ? { duplex: overStdio(call.stdin, write), lines: undefined }
    : { duplex: await reach(call, command, made && until), lines: new Lines(call.stdin) };
  const lifetimeMs = made === undefined ? command.lifetimeMs : Math.max(1, until - clock.now());
  const peer = await verifyOver(opened.duplex, side, {
    ...codeOption(call, command, opened, made),
    ...{ side: sideOf(command), suite: command.suite, profile: command.profile, lifetimeMs },
    onNotice: (notice) => {
      const text = noteOf(notice);
      if (text !== undefined) call.note(text);
    },
    signal: call.signal,
  });
  show(call, peer);
  if (!peer.isAcknowledged) return;
  const onText = (text: string): void => {
    call.print({ event: 'message', text }, () => text.replaceAll('\n', '\\n'));
  };
  await chat({ peer, lines: opened.lines, onText, clock, signal: call.signal });
}

/** @param until ms, when the code that was made runs out; undefined when there is none */
async function reach(
  call: SubcommandCall,
  { link }: BareCommand,
  until: number | undefined,
): Promise<Duplex> {
  const { platform, signal } = call;
  const { clock } = platform;
  if (link.kind === 'connect') return overSocket(await connect(link.at, signal), clock);
  if (link.kind === 'stdio') throw new BotError('INTERNAL', 'a pipe is there already');
  const over = new AbortController();
  const onListening = (port: number): void => {
    call.print({ event: 'listening', port }, () => `listening on port ${String(port)}`);
  };
  const expired = new AbortController();
  const waiting = until === undefined ? undefined : clock.sleep(until - clock.now(), over.signal);
  waiting?.then(
    () => {
      expired.abort(new BotError('CODE_EXPIRED', 'nobody has connected while the code was good'));
    },
    () => undefined,
  );
  try {
    return overSocket(await accept(link.at, onListening, AbortSignal.any([signal, expired.signal])), clock);
  } finally {
    over.abort();
  }
}

function sideOf({ link }: BareCommand): NonNullable<VerifyOptions['side']> {
  if (link.kind === 'stdio') return 'neither';
  return link.kind === 'connect' ? 'dials' : 'listens';
}

function codeOption(
  call: SubcommandCall,
  { code }: BareCommand,
  { lines }: Opened,
  made: Created | undefined,
): Pick<VerifyOptions, 'create' | 'code' | 'canAskAgain'> {
  if (code.kind === 'file') return { code: code.text };
  const read = lines && readerOf(call, lines);
  if (made === undefined) {
    if (read === undefined) throw new BotError('INTERNAL', 'there is no code');
    return code.kind === 'prompt' ? { code: read } : { code: read, canAskAgain: false };
  }
  return call.canPrompt && read ? { create: made, code: read } : { create: made };
}

/** Asks on stderr where a person sits there. */
function readerOf(call: SubcommandCall, lines: Lines): ReadCode {
  return async (again) => {
    if (call.canPrompt) {
      call.note(
        again ? 'That can be no code; nothing was spent. The code:' : 'The code, as you were told it:',
      );
    }
    const line = await lines.take();
    if (line === undefined) throw new BotError('CODE_MISTYPED', 'no code was given');
    return line;
  };
}

function show(call: SubcommandCall, { aci, identityKey, check, isAcknowledged }: BarePeer): void {
  const peerIdentityKey = Buffer.from(identityKey).toString('base64');
  const acknowledged = isAcknowledged;
  const event = { event: 'verified', aci, peerIdentityKey, check: check ?? null, acknowledged };
  call.print(event, () => {
    const digits = check === undefined ? '' : `\nBoth sides see ${check}; compare it if you like.`;
    const name = call.dataFolder === undefined ? '' : `\nIt is kept as the contact ${aci}.`;
    return `verified: the other side's identity key is ${peerIdentityKey}${name}${digits}`;
  });
  if (!isAcknowledged) call.note('The other side has gone before it said that it has verified this one.');
}

/** Mode 2 has no service to ask: a key that was known before is out of date, for all that can be said. */
function showFound(call: SubcommandCall, event: TrustEvent): void {
  if (event.kind !== 'replaced' && event.kind !== 'substituted') return;
  const [identityKey, falseKey] = [event.key, event.falseKey].map((key) =>
    Buffer.from(key).toString('base64'),
  );
  const { kind, aci, at } = event;
  call.print({ event: kind, code: 'IDENTITY_REPLACED', aci, identityKey, falseKey, at }, () => {
    return `IDENTITY_REPLACED: another key was known of ${aci} before, and is replaced. Ask the contact about a new phone.`;
  });
}

function noteOf(notice: Notice): string | undefined {
  if (notice.kind === 'rings') return 'the other side asks to verify';
  if (notice.kind === 'glare' && notice.use === 'theirs')
    return "Both have made a code: the other side's counts.";
  if (notice.kind === 'glare') return 'Both have made a code: yours counts.';
  if (notice.kind !== 'step') return undefined;
  return `step ${String(notice.step)} of 4${notice.waitingFor === 'nobody' ? '' : `, waiting for ${WAITING[notice.waitingFor]}`}`;
}

const WAITING = {
  'own-operator': 'your code',
  'peer-operator': "the other person's code",
  'peer-bot': 'the other program',
} as const;
