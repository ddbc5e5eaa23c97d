/**
 * Slot: all that there is with one peer (mode 2: on one connection): one live run, both roles together, and what is left
 * of the one before.
 *
 * Glare, when both have created a code: the run whose creator has the smaller ACI stays, in mode 2 the smaller run id;
 * the other is superseded on both sides, and nothing is charged. Once a REPLY is bound or written there is no glare.
 *
 * A departure from 3.8 and 4, which keep a run that waits for DONE live for 24 h, and yet let the next one start afresh
 * when ACCEPT was lost (V-18): such a run steps aside as `tail`. There it still answers repeats and takes DONE, and a new
 * run with the same peer can ring or start.
 * Spec: verification brief, sections 3.8, 4 and 6.
 */
import { decodeFrame, decodeHeader, type Frame, type Header, type Offer } from '../messages/frame.ts';
import { compareAcis } from '../messages/service-id.ts';
import { compare, isSame } from '../messages/wire.ts';
import { close, notice, sendAbort, wipe } from './closing.ts';
import { GRACE_MS, start } from './creator.ts';
import { finishUnacknowledged, ring } from './enterer.ts';
import { deadlineOf as deadlineOfRun, stepRun, type RunEvent } from './run.ts';
import { isLive, isTail, type Live, type Offered, type Ringing, type RunState, type Tail } from './state.ts';
import {
  modeOf,
  type Arrived,
  type Effect,
  type Env,
  type Event,
  type Next,
  type Start,
  type Steps,
} from './step.ts';
import { greet } from './symmetric.ts';

export interface Slot {
  /** undefined before the first run. */
  readonly run: RunState | undefined;
  readonly tail: Tail | undefined;
}

export interface SlotStep {
  readonly slot: Slot;
  readonly effects: readonly Effect[];
}

export const EMPTY_SLOT: Slot = { run: undefined, tail: undefined };

/** Every event is answered, if only by nothing. */
export function* step(env: Env, slot: Slot, event: Event): Steps<SlotStep> {
  switch (event.kind) {
    case 'start':
      return begin(slot, event);
    case 'greet':
      return replaced(slot, greet(event));
    case 'frame':
      return yield* arrive(env, slot, event);
    case 'typing':
    case 'typed': {
      const { run } = slot;
      if (run?.kind === 'ringing' && isSame(run.runId, event.runId)) return yield* stepBoth(env, slot, event);
      const secrets = event.kind === 'typed' ? [event.w, event.share.secret] : [];
      return { slot, effects: [notice(event, { kind: 'nothing-rings' }), ...wipe(secrets)] };
    }
    case 'typed-elsewhere': {
      const { run } = slot;
      if (run?.kind !== 'ringing' || !isSame(run.runId, event.runId)) return { slot, effects: [] };
      const { state, effects } = close(run, 'superseded');
      return {
        slot: { run: state, tail: slot.tail },
        effects: effects.filter(({ kind }) => kind !== 'send'),
      };
    }
    case 'continue':
    case 'cancel':
    case 'tick':
    case 'restart':
    case 'reconnected':
    case 'given-up':
      return yield* stepBoth(env, slot, event);
  }
}

/** ms at which the slot wants a `tick`; undefined when it waits for nothing. */
export function deadlineOf({ run, tail }: Slot): number | undefined {
  const deadlines = [run, tail].flatMap((state) => (state && deadlineOfRun(state)) ?? []);
  return deadlines.length === 0 ? undefined : Math.min(...deadlines);
}

/** Whether anything is left that needs the peer's carrier. */
export function isBusy({ run, tail }: Slot): boolean {
  return tail !== undefined || isLive(run) || isTail(run);
}

function begin(slot: Slot, event: Start): SlotStep {
  const { run } = slot;
  const secrets = wipe([event.w, event.share.secret, event.nonce]);
  if (event.peer === event.own.aci) {
    return { slot, effects: [notice(event, { kind: 'own-account' }), ...secrets] };
  }
  if (run?.kind === 'ringing' && !comesFirst(event, run)) {
    return { slot, effects: [notice(run, { kind: 'glare', use: 'theirs' }), ...secrets] };
  }
  return replaced(slot, start(event));
}

/** Puts a new run in the place of the one that is there. */
function replaced(slot: Slot, next: Next): SlotStep {
  const { run } = slot;
  const old = isLive(run) ? close(run, 'superseded').effects : [];
  const aside = stepAside(slot);
  return {
    slot: { run: next.state, tail: aside.tail },
    effects: [...old, ...next.effects, ...aside.effects],
  };
}

/** Makes room for a live run. Of two that wait for DONE the older is over; its session has been replaced by the newer's. */
function stepAside({ run, tail }: Slot): { tail: Tail | undefined; effects: readonly Effect[] } {
  return isTail(run) ? { tail: run, effects: finish(tail) } : { tail, effects: [] };
}

function finish(tail: Tail | undefined): readonly Effect[] {
  if (tail === undefined) return [];
  if (tail.kind === 'verified') return [{ kind: 'over', runId: tail.runId }];
  return finishUnacknowledged(tail).effects.filter(({ kind }) => kind !== 'drop-session');
}

