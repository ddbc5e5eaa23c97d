/**
 * `countersign verify bare`: two programs verify each other over a connection of their own, then exchange lines of text.
 */
import {
  BotError,
  isAci,
  isBotError,
  offlineHost,
  passingHost,
  resolveRecipient,
  type Aci,
  type Host,
  type Store,
  type Subcommand,
  type SubcommandCall,
} from '../../../src/index.ts';
import { chat } from './chat.ts';
import { readCommandLine, type BareCommand } from './command-line.ts';
import { Lines } from './lines.ts';
import { occasionalSide } from './node.ts';
import { reach, type Waiting } from './reach.ts';
import type { ReadCode } from './run.ts';
import { passingSide, storedSide } from './stored.ts';
import { showFound, Told } from './told.ts';
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
    '--contact <contact>':
      'with --data: who the other side is. Nobody else is taken, and the contact is verified; if unsaid, nothing is kept',
    '--profile <number>': '1: keys only, for a page at the other end (2: a ratchet session)',
  },
  shares: 'data',
  examples: [
    'verify bare --listen 4000 --create',
    'verify bare --connect example.org:4000 --code-file code.txt --json',
    'verify bare --connect example.org:4000 --data ./data --contact 5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01',
  ],
  run: verifyBareCommand,
};

/** Whose state the guesses are, and what is asked of the store. */
const PLUGIN = { name: 'verify', version: '1.0.0', permissions: ['identities'] } as const;

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
    const contact = await contactOf(host, store, command);
    const side =
      contact === undefined
        ? passingSide(host, await passingHost(store, call.platform, PLUGIN), random)
        : storedSide(host, contact, random);
    await verifyAs(call, command, side, contact);
  } finally {
    await store.close();
  }
}

/** @throws BotError `RECIPIENT_UNKNOWN`, `USAGE` */
async function contactOf(host: Host, store: Store, { contact }: BareCommand): Promise<Aci | undefined> {
  const named = contact === undefined ? undefined : await resolveRecipient(store, contact);
  if (named === undefined || (isAci(named) && named !== host.trust.own.aci)) return named;
  throw new BotError('USAGE', 'a contact is another account: give its ACI, number or name');
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

async function verifyAs(
  call: SubcommandCall,
  command: BareCommand,
  side: Side,
  contact?: Aci,
): Promise<void> {
  const { clock, random } = call.platform;
  const { link, code, lifetimeMs } = command;
  const isMade = code.kind === 'create';
  // The way is open before a code is told: it would be of no use without one.
  const way = await reach(call, link, { speaksFirst: isMade, takesOffers: !isMade || call.canPrompt });
  const made = isMade ? createCode(code.format, random) : undefined;
  const told = new Told(call, link, contact);
  if (made !== undefined) told.code(made.spoken);
  if (way.waiting !== undefined) told.listening(way.waiting.port);
  const over = new AbortController();
  const expired = way.waiting && made && expiryOf(way.waiting, clock.sleep(lifetimeMs, over.signal));
  const lines = link.kind === 'stdio' ? undefined : new Lines(call.stdin);
  try {
    // Whoever was given a code waits for as long as it takes, and has nothing to say before.
    if (made === undefined) await way.waiting?.candidates.found(call.signal);
    const peer = await verifyOver(way.duplex, side, {
      ...codeOption(call, command, lines, made),
      ...{ side: sideOf(command), suite: command.suite, profile: command.profile, lifetimeMs },
      onNotice: (notice) => {
        told.notice(notice);
      },
      signal: expired === undefined ? call.signal : AbortSignal.any([call.signal, expired]),
    });
    told.verified(peer);
    if (!peer.isAcknowledged) return;
    const onText = (text: string): void => {
      told.message(text);
    };
    await chat({ peer, lines, onText, clock, signal: call.signal });
  } finally {
    over.abort();
    await way.duplex.close();
  }
}

/** Ends a run whose code has run out before anybody has answered: there is no queue that an answer could be in. */
function expiryOf({ candidates }: Waiting, lifetime: Promise<void>): AbortSignal {
  const expired = new AbortController();
  lifetime.then(
    () => {
      if (candidates.isFound) return;
      expired.abort(new BotError('CODE_EXPIRED', 'nobody has answered while the code was good'));
    },
    () => undefined,
  );
  return expired.signal;
}

function sideOf({ link }: BareCommand): NonNullable<VerifyOptions['side']> {
  if (link.kind === 'stdio') return 'neither';
  return link.kind === 'connect' ? 'dials' : 'listens';
}

function codeOption(
  call: SubcommandCall,
  { code }: BareCommand,
  lines: Lines | undefined,
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
