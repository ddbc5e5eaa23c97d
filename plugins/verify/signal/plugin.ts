/**
 * The plugin on Signal (mode 1): runs over app messages between linked bots.
 *
 * Frames become events of pure machines (`machine/`), each transition is one commit (`runs.ts`), and the operator acts
 * through the command line (`operator.ts`, `commands.ts`).
 * Spec: verification brief, sections 3.1 and 4 to 8.
 */
import { BotError, isAci, systemPlatform, type Aci, type Host, type Random } from '../../../src/index.ts';
import type { Env, Trusted } from '../machine/step.ts';
import { nodePrimitives } from '../math/node.ts';
import { LiveCodes } from './codes.ts';
import { handleFrames } from './frames.ts';
import { Operator } from './operator.ts';
import { Pace } from './pace.ts';
import { Runs, type Told } from './runs.ts';
import { statusOf, unlockOf } from './status.ts';

export interface VerifyOptions {
  /** Tests bring one whose scrypt is cheap. */
  readonly env?: Env;
  readonly random?: Random;
  /** Whether contacts who have verified us may vouch for us towards others (V-36). */
  readonly mayBeIntroduced?: boolean;
}

const ENV: Env = { primitives: nodePrimitives, maxProfile: 2 };

/** Registers all of it. */
export function setUpSignal(host: Host, options: VerifyOptions = {}): void {
  const { env = ENV, random = systemPlatform().random, mayBeIntroduced = false } = options;
  const codes = new LiveCodes();
  const runs = new Runs({ host, env, random, codes });
  const operator = new Operator({ host, runs, codes, env, random, mayBeIntroduced });
  handleFrames(host, runs);
  guardCodes(host, runs, codes);
  tellOperator(host, runs);
  host.act('start', (call) => operator.start(call));
  host.act('ring', (call) => operator.ring(call));
  host.act('enter', (call) => operator.enter(call));
  host.act('cancel', (call) => operator.cancel(call));
  host.act('status', (call) => statusOf(host, call));
  host.act('unlock', (call) => unlockOf(host, call));
  host.run((signal) => runs.watch(signal));
}

/**
 * What contacts can bring about as often as they like is told once a minute, and of those whom nobody knows so much in all;
 * what is there is there all the same.
 */
function tellOperator(host: Host, runs: Runs): void {
  const lines = new Pace();
  runs.listen((told) => {
    const line = lineOf(told);
    if (line === undefined) return;
    if (!isOnce(told)) {
      const now = host.clock.now();
      const { kind } = told.notice;
      // A run has come to its last word: somebody here has typed that code.
      const isKnown = told.isKnown || kind === 'done-invalid';
      const about = { name: `${kind} ${told.peer}`, isKnown };
      if (!lines.isDue(about, now)) return;
      lines.note(about, now);
    }
    host.notify(line);
  });
}

/** What comes once in a run that somebody here has begun or taken up. */
function isOnce({ notice }: Told): boolean {
  const { kind } = notice;
  return kind === 'success' || kind === 'unacknowledged' || (kind === 'ended' && notice.isOurs);
}

/** V-20: a code must not travel over the channel that it is there to check. */
function guardCodes(host: Host, runs: Runs, codes: LiveCodes): void {
  const cancel = (peers: readonly Aci[]): void => {
    for (const peer of peers) {
      runs
        .give(peer, () => ({ kind: 'cancel', isLeaked: true, now: host.clock.now() }))
        .catch((error: unknown) => {
          host.log.error({ contact: peer, error: String(error) }, 'a run could not be cancelled');
        });
    }
  };
  host.trust.guard(({ text }) => {
    const peers = codes.within(text);
    cancel(peers); // in a lane of its own: this is called in the recipient's
    return peers.length === 0 ? undefined : new BotError('CODE_IN_TEXT', 'the text has a code in it');
  });
  host.sync(({ content: { sync } }) => {
    if (sync.type !== 'sent' || sync.content.kind !== 'text') return;
    if (sync.destination !== undefined && !isAci(sync.destination)) return;
    cancel(codes.within(sync.content.text));
  });
}

/** What is told where the bot runs, whoever waits for it. */
function lineOf({ peer, notice }: Told): string | undefined {
  switch (notice.kind) {
    case 'rings':
      return `${peer} asks to verify; when the code is read to you by phone or in person: countersign verify enter ${peer}`;
    case 'success':
      return successLine(peer, notice.trusted);
    case 'ended':
      return `the verification with ${peer} has ended: ${notice.reason}`;
    case 'unsupported-offer':
      return `${peer} asks to verify in a way that this version does not know`;
    case 'unacknowledged':
      return `${peer} is verified, and has not said that it has verified this side`;
    case 'done-invalid':
      return `the last word of ${peer} was wrong: it is verified here, and may not have verified this side`;
    case 'step':
    case 'refused':
    case 'trusted':
    case 'glare':
    case 'nothing-rings':
    case 'own-account':
      return undefined;
  }
}

function successLine(peer: Aci, { found, check }: Trusted): string {
  const digits = check === undefined ? '' : `; both of you see ${check}`;
  if (found === undefined) return `${peer} is verified${digits}`;
  return found.kind === 'substituted'
    ? `IDENTITY_SUBSTITUTED: ${peer} is verified${digits}. Until now somebody between you and this contact had given a false key, and could read along. That is healed; what may have been read: countersign verify status ${peer}`
    : `IDENTITY_REPLACED: ${peer} is verified${digits}. The key that was known before was out of date, perhaps of an older phone; ask`;
}