function* arrive(env: Env, slot: Slot, event: Arrived): Steps<SlotStep> {
  const { run, tail } = slot;
  const header = decodeHeader(event.bytes);
  if (header === undefined) return { slot, effects: [] };
  if (run !== undefined && names(run, header)) {
    return isPeerOf(run, event) ? settled(slot, yield* stepRun(env, run, event)) : { slot, effects: [] };
  }
  if (tail !== undefined && names(tail, header)) {
    return isPeerOf(tail, event) ? withTail(slot, yield* stepRun(env, tail, event)) : { slot, effects: [] };
  }
  return header.type === 'offer' ? offered(env, slot, header, event) : { slot, effects: [] };
}

/** HELLO names no run, as none has a name yet. */
function names(state: RunState, { runId, type }: Header): boolean {
  return isSame(state.runId, runId) || (state.kind === 'confirming' && type === 'hello');
}

function isPeerOf(state: RunState, { from }: Arrived): boolean {
  if (state.kind === 'finished' || state.kind === 'closed') return false;
  const { peer, peerDevice } = state;
  return from?.aci === peer && (peerDevice === undefined || from?.device === peerDevice);
}

/** An OFFER of a run that is new here. It can only ring. */
function offered(env: Env, slot: Slot, header: Header, event: Arrived): SlotStep {
  const { run } = slot;
  const isFree = !isLive(run) || run.kind === 'offered' || (run.kind === 'ringing' && !run.isTyping);
  if (!isFree || event.gate === 'full') return { slot, effects: [] };
  const { runId, suite } = header;
  const refuse = (...effects: readonly Effect[]): SlotStep => ({
    slot,
    effects: event.isMuted === true ? [] : effects,
  });
  const answer = (reason: 'unsupported' | 'busy'): Effect =>
    sendAbort(suite === 2 ? 2 : 1, runId, reason, event.from?.device);
  if (event.gate === 'locked') return refuse(answer('busy'));
  const frame = decodeFrame(event.bytes);
  if (frame === undefined || !isOffer(frame) || !canTake(env, frame.body)) {
    return refuse(answer('unsupported'), notice(header, { kind: 'unsupported-offer' }));
  }
  if (!isInPlace(frame.body, event)) return refuse();
  if (run?.kind === 'offered') return glare(slot, run, frame, event);
  return rings(slot, frame, event, run?.kind === 'ringing' ? quietly(run) : []);
}

function glare(slot: Slot, run: Offered, frame: Frame & { body: Offer }, event: Arrived): SlotStep {
  const { peer, own, runId, offer } = run;
  const { isMuted = false, from } = event;
  if (comesFirst({ own, runId }, { peer, runId: frame.runId })) {
    // The peer may not have ours: it was lost, or dropped by one who hears nobody that it has not written to (listening).
    const again: Effect = { kind: 'send', frame: offer, device: from?.device };
    return { slot, effects: [...(isMuted ? [] : [again]), notice(run, { kind: 'glare', use: 'own' })] };
  }
  const lost = close(run, 'superseded').effects;
  return rings(slot, frame, event, [...lost, notice(frame, { kind: 'glare', use: 'theirs' })]);
}

function rings(
  slot: Slot,
  frame: Frame & { body: Offer },
  event: Arrived,
  before: readonly Effect[],
): SlotStep {
  const next = ring(frame, event);
  const aside = stepAside(slot);
  return {
    slot: { run: next.state, tail: aside.tail },
    effects: [...before, ...aside.effects, ...next.effects],
  };
}

/** Whose run stays when both sides have created a code. */
function comesFirst(ours: Pick<Start, 'own' | 'runId'>, theirs: Pick<Ringing, 'peer' | 'runId'>): boolean {
  return theirs.peer === undefined
    ? compare(ours.runId, theirs.runId) < 0
    : compareAcis(ours.own.aci, theirs.peer) < 0;
}

/** Ends a ring that a newer one replaces; the peer knows. */
function quietly(run: Live): readonly Effect[] {
  return close(run, 'superseded').effects.filter(({ kind }) => kind !== 'send');
}

function isOffer(frame: Frame): frame is Frame & { body: Offer } {
  return frame.body.type === 'offer';
}

/** V-3, and profile 2 only where there is a libsignal. */
function canTake({ primitives, maxProfile }: Env, { mhf, profile }: Offer): boolean {
  return primitives.mhf.accepts(mhf) && profile <= maxProfile;
}

/** Of the mode that the carrier is of, from whom it names, and not over yet. */
function isInPlace({ mode, sender, expiresAt }: Offer, { from, now }: Arrived): boolean {
  const isTheirs = sender?.aci === from?.aci && sender?.device === from?.device;
  return mode === modeOf(from?.aci) && isTheirs && now <= expiresAt + GRACE_MS;
}

function* stepBoth(env: Env, slot: Slot, event: RunEvent): Steps<SlotStep> {
  const { run, tail } = slot;
  const first = run === undefined ? { slot, effects: [] } : settled(slot, yield* stepRun(env, run, event));
  if (tail === undefined || first.slot.tail === undefined) return first;
  const second = withTail(first.slot, yield* stepRun(env, tail, event));
  return { slot: second.slot, effects: [...first.effects, ...second.effects] };
}

/** The run after a step; once it has succeeded, the one before it is over. */
function settled({ run, tail }: Slot, { state, effects }: Next): SlotStep {
  const hasSucceeded = isTail(state) && isLive(run);
  if (!hasSucceeded) return { slot: { run: state, tail }, effects };
  return { slot: { run: state, tail: undefined }, effects: [...effects, ...finish(tail)] };
}

function withTail({ run }: Slot, { state, effects }: Next): SlotStep {
  return { slot: { run, tail: isTail(state) ? state : undefined }, effects };
}
