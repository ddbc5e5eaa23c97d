/**
 * Gathering: the parties meet at the topic, before there is a ceremony.
 *
 * Everyone says hello with a fresh nonce and the nonce last seen of the other. A nonce counts once it came together with
 * our own, so a hello of an earlier run, kept by the server, is never taken for one of now. Where all are needed, the
 * ceremony begins at each party when all others count. Where a quorum is enough, the first of those present (by index)
 * says who is there, its roster: at once when all are, else 30 s after enough were; the next ones take the turn when it stays
 * silent. A roster is believed as far as we have met those in it, and each party has one: who sends one that is wrong is
 * passed over, and where the ceremony of one comes to nothing, the parties go on under that of the next.
 */
import { EMPTY, equal, fromUtf8, type Bytes } from '../bytes.ts';
import { begin, beginAnew } from './advance.ts';
import { encodeFrame, type FrameOf } from './frame.ts';
import { ceremonyId, encodeProposal, NONCE_BYTES, type Present } from './proposal.ts';
import { abort, isPartial, liveOf, othersOf, quorumOf, send, type Draft, type Run } from './run.ts';

/** How long those who are there wait for the others, ms. */
export const GRACE_MS = 30_000;
/** Largest proposal that goes along with a greeting, bytes: a long message to be signed does not fit into one. */
const MAX_SHOWN = 32_768;
const NO_NONCE: Bytes = new Uint8Array(NONCE_BYTES);
const LED: Bytes = Uint8Array.of(1);

/** Says hello to a party. */
export function greet(draft: Draft, to: number, wantsAnswer: boolean): void {
  const { run } = draft;
  const echo = run.peers.get(to)?.nonce;
  const whole = echo === undefined ? encodeProposal(run.proposal) : EMPTY;
  // Who opens it has it anyway; only an invitation needs it.
  const proposal = whole.length > MAX_SHOWN ? EMPTY : whole;
  const { topic, nonce } = run;
  send(draft, to, { kind: 'hello', topic, nonce, echo: echo ?? NO_NONCE, wantsAnswer, proposal });
}

/** Says hello again to all who are not known to be there, or, with a quorum, may have said who is; not to who refuses. */
export function greetAgain(draft: Draft): void {
  for (const other of othersOf(draft.run)) {
    const isAsked = isPartial(draft) || draft.run.peers.get(other)?.isLive !== true;
    if (isAsked && !hasRefused(draft.run, other)) greet(draft, other, true);
  }
}

export function takeHello(draft: Draft, from: number, frame: FrameOf<'hello'>): void {
  const { run } = draft;
  const isRegrouping = run.phase === 'running' && isPartial(draft);
  if (run.phase !== 'gathering') answerLate(draft, from, frame);
  if (run.phase !== 'gathering' && !isRegrouping) return;
  if (equal(frame.nonce, run.nonce)) return; // our own, turned back
  const known = run.peers.get(from);
  const isLive = equal(frame.echo, run.nonce);
  if (isLive || known?.isLive !== true) run.peers.set(from, { nonce: frame.nonce, isLive });
  if (isLive) run.slots.delete(refusalSlot(from));
  if (frame.wantsAnswer) {
    const { isLive: isKnown = false } = run.peers.get(from) ?? {};
    const { topic, nonce } = run;
    send(draft, from, {
      kind: 'hello',
      topic,
      nonce,
      echo: frame.nonce,
      wantsAnswer: !isKnown,
      proposal: EMPTY,
    });
  }
  gather(draft);
}

/** Somebody has not heard yet that we have begun, or comes after our operator has ended it. */
function answerLate(draft: Draft, from: number, frame: FrameOf<'hello'>): void {
  const { run } = draft;
  const { topic, nonce, end } = run;
  const entry = run.present.find(({ index }) => index === from);
  if (!frame.wantsAnswer) return;
  if (entry === undefined || !equal(entry.nonce, frame.nonce)) {
    if (end?.isRefused === true)
      send(draft, from, { kind: 'abort', topic, id: frame.nonce, reason: end.reason, evidence: [] });
    return;
  }
  send(draft, from, { kind: 'hello', topic, nonce, echo: frame.nonce, wantsAnswer: false, proposal: EMPTY });
  const roster = run.slots.get('roster');
  if (roster !== undefined) send(draft, from, roster);
}

/** A party says, or has shown, that it will not take part. Where too few others are left that ends it, with its reason. */
export function takeRefusal(draft: Draft, from: number, reason: string): void {
  const { run, protocol } = draft;
  const peer = run.peers.get(from);
  if (peer !== undefined) run.peers.set(from, { ...peer, isLive: false });
  run.slots.set(refusalSlot(from), fromUtf8(reason));
  const left = run.proposal.signers.filter((index) => !hasRefused(run, index));
  if (left.length < quorumOf(protocol, run.proposal)) abort(draft, reason, { by: from, isFinal: true });
  else gather(draft);
}

