/**
 * Run: one ceremony as one party has it.
 *
 *   gathering --all have answered with a fresh nonce--> running (round 1 to r) --output--> done
 *   gathering, running --deadline, operator, a party that aborts or is caught--> aborted
 *
 * All of it is in `slots` but for a small head: the protocol's state, and every message sent or received under the name of
 * its place, so that a place is filled once and what was sent from it is sent again as it was.
 *
 *   input             until the ceremony begins          state         the protocol's, until the end
 *   m/ROUND/FROM/TO   a message, TO 0 = all              c/ROUND/FROM  what FROM confirms to have seen
 *   e/…               of a ceremony that has not begun   abort, roster what is sent again to who asks
 *   r/INDEX           that party has said who is there (gathering.ts)
 *   x/INDEX           why that party will not take part (gathering.ts)
 *   w/…               of the runtime: private messages on their way (journal.ts)
 *   held              the output, until all have confirmed the last round (`Protocol.isHeld`)
 */
import { EMPTY, type Bytes } from '../bytes.ts';
import type { Random } from '../platform.ts';
import { encodeFrame, shortReason, type Frame, type FrameOf } from './frame.ts';
import type { PartySet } from './party-set.ts';
import type { Present, Proposal } from './proposal.ts';
import type { Blame, Protocol, Round } from './protocol.ts';

export type Phase = 'gathering' | 'running' | 'done' | 'aborted';

export interface Peer {
  /** The nonce that was seen last. */
  readonly nonce: Bytes;
  /** It has answered to our nonce, so its own is of now. */
  readonly isLive: boolean;
}

export interface End {
  readonly reason: string;
  /** Who has ended it; ourselves, where nobody else has. */
  readonly by: number;
  /** ms */
  readonly at: number;
  /** Our operator wants none of it: what others propose under this topic is left alone as long as the run is kept. */
  readonly isRefused?: boolean;
}

export interface Run {
  /** 32 bytes, hex. */
  readonly topic: string;
  readonly proposal: Proposal;
  /** Our index. */
  readonly self: number;
  readonly phase: Phase;
  /** How long each stage may take, ms. */
  readonly waitMs: number;
  /** ms: of the stage in hand; once it has ended, when the run is purged. */
  readonly deadlineAt: number;
  /** ms: when the others are asked again for what is missing. */
  readonly askAt: number;
  /** How often they were, in this stage. */
  readonly asked: number;
  /** ms: since when enough parties are there; 0 = not yet, or all are needed. */
  readonly quorumAt: number;
  readonly nonce: Bytes;
  readonly peers: ReadonlyMap<number, Peer>;
  /** Empty while gathering. */
  readonly present: readonly Present[];
  /** 32 bytes; empty while gathering. */
  readonly id: Bytes;
  /** 0 while gathering. */
  readonly round: number;
  /** Indices of those who have left, or sent what cannot be used. */
  readonly gone: readonly number[];
  readonly blame: readonly Blame[];
  readonly end: End | undefined;
  readonly slots: ReadonlyMap<string, Bytes>;
}

/** What the machine needs beside the run. */
export interface Tools {
  readonly protocol: Protocol;
  readonly random: Random;
  /** Signs under our identity key and the label of this API. */
  readonly sign: (bytes: Bytes) => Bytes;
  readonly verify: (identityKey: Bytes, bytes: Bytes, signature: Bytes) => boolean;
}

export interface Sending {
  readonly to: number;
  readonly payload: Bytes;
}

/** A change of a run, until it is committed: a copy of the run that may be changed, and what it sends. */
export interface Change {
  run: { -readonly [K in keyof Run]: Run[K] } & { peers: Map<number, Peer>; slots: Map<string, Bytes> };
  readonly now: number;
  readonly sent: Sending[];
  output: { readonly value: unknown } | undefined;
  held: { readonly value: unknown } | undefined;
  fault: { readonly error: unknown } | undefined;
}

/** One that the protocol makes. */
export interface Draft extends Tools, Change {}

/** What a step leads to: to be committed together. */
export interface Result {
  readonly run: Run;
  readonly send: readonly Sending[];
  /** The protocol's output, once. */
  readonly output: { readonly value: unknown } | undefined;
  /** The same ahead of its time, once: all messages are here, and not all have confirmed (`Protocol.isHeld`). */
  readonly held: { readonly value: unknown } | undefined;
  /** What the protocol threw, which has ended the run; it can tell of secrets. */
  readonly fault: { readonly error: unknown } | undefined;
}

/** Largest body where a round says nothing. */
export const MAX_BODY = 24_576;
/** First wait before the others are asked again, ms; doubled each time, up to the other. */
const ASK_MS = 10_000;
const ASK_MAX_MS = 60_000;
/** How long a run that has ended answers those who are late, ms. */
const KEEP_MS = 24 * 3_600_000;
/** Slot of an output that is held until all have confirmed. */
export const HELD = 'held';

export function changeOf(run: Run, now: number): Change {
  const copied = { ...run, peers: new Map(run.peers), slots: new Map(run.slots) };
  return { run: copied, now, sent: [], output: undefined, held: undefined, fault: undefined };
}

export function draftOf(tools: Tools, run: Run, now: number): Draft {
  return { ...tools, ...changeOf(run, now) };
}

export function resultOf({ run, sent, output, held, fault }: Change): Result {
  return { run, send: sent, output, held, fault };
}

export function isOpen(phase: Phase): boolean {
  return phase === 'gathering' || phase === 'running';
}

