/**
 * Ceremony: the machine of a run. Each function takes the run as it is committed and gives the one to be committed, with
 * what is to be sent in the same commit. Nothing here waits, writes or knows the network.
 *
 * A frame can come at any time, again, late, from an earlier run or turned back at us: what has no place is ignored, and
 * what has one already is compared with it.
 */
import { EMPTY, equal, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { advance } from './advance.ts';
import { decodeFrame, encodeFrame, signedBytes, type Frame, type FrameOf, type Signed } from './frame.ts';
import {
  gather,
  greet,
  greetAgain,
  hasRefused,
  takeHello,
  takeRefusal,
  takeRoster,
  turnAt,
} from './gathering.ts';
import { NONCE_BYTES, topicOf, type Proposal } from './proposal.ts';
import type { Protocol } from './protocol.ts';
import {
  abort,
  blame,
  canRegroup,
  changeOf,
  confirmSlot,
  draftOf,
  HELD,
  isOpen,
  isPartial,
  keyOf,
  MAX_BODY,
  noteAsked,
  othersOf,
  quorumOf,
  remaining,
  resultOf,
  roundOf,
  send,
  slotOf,
  startStage,
  type Draft,
  type Result,
  type Run,
  type Tools,
} from './run.ts';
import { waitingFor } from './waiting.ts';

export interface Opening {
  readonly proposal: Proposal;
  /** Our index. */
  readonly self: number;
  /** As the protocol's codec writes it. */
  readonly input: Uint8Array;
  /** How long the others are waited for, and then each round, ms. */
  readonly waitMs: number;
}

/**
 * Opens a ceremony and greets the others.
 * @throws BotError `USAGE` when the proposal is not one for this protocol; `PLUGIN_FAILED` when the protocol throws
 */
export function open(tools: Tools, opening: Opening, now: number): Result {
  const { proposal, self, waitMs } = opening;
  const wrong = faultOf(tools, opening);
  if (wrong !== undefined) throw new BotError('USAGE', wrong);
  const run: Run = {
    topic: topicOf(proposal),
    proposal,
    self,
    phase: 'gathering',
    waitMs,
    deadlineAt: 0,
    askAt: 0,
    asked: 0,
    quorumAt: 0,
    nonce: tools.random.bytes(NONCE_BYTES),
    peers: new Map(),
    present: [],
    id: EMPTY,
    round: 0,
    gone: [],
    blame: [],
    end: undefined,
    slots: new Map([['input', new Uint8Array(opening.input)]]),
  };
  const draft = draftOf(tools, run, now);
  startStage(draft);
  for (const other of othersOf(run)) greet(draft, other, true);
  gather(draft);
  return resultOf(draft);
}

/**
 * Takes a frame.
 * @param from index of who has sent it, as the session says
 */
export function take(tools: Tools, run: Run, from: number, frame: Frame, now: number): Result {
  const draft = draftOf(tools, run, now);
  if (from !== run.self && run.proposal.signers.includes(from) && frame.topic === run.topic) {
    if ((frame.kind === 'message' || frame.kind === 'confirm') && isEarly(draft, frame.id))
      keepEarly(draft, from, frame);
    else takeFrame(draft, from, frame);
    if (!equal(draft.run.id, run.id)) takeEarly(draft);
  }
  return resultOf(draft);
}

/** Time has passed: a deadline, a party that must be asked again, or our turn to begin. */
export function tick(tools: Tools, run: Run, now: number): Result {
  const draft = draftOf(tools, run, now);
  if (isOpen(run.phase)) {
    if (now >= run.deadlineAt) abort(draft, overdue(run));
    else gather(draft);
    if (now >= run.askAt && draft.run.phase === run.phase) askAgain(draft);
    if (!equal(draft.run.id, run.id)) takeEarly(draft);
  }
  return resultOf(draft);
}

/** A party waits elsewhere: unless it has come here too it is not waited for. @returns undefined when nothing changes */
export function passOver(
  tools: Tools,
  run: Run,
  index: number,
  reason: string,
  now: number,
): Result | undefined {
  if (run.phase !== 'gathering' || run.peers.has(index) || hasRefused(run, index)) return undefined;
  const draft = draftOf(tools, run, now);
  takeRefusal(draft, index, reason);
  return resultOf(draft);
}

/**
 * Whom the deadline has passed for; where it has not begun, those who never came, and not who has given up a moment before.
 * It accuses nobody: what they sent may have been lost.
 */
function overdue(run: Run): string {
  const missing = waitingFor(run);
  const absent = run.phase === 'gathering' ? missing.filter((index) => !run.peers.has(index)) : [];
  const late = absent.length > 0 ? absent : missing;
  if (late.length === 0) return 'the time is over';
  const [shown, more] = [late.slice(0, 10).join(', '), late.length > 10 ? ' and more' : ''];
  return `the time is over; nothing came from ${late.length === 1 ? 'party' : 'parties'} ${shown}${more}`;
}

/**
 * The operator, or what looks after a store, ends it. What has ended stays as it is. Nothing of the protocol is needed.
 * @param reason told to the others; 200 bytes of it
 * @param isRefused of `End`
 */
export function end(run: Run, reason: string, now: number, isRefused?: boolean): Result {
  const change = changeOf(run, now);
  if (isOpen(run.phase)) abort(change, reason, { isFinal: true, isRefused });
  return resultOf(change);
}

/** ms: when `tick` has something to do; once the run has ended, when it can be forgotten. */
export function wakeAt(tools: Tools, run: Run): number {
  if (run.phase === 'done' || run.phase === 'aborted') return run.deadlineAt;
  const turn = turnAt(draftOf(tools, run, 0));
  return Math.min(run.deadlineAt, run.askAt, turn);
}

function faultOf({ protocol }: Tools, { proposal, self, input, waitMs }: Opening): string | undefined {
  const { parties, signers } = proposal;
  if (proposal.protocol !== protocol.name || proposal.version !== protocol.version)
    return `this is not a proposal for ${protocol.name} ${String(protocol.version)}`;
  if (!signers.includes(self)) return 'we are not among those who take part';
  if (!(waitMs > 0)) return 'there must be a time to wait';
  const wrong = asked(protocol, 'could not check what is proposed', () =>
    protocol.check?.(protocol.params.decode(proposal.params), { parties, signers }),
  );
  if (wrong !== undefined) return wrong;
  const need = asked(protocol, 'could not say how many are needed', () => quorumOf(protocol, proposal));
  if (need < 1 || need > signers.length) return `at least ${String(need)} parties are needed`;
  asked(protocol, 'does not take this input', () => protocol.input.decode(new Uint8Array(input)));
  return undefined;
}

/** What it throws can tell of the input, which may be secret: it is the cause, and no part of the message. */
function asked<T>({ name }: Protocol, failed: string, answer: () => T): T {
  try {
    return answer();
  } catch (cause) {
    throw new BotError('PLUGIN_FAILED', `the protocol ${name} ${failed}`, { cause });
  }
}

function takeFrame(draft: Draft, from: number, frame: Frame): void {
  switch (frame.kind) {
    case 'hello':
      takeHello(draft, from, frame);
      break;
    case 'roster':
      takeRoster(draft, from, frame);
      break;
    case 'abort':
      takeAbort(draft, from, frame);
      break;
    case 'message':
    case 'confirm':
    case 'ask':
      if (draft.run.phase === 'gathering') break;
      if (!equal(frame.id, draft.run.id)) takeForeign(draft, from, frame.id);
      else if (draft.run.phase === 'aborted') sendSlot(draft, from, 'abort');
      else if (frame.kind === 'message') takeMessage(draft, from, frame);
      else if (frame.kind === 'confirm') takeConfirm(draft, from, frame);
      else takeAsk(draft, from, frame);
  }
}

/** Whether it can be of a ceremony that we come to yet. */
function isEarly(draft: Draft, id: Bytes): boolean {
  const { run } = draft;
  if (run.phase === 'running' && isPartial(draft)) return !equal(id, run.id);
  return run.phase === 'gathering';
}

/** Of a ceremony that we are not in. Where a quorum is enough its sender may be misled: it hears who we say is there. */
function takeForeign(draft: Draft, from: number, id: Bytes): void {
  const { run } = draft;
  const isTold = run.slots.has('roster') && run.phase !== 'aborted' && isPartial(draft);
  if (isTold) sendSlot(draft, from, 'roster');
  else if (run.phase !== 'running' || !isPartial(draft)) refuse(draft, from, id);
}

/** A ceremony that we are not in, such as the one before our restart: who waits there learns that it is in vain. */
function refuse(draft: Draft, to: number, id: Bytes): void {
  const { topic } = draft.run;
  send(draft, to, { kind: 'abort', topic, id, reason: 'this ceremony is not known here', evidence: [] });
}

function takeMessage(draft: Draft, from: number, frame: FrameOf<'message'>): void {
  const { run } = draft;
  if (!isPlausible(draft, from, frame)) return;
  const key = slotOf(frame.round, from, frame.recipient);
  const known = run.slots.get(key);
  if (known !== undefined) {
    const first = decodeFrame(known) as FrameOf<'message'>;
    // A private one names its sender too, but cannot be shown without giving it away.
    if (frame.recipient === 0 && !equal(first.body, frame.body)) convict(draft, from, [first, frame]);
    return;
  }
  if (run.phase !== 'running' || frame.round < run.round) return;
  run.slots.set(key, encodeFrame(frame));
  advance(draft);
}

function isPlausible(draft: Draft, from: number, frame: Signed): boolean {
  const { run, protocol } = draft;
  const { round, sender, recipient, body } = frame;
  const spec = roundOf(protocol, round);
  if (spec === undefined || sender !== from || body.length > (spec.maxBytes ?? MAX_BODY)) return false;
  const isMeant = recipient === 0 ? spec.broadcast === true : recipient === run.self && spec.private === true;
  if (!isMeant || !run.present.some(({ index }) => index === from)) return false;
  return isSigned(draft, frame);
}

function isSigned({ run, verify }: Draft, signed: Signed): boolean {
  return verify(keyOf(run.proposal.parties, signed.sender), signedBytes(signed), signed.signature);
}

function takeConfirm(draft: Draft, from: number, frame: FrameOf<'confirm'>): void {
  const { run, protocol } = draft;
  const key = confirmSlot(frame.round, from);
  const isDue = frame.round >= run.round && roundOf(protocol, frame.round) !== undefined;
  if (run.phase !== 'running' || isPartial(draft) || !isDue || run.slots.has(key)) return;
  if (frame.seen.length !== run.present.length) return;
  run.slots.set(key, encodeFrame(frame));
  advance(draft);
}

/** Sends what this party has not had of a round, as it was sent before. */
function takeAsk(draft: Draft, from: number, { round }: FrameOf<'ask'>): void {
  const { self } = draft.run;
  for (const key of [slotOf(round, self, 0), slotOf(round, self, from), confirmSlot(round, self)])
    sendSlot(draft, from, key);
}

function sendSlot(draft: Draft, to: number, key: string): void {
  const frame = draft.run.slots.get(key);
  if (frame !== undefined) send(draft, to, frame);
}

function takeAbort(draft: Draft, from: number, frame: FrameOf<'abort'>): void {
  const { run, protocol } = draft;
  if (run.phase === 'gathering') {
    takeLeaving(draft, from, frame);
    return;
  }
  if (!equal(frame.id, run.id) && !isNonceOf(run, from, frame.id)) return;
  const proof = proofIn(draft, frame.evidence);
  if (proof !== undefined) convict(draft, proof[0].sender, proof);
  if (run.phase !== 'running') return;
  // It has its output, or will; so must we.
  if (run.slots.has(HELD) && run.slots.has(confirmSlot(run.round, from))) return;
  if (isPartial(draft)) {
    run.gone = [...new Set([...run.gone, from])];
    const peer = run.peers.get(from);
    if (peer !== undefined) run.peers.set(from, { ...peer, isLive: false });
    const isEnough = remaining(run).length >= quorumOf(protocol, run.proposal);
    if (isEnough) advance(draft);
    else if (!canRegroup(draft)) abort(draft, frame.reason, { by: from });
  } else abort(draft, frame.reason, { by: from, tells: false });
}

/** Who ends it for all before it knows that it has begun: as a backup of before has it. */
function isNonceOf({ present }: Run, from: number, id: Bytes): boolean {
  return present.some(({ index, nonce }) => index === from && equal(nonce, id));
}

/**
 * Somebody leaves before we have begun. It ends the ceremony for us too where everyone is needed and its operator said so
 * after it had met us: an abort of an earlier attempt, kept by the server, bears another nonce or comes before they met.
 */
function takeLeaving(draft: Draft, from: number, { id, reason }: FrameOf<'abort'>): void {
  const { run } = draft;
  if (equal(id, run.nonce)) {
    takeRefusal(draft, from, reason);
    return;
  }
  const peer = run.peers.get(from);
  const isFinal = peer !== undefined && equal(id, peer.nonce);
  if (isFinal && peer.isLive && !isPartial(draft)) abort(draft, reason, { by: from, tells: false });
  else if (peer !== undefined && (isFinal || id.every((byte) => byte === 0)))
    run.peers.set(from, { ...peer, isLive: false });
  gather(draft);
}

/** Two broadcasts of one place with different bodies: both shown, or one shown and the other here. */
function proofIn(draft: Draft, evidence: readonly Signed[]): readonly [Signed, Signed] | undefined {
  const { run } = draft;
  const [a, b = a && ownCopy(draft, a)] = evidence;
  if (a === undefined || b === undefined) return undefined;
  const isOneSlot = a.round === b.round && a.sender === b.sender && a.recipient === 0 && b.recipient === 0;
  const isHere = equal(a.id, run.id) && equal(b.id, run.id);
  if (!isOneSlot || !isHere || equal(a.body, b.body)) return undefined;
  return isSigned(draft, a) && isSigned(draft, b) ? [a, b] : undefined;
}

function ownCopy({ run }: Draft, { round, sender }: Signed): Signed | undefined {
  const frame = run.slots.get(slotOf(round, sender, 0));
  return frame === undefined ? undefined : (decodeFrame(frame) as FrameOf<'message'>);
}

/** Somebody told two tales: everyone gets both, so that everyone knows who. */
function convict(draft: Draft, party: number, evidence: readonly Signed[]): void {
  const { run } = draft;
  if (run.blame.some((known) => known.party === party)) return;
  blame(draft, [{ party, reason: 'it has signed two different messages for one round' }]);
  if (run.phase === 'done') return;
  if (isPartial(draft)) advance(draft);
  else abort(draft, `party ${String(party)} told two tales`, { by: party, evidence });
}

function askAgain(draft: Draft): void {
  const { run } = draft;
  noteAsked(draft);
  if (run.phase === 'gathering') greetAgain(draft);
  else
    for (const other of waitingFor(run))
      send(draft, other, { kind: 'ask', topic: run.topic, id: run.id, round: run.round });
}

/** Others may have begun before us: what they sent is kept, one of each, until we have an id to compare. */
function keepEarly(draft: Draft, from: number, frame: FrameOf<'message'> | FrameOf<'confirm'>): void {
  const place = frame.kind === 'message' ? (frame.recipient === 0 ? 'all' : 'own') : 'confirm';
  const spec = roundOf(draft.protocol, frame.round);
  if (spec === undefined || (frame.kind === 'message' && frame.body.length > (spec.maxBytes ?? MAX_BODY)))
    return;
  // What it has not signed must not stand in the way of what it has.
  if (frame.kind === 'message' && (frame.sender !== from || !isSigned(draft, frame))) return;
  draft.run.slots.set(`e/${String(from)}/${String(frame.round)}/${place}`, encodeFrame(frame));
}

function takeEarly(draft: Draft): void {
  const { run } = draft;
  if (run.phase === 'gathering') return;
  for (const [key, bytes] of [...run.slots].filter(([name]) => name.startsWith('e/'))) {
    run.slots.delete(key);
    const frame = decodeFrame(bytes);
    if ('id' in frame && equal(frame.id, run.id)) takeFrame(draft, Number(key.split('/')[1]), frame);
  }
}