/** Whether a party has said or shown so. */
export function hasRefused({ slots }: Pick<Run, 'slots'>, index: number): boolean {
  return slots.has(refusalSlot(index));
}

export function takeRoster(draft: Draft, from: number, { present }: FrameOf<'roster'>): void {
  const { run, protocol, now } = draft;
  const isRunning = run.phase === 'running';
  if ((run.phase !== 'gathering' && !isRunning) || !isPartial(draft)) return;
  const { signers } = run.proposal;
  const isRising = present.every(
    ({ index }, i) => index > (present[i - 1]?.index ?? 0) && signers.includes(index),
  );
  const live = liveOf(run);
  if (!isRising || !live.includes(from) || present.length < quorumOf(protocol, run.proposal)) return;
  const nonceIn = (index: number): Bytes | undefined => present.find((entry) => entry.index === index)?.nonce;
  if (isRunning && equal(ceremonyId(run.topic, present), run.id)) return;
  // When all have had their turn, one that lacks somebody is better than none: not all need have met the same.
  const isLast = !isRunning && run.quorumAt > 0 && now >= run.quorumAt + GRACE_MS * (live.length + 1);
  const isWrong = live.some((index) => {
    const nonce = nonceIn(index);
    if (nonce === undefined) return index === run.self || index === from || !isLast;
    return !equal(nonce, nonceOf(draft, index));
  });
  if (isWrong) {
    run.slots.set(ledSlot(from), LED);
    if (!isRunning) gather(draft);
    return;
  }
  const rank = ranked(draft).indexOf(from);
  const isTurn = rank >= 0 && ((rank === 0 && !isRunning) || now >= turnsFrom(draft) + GRACE_MS * rank);
  if (!isTurn && !isLast) return;
  run.slots.set(ledSlot(from), LED);
  if (isRunning) beginAnew(draft, present);
  else begin(draft, present);
}

/** Begins when all, or enough, are there; where it has come to nothing, begins anew when it is our turn. */
export function gather(draft: Draft): void {
  const { run, protocol, now } = draft;
  const isRunning = run.phase === 'running' && isPartial(draft);
  if (run.phase !== 'gathering' && !isRunning) return;
  const live = liveOf(run);
  const isFull = run.proposal.signers.every((index) => live.includes(index) || hasRefused(run, index));
  if (!isPartial(draft)) {
    if (isFull) begin(draft, presentOf(draft, live));
    return;
  }
  if (live.length < quorumOf(protocol, run.proposal)) {
    run.quorumAt = 0;
    return;
  }
  if (run.quorumAt === 0) run.quorumAt = now;
  if (run.slots.has('roster')) return;
  const rank = ranked(draft).indexOf(run.self);
  if (!(isFull && rank === 0 && !isRunning) && now < turnAt(draft)) return;
  const present = presentOf(draft, live);
  const frame = encodeFrame({ kind: 'roster', topic: run.topic, present });
  run.slots.set('roster', frame);
  for (const { index } of present) if (index !== run.self) send(draft, index, frame);
  if (!isRunning) begin(draft, present);
  else if (!equal(ceremonyId(run.topic, present), run.id)) beginAnew(draft, present);
}

/** When `gather` has something to do though nothing comes, ms. */
export function turnAt(draft: Draft): number {
  const { run, protocol } = draft;
  const isEnough = liveOf(run).length >= quorumOf(protocol, run.proposal);
  if (!isPartial(draft) || run.quorumAt === 0 || !isEnough || run.slots.has('roster')) return Infinity;
  return turnsFrom(draft) + GRACE_MS * (ranked(draft).indexOf(run.self) + 1);
}

/** When the first turn begins, ms; what is under way has its time before. */
function turnsFrom({ run }: Draft): number {
  return run.phase === 'running' ? run.deadlineAt - run.waitMs + GRACE_MS : run.quorumAt;
}

/** Those who are there and have not said yet who is, rising. */
function ranked({ run }: Draft): readonly number[] {
  return liveOf(run).filter((index) => !run.slots.has(ledSlot(index)));
}

function ledSlot(index: number): string {
  return `r/${String(index)}`;
}

function refusalSlot(index: number): string {
  return `x/${String(index)}`;
}

function nonceOf({ run }: Draft, index: number): Bytes {
  return index === run.self ? run.nonce : (run.peers.get(index)?.nonce ?? NO_NONCE);
}

function presentOf(draft: Draft, live: readonly number[]): readonly Present[] {
  return live.map((index) => ({ index, nonce: nonceOf(draft, index) }));
}