/** Whether a step has led anywhere: it was filled in, ended, or somebody was found out. Each comes a few times at most. */
export function hasMoved(before: Run, after: Run): boolean {
  return (
    after.phase !== before.phase ||
    after.round !== before.round ||
    after.slots.size !== before.slots.size ||
    after.gone.length !== before.gone.length ||
    after.blame.length !== before.blame.length
  );
}

export function slotOf(round: number, sender: number, recipient: number): string {
  return `m/${String(round)}/${String(sender)}/${String(recipient)}`;
}

export function confirmSlot(round: number, sender: number): string {
  return `c/${String(round)}/${String(sender)}`;
}

/** How many parties a ceremony needs, ourselves among them. */
export function quorumOf(protocol: Protocol, { params, parties, signers }: Proposal): number {
  return protocol.quorum?.(protocol.params.decode(params), parties) ?? signers.length;
}

/** Whether it goes on without some of those who were named. */
export function isPartial({ protocol, run }: Draft): boolean {
  return protocol.quorum !== undefined && quorumOf(protocol, run.proposal) < run.proposal.signers.length;
}

export function roundOf(protocol: Protocol, round: number): Round | undefined {
  return protocol.rounds[round - 1];
}

/** Indices of the other parties, as far as they are known to take part. */
export function othersOf({ present, proposal, self }: Run): readonly number[] {
  const all = present.length > 0 ? present.map(({ index }) => index) : proposal.signers;
  return all.filter((index) => index !== self);
}

/** Indices of those who take part and have not left. */
export function remaining({ present, gone }: Run): readonly number[] {
  return present.map(({ index }) => index).filter((index) => !gone.includes(index));
}

/** Ourselves and those who are there, rising. */
export function liveOf({ proposal, self, peers }: Run): readonly number[] {
  return proposal.signers.filter((index) => index === self || peers.get(index)?.isLive === true);
}

/** Whether enough parties are there for the ceremony to begin anew, without those who have left this one. */
export function canRegroup({ protocol, run }: Draft): boolean {
  const left = liveOf(run).filter((index) => !run.gone.includes(index));
  return left.length >= quorumOf(protocol, run.proposal);
}

export function keyOf(parties: PartySet, index: number): Bytes {
  return parties[index - 1]?.identityKey ?? EMPTY;
}

export function send({ sent }: Change, to: number, frame: Frame | Bytes): void {
  sent.push({ to, payload: frame instanceof Uint8Array ? frame : encodeFrame(frame) });
}

/** A new stage has its own time. */
export function startStage(draft: Draft): void {
  const { run, now } = draft;
  run.deadlineAt = now + run.waitMs;
  run.asked = 0;
  run.askAt = now + ASK_MS;
}

/** Those who have confirmed answer for a day, so there is no sense in ending before. */
export function hold(draft: Draft, output: unknown): void {
  const { run, protocol, now } = draft;
  run.slots.set(HELD, new Uint8Array(protocol.output.encode(output)));
  run.deadlineAt = now + Math.max(run.waitMs, KEEP_MS);
  draft.held = { value: output };
}

export function noteAsked({ run, now }: Draft): void {
  run.asked += 1;
  run.askAt = now + Math.min(ASK_MS * 2 ** run.asked, ASK_MAX_MS);
}

/** Forgets the protocol's state, the private messages and all else that only the ceremony in hand needs. */
export function wipe({ run }: Change): void {
  for (const key of run.slots.keys()) {
    const isPrivate = key.startsWith('m/') && !key.endsWith('/0');
    const isOwn = key === 'state' || key === 'input' || key === HELD;
    if (isPrivate || isOwn || key.startsWith('e/') || key.startsWith('x/')) run.slots.delete(key);
  }
}

/** Ends the run, and tells the others unless they know. @param why 200 bytes of it are kept and told */
export function abort(
  change: Change,
  why: string,
  { by = change.run.self, evidence = [], tells = true, isFinal = false, isRefused }: AbortDetails = {},
): void {
  const { run, now } = change;
  const reason = shortReason(why);
  const id = run.id.length > 0 ? run.id : isFinal ? run.nonce : new Uint8Array(32);
  const frame = encodeFrame({ kind: 'abort', topic: run.topic, id, reason, evidence });
  wipe(change);
  run.phase = 'aborted';
  run.end = { reason, by, at: now, ...(isRefused === undefined ? {} : { isRefused }) };
  run.deadlineAt = now + KEEP_MS;
  run.slots.set('abort', frame);
  if (tells) for (const other of othersOf(run)) send(change, other, frame);
}

export interface AbortDetails {
  readonly by?: number;
  readonly evidence?: FrameOf<'abort'>['evidence'];
  readonly tells?: boolean;
  /** Also where it has not begun: else we only leave, and may come back while the others wait. */
  readonly isFinal?: boolean;
  /** Of `End`. */
  readonly isRefused?: boolean | undefined;
}

export function finish(draft: Draft, output: unknown): void {
  const { run, now } = draft;
  wipe(draft);
  run.phase = 'done';
  run.end = { reason: 'done', by: run.self, at: now };
  run.deadlineAt = now + KEEP_MS;
  draft.output = { value: output };
}

export function blame(draft: Draft, found: readonly Blame[] = []): void {
  const { run } = draft;
  const fresh = found.filter(({ party }) => !run.blame.some((known) => known.party === party));
  run.blame = [...run.blame, ...fresh];
  run.gone = [...new Set([...run.gone, ...fresh.map(({ party }) => party)])];
}
