/**
 * Ends of runs, and what is sent again (sections 3.8 and 4).
 */
import type { Bytes, DeviceId } from '../../../src/index.ts';
import { encodeFrame, type AbortReason, type Suite } from '../messages/frame.ts';
import { secretsOf, type CloseReason, type Live, type RunState } from './state.ts';
import type { Effect, Next, Notice } from './step.ts';

/** A repeated frame gets the saved answer this often. */
export const MAX_REPEATS = 3;

type Repeating = Extract<RunState, { readonly repeats: number }>;

/** What the peer is told; undefined where it has said so itself, or has nothing to end. */
const TOLD: Readonly<Record<CloseReason, AbortReason | undefined>> = {
  rejected: 'failed',
  expired: 'expired',
  cancelled: 'declined',
  aborted: undefined,
  superseded: 'superseded',
  unsupported: 'unsupported',
  contradicted: 'failed',
  misnamed: 'failed',
  leaked: 'declined',
};

/** Closes a run. A charged guess stays charged (V-22). */
export function close(state: Live, reason: CloseReason, abort?: AbortReason): Next {
  const { runId, terms, peerDevice } = state;
  const told = TOLD[reason];
  const isOurs = state.kind !== 'ringing' || state.isTyping;
  return {
    state: { kind: 'closed', runId, reason, abort },
    effects: [
      ...(told === undefined ? [] : [sendAbort(terms.suite, runId, told, peerDevice)]),
      { kind: 'over', runId },
      notice(state, { kind: 'ended', reason, abort, isOurs }),
      ...wipe(secretsOf(state)),
    ],
  };
}

export function stay(state: RunState, ...effects: readonly Effect[]): Next {
  return { state, effects };
}

/** Sends the last frame again, up to three times. */
export function repeat(state: Repeating, frame: Bytes): Next {
  if (state.repeats >= MAX_REPEATS) return stay(state);
  return stay({ ...state, repeats: state.repeats + 1 }, { kind: 'send', frame, device: state.peerDevice });
}

export function sendAbort(
  suite: Suite,
  runId: Bytes,
  reason: AbortReason,
  device: DeviceId | undefined,
): Effect {
  return { kind: 'send', frame: encodeFrame({ suite, runId, body: { type: 'abort', reason } }), device };
}

export function notice({ runId }: { readonly runId: Bytes }, what: Notice): Effect {
  return { kind: 'notice', runId, notice: what };
}

export function wipe(secrets: readonly Bytes[]): readonly Effect[] {
  return secrets.length === 0 ? [] : [{ kind: 'wipe', secrets }];
}
