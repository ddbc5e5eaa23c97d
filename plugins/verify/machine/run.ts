/**
 * One run: every pair of state and event, answered.
 *
 * What names another run, or comes from somebody who is not the run's peer, has been left out before (`slot.ts`). A
 * frame that is not the one this state waits for is ignored, since frames may be reordered; the one that it waits for
 * closes the run if it is wrong (3.8). A repeat of the last one gets the saved answer.
 * Spec: verification brief, sections 3.8 and 4.
 */
import { sha256Of } from '../keys.ts';
import { decodeFrame, decodeHeader, type AbortReason } from '../messages/frame.ts';
import { isSame } from '../messages/wire.ts';
import { close, notice, repeat, stay, wipe } from './closing.ts';
import { bindReply, checkReply, finishVerified, takeAccept } from './creator.ts';
import { finishUnacknowledged, reply, takeDone, takeProof } from './enterer.ts';
import { isLive, type Live, type Offered, type Ringing, type RunState } from './state.ts';
import type { Arrived, Env, Event, Next, Steps, Typed } from './step.ts';
import { takeConfirm, takeHello } from './symmetric.ts';

/** Events of a run that is there; others make one, or are of a slot (`slot.ts`). */
export type RunEvent = Exclude<Event, { kind: 'start' | 'greet' | 'typed-elsewhere' }>;

export function* stepRun(env: Env, state: RunState, event: RunEvent): Steps<Next> {
  switch (event.kind) {
    case 'frame':
      return yield* arrive(env, state, event);
    case 'continue':
      if (state.kind !== 'checking') return stay(state);
      return isOver(state, event.now) ? close(state, 'expired') : yield* checkReply(env, state, event);
    case 'typing':
      if (state.kind !== 'ringing') return stay(state);
      return isOver(state, event.now) ? close(state, 'expired') : stay({ ...state, isTyping: true });
    case 'typed':
      return state.kind === 'ringing' ? type(env, state, event) : stay(state);
    case 'cancel':
      if (!isLive(state)) return stay(state);
      return event.isLeaked === true ? leak(state) : close(state, 'cancelled');
    case 'given-up':
      return isLive(state) ? close(state, 'rejected') : stay(state);
    case 'tick':
      return expire(state, event.now);
    case 'restart': {
      const next = expire(state, event.now);
      return next.state.kind === 'checking' ? stay(next.state, { kind: 'continue' }) : next;
    }
    case 'reconnected':
      return resend(state);
  }
}

/** ms at which the run wants a `tick`; undefined when it waits for nothing. */
export function deadlineOf(state: RunState): number | undefined {
  return state.kind === 'finished' || state.kind === 'closed' ? undefined : state.deadline;
}

/** Whatever comes of it, what was typed is spent. */
function type(env: Env, state: Ringing, event: Typed): Next {
  const next = isOver(state, event.now) ? close(state, 'expired') : reply(env, state, event);
  return { ...next, effects: [...next.effects, ...wipe([event.w, event.share.secret])] };
}

function* arrive(env: Env, state: RunState, event: Arrived): Steps<Next> {
  const header = decodeHeader(event.bytes);
  if (header === undefined || state.kind === 'finished' || state.kind === 'closed') return stay(state);
  if (isOver(state, event.now)) return expire(state, event.now);
  if (header.type === 'abort') return abort(state, event);
  switch (state.kind) {
    case 'offered':
      return header.type === 'reply' ? bindReply(state, event) : stay(state);
    case 'proved':
      if (header.type === 'accept') return yield* takeAccept(env, state, event);
      return isSame(event.bytes, state.reply) ? repeat(state, state.proof) : stay(state);
    case 'replied':
      if (header.type === 'proof') return yield* takeProof(env, state, event);
      return isSame(event.bytes, state.offer) ? repeat(state, state.reply) : stay(state);
    case 'accepted':
      if (header.type === 'done') return yield* takeDone(env, state, event);
      return isHashOf(state.proofHash, event) ? repeat(state, state.accept) : stay(state);
    case 'verified':
      return isHashOf(state.acceptHash, event) ? repeat(state, state.done) : stay(state);
    case 'greeting':
      return header.type === 'hello' ? takeHello(state, event) : stay(state);
    case 'confirming':
      if (header.type === 'confirm') return yield* takeConfirm(env, state, event);
      return isSame(event.bytes, state.peerHello) ? repeat(state, state.confirm) : stay(state);
    case 'ringing':
    case 'checking':
      return stay(state);
  }
}

/**
 * The code is in a text of ours. A departure from V-22, which charges no run that is cancelled: who has us repeat words,
 * as bots do, learns from each that the run survives which codes it is not, and that has to cost as much as a guess.
 */
function leak(state: Live): Next {
  const closed = close(state, 'leaked');
  return { ...closed, effects: [{ kind: 'charge', runId: state.runId }, ...closed.effects] };
}

/** A hint: it ends a live run and does nothing else. */
function abort(state: RunState, event: Arrived): Next {
  const frame = decodeFrame(event.bytes);
  if (!isLive(state) || frame?.body.type !== 'abort' || frame.suite !== state.terms.suite) return stay(state);
  const { reason } = frame.body;
  return state.kind === 'offered' ? refuse(state, event, reason) : close(state, 'aborted', reason);
}

/**
 * Until a REPLY is bound all devices of the peer ring (section 6), and one that cannot take the code, or whose person gives
 * up, leaves it to the others. So it ends the run once no device is left of those that are known to verify.
 */
function refuse(state: Offered, { from, verifiers = [] }: Arrived, reason: AbortReason): Next {
  const device = from?.device;
  const refused = device === undefined ? state.refused : [...new Set([...state.refused, device])];
  if (device === undefined || verifiers.every((other) => refused.includes(other)))
    return close(state, 'aborted', reason);
  if (state.refused.includes(device)) return stay(state);
  return stay({ ...state, refused }, notice(state, { kind: 'refused', device, reason }));
}

function expire(state: RunState, now: number): Next {
  if (!isOver(state, now)) return stay(state);
  if (isLive(state)) return close(state, 'expired');
  if (state.kind === 'accepted') return finishUnacknowledged(state);
  return state.kind === 'verified' ? finishVerified(state) : stay(state);
}

function isOver(state: RunState, now: number): boolean {
  const deadline = deadlineOf(state);
  return deadline !== undefined && now > deadline;
}

/** What was sent last, for a way that is there again. Not counted: the peer's repeats are. */
function resend(state: RunState): Next {
  const last = lastSent(state);
  if (last === undefined || state.kind === 'finished' || state.kind === 'closed') return stay(state);
  return stay(state, { kind: 'send', frame: last, device: state.peerDevice });
}

function lastSent(state: RunState): Arrived['bytes'] | undefined {
  switch (state.kind) {
    case 'offered':
      return state.offer;
    case 'proved':
      return state.proof;
    case 'replied':
      // In suite 2 `reply` holds HELLO and CONFIRM; the other side has had both, or it is not waited for.
      return state.terms.suite === 1 ? state.reply : undefined;
    case 'accepted':
      return state.accept;
    case 'greeting':
      return state.hello;
    case 'confirming':
      return state.confirm;
    case 'verified':
    case 'checking':
    case 'ringing':
    case 'finished':
    case 'closed':
      return undefined;
  }
}

function isHashOf(hash: Arrived['bytes'], { bytes }: Arrived): boolean {
  return isSame(hash, sha256Of(bytes));
}
