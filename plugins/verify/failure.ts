/**
 * Why a run has ended without a verified peer, as a code of the program's table with its sentence. Pages, which have no
 * BotError, use it too.
 * Spec: verification brief, section 13 and V-26.
 */
import { failureText, type Gate } from './limits.ts';
import type { Closed } from './machine/state.ts';
import type { AbortReason } from './messages/frame.ts';

export type FailureCode =
  | 'CODE_EXPIRED'
  | 'CODE_IN_TEXT'
  | 'CODE_MISTYPED'
  | 'CODE_REJECTED'
  | 'CONTENT_INVALID'
  | 'IDENTITY_CHANGED'
  | 'INTERRUPTED'
  | 'PEER_GONE'
  | 'USAGE'
  | 'VERIFY_LOCKED'
  | 'VERIFY_SUPERSEDED'
  | 'VERIFY_UNSUPPORTED';

export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  /** ms since 1970: when a new run can start. */
  readonly retryAt?: number;
  /** What to do, where the code's ordinary next step is not it. */
  readonly next?: string;
}

export const EXPIRED: Failure = {
  code: 'CODE_EXPIRED',
  message: 'the code has run out before both sides were done',
};
export const EXPIRED_HERE: Failure = {
  code: 'CODE_EXPIRED',
  message: 'the code of the other side has run out, by the clock of this one; are both clocks right?',
};
export const SUPERSEDED: Failure = {
  code: 'VERIFY_SUPERSEDED',
  message: 'both sides have made a code, and the other one counts',
};
export const UNSUPPORTED: Failure = {
  code: 'VERIFY_UNSUPPORTED',
  message: 'the two programs do not agree on suite or profile',
};

export const GONE: Failure = {
  code: 'PEER_GONE',
  message: 'the connection has ended before both sides were done',
};

const TOLD: Readonly<Record<Exclude<AbortReason, 'failed'>, Failure>> = {
  unsupported: UNSUPPORTED,
  declined: { code: 'PEER_GONE', message: 'the other side has given up' },
  expired: EXPIRED,
  superseded: SUPERSEDED,
  busy: { code: 'VERIFY_LOCKED', message: 'the other side takes no codes now, after too many wrong ones' },
};

/** @param failures in a row, this one included (V-26) */
export function failureOf({ reason, abort }: Closed, failures: number): Failure {
  switch (reason) {
    case 'rejected':
      return rejected(failures);
    case 'aborted':
      return abort === undefined || abort === 'failed' ? rejected(failures) : TOLD[abort];
    case 'expired':
      return EXPIRED;
    case 'superseded':
      return SUPERSEDED;
    case 'unsupported':
      return UNSUPPORTED;
    case 'cancelled':
      return { code: 'INTERRUPTED', message: 'the verification was given up' };
    case 'leaked':
      return {
        code: 'CODE_IN_TEXT',
        message:
          'the code was in a text of this account, so it is worth nothing any more, and counts as a wrong one',
      };
    case 'misnamed':
      return {
        code: 'IDENTITY_CHANGED',
        message:
          'the code was right, but the other side goes by the name of somebody else; nothing was changed',
      };
    case 'contradicted':
      return {
        code: 'IDENTITY_CHANGED',
        message: 'the key that was verified contradicts the one that was verified before',
      };
  }
}

/** @param next how an operator ends a lock that does not end by itself */
export function lockedFailure({ until }: Extract<Gate, { kind: 'locked' }>, next?: string): Failure {
  const failure = { code: 'VERIFY_LOCKED', message: 'too many codes were wrong' } as const;
  if (until !== undefined) return { ...failure, retryAt: until };
  return next === undefined ? failure : { ...failure, next };
}

function rejected(failures: number): Failure {
  return { code: 'CODE_REJECTED', message: failureText(failures) };
}
