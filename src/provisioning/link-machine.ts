/**
 * Link machine: which codes are shown and for how long, until a phone answers one of them.
 *
 *   idle --start--> showing --readable--> received
 *                      |----the last code is over--> ended (expired)
 *                      |----no server----> ended (failed)
 *
 * Each code has its own socket and key. It is replaced after 45 s, but its socket stays until the next replacement, so
 * that a phone that scanned at the boundary still gets through; the server closes a socket after 90 s whatever we do.
 * There are at most two sockets, and at most six replacements. Pure: the driver in scan.ts carries out the effects.
 * Spec: protocol brief, sections 2.1 and 1.5.
 */
import type { BotError } from '../errors.ts';

/** ms after which a code is replaced. */
export const ROTATE_MS = 45_000;
/** ms after which the server closes a provisioning socket. */
export const CODE_LIFE_MS = 90_000;
export const MAX_ROTATIONS = 6;

const MAX_CODES = 1 + MAX_ROTATIONS;
const MAX_SOCKETS = 2;
/** ms to wait before the next code when one could not be had. */
const RETRY_MS = 5_000;

/** Codes and their sockets are numbered from 1; no number is used twice. */
export type LinkState =
  | { readonly kind: 'idle' }
  | {
      readonly kind: 'showing';
      /** Oldest first, at most two. */
      readonly sockets: readonly number[];
      /** The code whose socket is being opened. */
      readonly opening: number | undefined;
      /** The newest code. */
      readonly newest: number;
      /** The last code has had its 45 s and is kept for a late scan. */
      readonly lingering: boolean;
      /** Why an answer could not be used, if there was one. */
      readonly unreadable: string | undefined;
    }
  | { readonly kind: 'received'; readonly code: number }
  | { readonly kind: 'ended' };

export type LinkInput =
  | { readonly kind: 'start' }
  | { readonly kind: 'opened'; readonly code: number; readonly address: string }
  | { readonly kind: 'open-failed'; readonly code: number; readonly error: BotError }
  | { readonly kind: 'timer'; readonly code: number }
  /** The phone answered this code, and the answer was opened and checked. */
  | { readonly kind: 'readable'; readonly code: number }
  /** Something was sent to this code that is of no use. */
  | { readonly kind: 'unreadable'; readonly code: number; readonly reason: string }
  | { readonly kind: 'closed'; readonly code: number };

export type LinkEffect =
  | { readonly kind: 'open'; readonly code: number }
  | { readonly kind: 'show'; readonly code: number; readonly address: string }
  | { readonly kind: 'close'; readonly code: number }
  | { readonly kind: 'timer'; readonly code: number; readonly ms: number }
  | { readonly kind: 'finish'; readonly code: number }
  | { readonly kind: 'expire'; readonly unreadable: string | undefined }
  | { readonly kind: 'fail'; readonly error: BotError };

export interface LinkStep {
  readonly state: LinkState;
  readonly effects: readonly LinkEffect[];
}

export const IDLE: LinkState = { kind: 'idle' };

/** What does not fit the state is ignored; a socket that comes too late is closed. */
export function step(state: LinkState, input: LinkInput): LinkStep {
  if (state.kind === 'showing') return stepShowing(state, input);
  if (state.kind === 'idle' && input.kind === 'start') {
    const showing: Showing = {
      kind: 'showing',
      sockets: [],
      opening: undefined,
      newest: 0,
      lingering: false,
      unreadable: undefined,
    };
    return openNext(showing);
  }
  if (input.kind === 'opened') return { state, effects: [{ kind: 'close', code: input.code }] };
  return { state, effects: [] };
}

type Showing = Extract<LinkState, { kind: 'showing' }>;

function stepShowing(state: Showing, input: LinkInput): LinkStep {
  switch (input.kind) {
    case 'start':
      return { state, effects: [] };
    case 'opened':
      return input.code === state.opening ? show(state, input.code, input.address) : late(state, input.code);
    case 'open-failed':
      return input.code === state.opening ? openFailed(state, input.error) : { state, effects: [] };
    case 'timer':
      return input.code === state.newest ? rotate(state) : { state, effects: [] };
    case 'readable':
      if (!state.sockets.includes(input.code)) return { state, effects: [] };
      return {
        state: { kind: 'received', code: input.code },
        effects: [...closeAll(state), { kind: 'finish', code: input.code }],
      };
    case 'unreadable':
      // Its socket stays: a better answer may follow. The server closes it by itself, which brings the next code.
      return {
        state: state.sockets.includes(input.code) ? { ...state, unreadable: input.reason } : state,
        effects: [],
      };
    case 'closed':
      return state.sockets.includes(input.code) ? lose(state, input.code) : { state, effects: [] };
  }
}

function show(state: Showing, code: number, address: string): LinkStep {
  const all = [...state.sockets, code];
  const surplus = all.slice(0, -MAX_SOCKETS);
  return {
    state: { ...state, sockets: all.slice(-MAX_SOCKETS), opening: undefined },
    effects: [
      { kind: 'show', code, address },
      ...surplus.map((old) => ({ kind: 'close', code: old }) as const),
      { kind: 'timer', code, ms: ROTATE_MS },
    ],
  };
}

function late(state: Showing, code: number): LinkStep {
  return { state, effects: state.sockets.includes(code) ? [] : [{ kind: 'close', code }] };
}

/** With a code still open there is time to try again; without one the server is out of reach. */
function openFailed(state: Showing, error: BotError): LinkStep {
  if (state.sockets.length === 0) return { state: { kind: 'ended' }, effects: [{ kind: 'fail', error }] };
  return {
    state: { ...state, opening: undefined },
    effects: [{ kind: 'timer', code: state.newest, ms: RETRY_MS }],
  };
}

function rotate(state: Showing): LinkStep {
  if (state.opening !== undefined) return { state, effects: [] };
  if (state.newest < MAX_CODES) return openNext(state);
  if (state.lingering) return expire(state);
  const timer = { kind: 'timer', code: state.newest, ms: CODE_LIFE_MS - ROTATE_MS } as const;
  return { state: { ...state, lingering: true }, effects: [timer] };
}

/** A socket is gone. The one that is shown is replaced at once, an older one needs no replacement. */
function lose(state: Showing, code: number): LinkStep {
  const shown = state.sockets.at(-1) === code;
  const next = { ...state, sockets: state.sockets.filter((other) => other !== code) };
  if (next.opening !== undefined || !shown) return { state: next, effects: [] };
  if (next.newest < MAX_CODES) return openNext(next);
  return next.sockets.length === 0 ? expire(next) : { state: next, effects: [] };
}

function openNext(state: Showing): LinkStep {
  const code = state.newest + 1;
  return { state: { ...state, opening: code, newest: code }, effects: [{ kind: 'open', code }] };
}

function expire(state: Showing): LinkStep {
  return {
    state: { kind: 'ended' },
    effects: [...closeAll(state), { kind: 'expire', unreadable: state.unreadable }],
  };
}

function closeAll(state: Showing): LinkEffect[] {
  return state.sockets.map((code) => ({ kind: 'close', code }));
}
