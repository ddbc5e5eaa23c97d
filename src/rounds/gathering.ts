/**
 * Gathering: the parties meet at the topic, before there is a ceremony.
 *
 * Everyone says hello with a fresh nonce and the nonce last seen of the other. A nonce counts once it came together with
 * our own, so a hello of an earlier run, kept by the server, is never taken for one of now. Where all are needed, the
 * ceremony begins at each party when all others count. Where a quorum is enough, the first of those present (by index)
 * says who is there: at once when all are, else 30 s after enough were; the next ones take the turn when it stays silent.
 */
import { EMPTY, equal, type Bytes } from '../bytes.ts';
import { begin } from './advance.ts';
import { encodeFrame, type FrameOf } from './frame.ts';
import { encodeProposal, NONCE_BYTES, type Present } from './proposal.ts';
import { isPartial, othersOf, quorumOf, send, type Draft } from './run.ts';

/** How long those who are there wait for the others, ms. */
export const GRACE_MS = 30_000;
/** Largest proposal that goes along with a greeting, bytes: a long message to be signed does not fit into one. */
const MAX_SHOWN = 32_768;
const NO_NONCE: Bytes = new Uint8Array(NONCE_BYTES);

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

/** Says hello again to all who are not known to be there, or, with a quorum, may have said who is. */
export function greetAgain(draft: Draft): void {
  for (const other of othersOf(draft.run)) {
    if (isPartial(draft) || draft.run.peers.get(other)?.isLive !== true) greet(draft, other, true);
  }
}

export function takeHello(draft: Draft, from: number, frame: FrameOf<'hello'>): void {
  const { run } = draft;
  if (run.phase !== 'gathering') {
    answerLate(draft, from, frame);
    return;
  }
  if (equal(frame.nonce, run.nonce)) return; // our own, turned back
  const known = run.peers.get(from);
  const isLive = equal(frame.echo, run.nonce);
  if (isLive || known?.isLive !== true) run.peers.set(from, { nonce: frame.nonce, isLive });
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

/** Somebody has not heard yet that we have begun. */
function answerLate(draft: Draft, from: number, frame: FrameOf<'hello'>): void {
  const { run } = draft;
  const entry = run.present.find(({ index }) => index === from);
  if (!frame.wantsAnswer || entry === undefined || !equal(entry.nonce, frame.nonce)) return;
  const { topic, nonce } = run;
  send(draft, from, { kind: 'hello', topic, nonce, echo: frame.nonce, wantsAnswer: false, proposal: EMPTY });
  const roster = run.slots.get('roster');
  if (roster !== undefined) send(draft, from, roster);
}

export function takeRoster(draft: Draft, from: number, { present }: FrameOf<'roster'>): void {
  const { run, protocol, now } = draft;
  if (run.phase !== 'gathering' || !isPartial(draft)) return;
  const rank = liveOf(draft).indexOf(from);
  const isTurn = rank === 0 || (run.quorumAt > 0 && now >= run.quorumAt + GRACE_MS * rank);
  const has = (index: number, nonce: Bytes | undefined): boolean =>
    present.some((entry) => entry.index === index && nonce !== undefined && equal(entry.nonce, nonce));
  const isRising = present.every(
    ({ index }, i) => index > (present[i - 1]?.index ?? 0) && run.proposal.signers.includes(index),
  );
  const isMine = has(run.self, run.nonce) && has(from, run.peers.get(from)?.nonce);
  if (rank < 0 || !isTurn || !isRising || !isMine || present.length < quorumOf(protocol, run.proposal))
    return;
  begin(draft, present);
}

/** Begins when all, or enough, are there. */
export function gather(draft: Draft): void {
  const { run, protocol, now } = draft;
  if (run.phase !== 'gathering') return;
  const live = liveOf(draft);
  const isFull = live.length === run.proposal.signers.length;
  if (!isPartial(draft)) {
    if (isFull) begin(draft, presentOf(draft, live));
    return;
  }
  if (live.length < quorumOf(protocol, run.proposal)) return;
  if (run.quorumAt === 0) run.quorumAt = now;
  const rank = live.indexOf(run.self);
  if (!(isFull && rank === 0) && now < run.quorumAt + GRACE_MS * (rank + 1)) return;
  const present = presentOf(draft, live);
  const frame = encodeFrame({ kind: 'roster', topic: run.topic, present });
  run.slots.set('roster', frame);
  for (const { index } of present) if (index !== run.self) send(draft, index, frame);
  begin(draft, present);
}

/** When `gather` has something to do though nothing comes, ms. */
export function turnAt(draft: Draft): number {
  const { quorumAt, self } = draft.run;
  return quorumAt === 0 ? Infinity : quorumAt + GRACE_MS * (liveOf(draft).indexOf(self) + 1);
}

/** Ourselves and those who are there, rising. */
function liveOf({ run }: Draft): readonly number[] {
  return run.proposal.signers.filter((index) => index === run.self || run.peers.get(index)?.isLive === true);
}

function presentOf({ run }: Draft, live: readonly number[]): readonly Present[] {
  return live.map((index) => ({
    index,
    nonce: index === run.self ? run.nonce : (run.peers.get(index)?.nonce ?? NO_NONCE),
  }));
}
