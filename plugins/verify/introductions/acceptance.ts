/**
 * Acceptance: whether a statement counts, as one pure function. The table in test/verify/introductions.test.ts is
 * section 10's, rule by rule.
 *
 * Statements of a contact who is only introduced themselves are kept to be shown, and never used (V-35): they begin to
 * count if the contact is verified with the key that has signed them.
 * Spec: verification brief, section 10, V-34, V-35 and V-39.
 */
import type { Aci, Bytes, ContactIdentity } from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';
import { DAY_MS, isSignedBy, type Signed, type Statement } from './statement.ts';

/** How far ahead of ours the introducer's clock may be. */
export const MAX_AHEAD_MS = 600_000;
export const MAX_LIFE_MS = 90 * DAY_MS;
/** For whom one introducer counts, unless the operator has named it as a key directory. */
export const MAX_SUBJECTS = 50;

/** What is known where a statement arrives. */
export interface View {
  readonly own: Aci;
  /** ms */
  readonly now: number;
  /** What we hold of the introducer. */
  readonly introducer: Pick<ContactIdentity, 'state' | 'pin'>;
  /** Whether the group of the audience has both the introducer and us in it now; false where there is no such group. */
  readonly isShared: boolean;
  /** This introducer has revoked this statement before. */
  readonly isRevoked: boolean;
  /** We hold the statement that this one revokes. */
  readonly isHeld: boolean;
  /** For how many others than this subject the introducer counts already. */
  readonly otherSubjects: number;
  /** Our operator lets the introducer count for any number. */
  readonly isDirectory: boolean;
  /**
   * 33 bytes: the key of the session that the statement came in, when it came from the introducer directly. That, and
   * nothing else, stands for the signature of one that is not signed.
   */
  readonly directKey: Bytes | undefined;
}

export type Refusal =
  /** The introducer is no contact whose word counts, or states another key than the one that we hold. */
  | 'introducer'
  /** Not theirs, or changed on the way. */
  | 'signature'
  /** About us, by us, or about themselves. */
  | 'self'
  /** For somebody else, or for a group that we are not in together. */
  | 'audience'
  /** From the future, or for longer than 90 days. */
  | 'dates'
  | 'expired'
  | 'revoked'
  /** Handed on from somebody else: chains are not followed. */
  | 'depth'
  | 'subjects';

/** `shown`: kept and listed, and nothing follows from it. */
export type Verdict = 'used' | 'shown' | Refusal;

/** Of an introduction. The signature is checked under our pin for the introducer (V-34). */
export function judge(signed: Signed, view: View): Verdict {
  const { statement } = signed;
  const { introducer, subject } = statement;
  const weight = weightOf(statement, view.introducer);
  if (introducer === view.own || subject === view.own || introducer === subject) return 'self';
  if (weight === 'none') return 'introducer';
  if (!isAuthentic(signed, view)) return 'signature';
  if (!isForUs(statement, view)) return 'audience';
  const dates = checkDates(statement, view.now);
  if (dates !== undefined) return dates;
  if (view.isRevoked) return 'revoked';
  if (statement.depth !== 0) return 'depth';
  if (!view.isDirectory && view.otherSubjects >= MAX_SUBJECTS) return 'subjects';
  return weight;
}

/**
 * Of a revocation: it needs no more than that it is the introducer's. For whom it is, who is in which group now, and what
 * the introducer's word is worth makes no difference where we hold the statement: less is trusted after it.
 */
export function judgeRevocation(signed: Signed, view: View): 'used' | Refusal {
  const { statement } = signed;
  if (!view.isHeld && weightOf(statement, view.introducer) === 'none') return 'introducer';
  if (!isAuthentic(signed, view)) return 'signature';
  return checkDates(statement, view.now) ?? 'used';
}

/** What the introducer's word is worth, by what we hold of them now. */
export function weightOf(
  { introducerKey }: Pick<Statement, 'introducerKey'>,
  { state, pin }: Pick<ContactIdentity, 'state' | 'pin'>,
): 'used' | 'shown' | 'none' {
  if (pin === undefined || !isSame(pin, introducerKey)) return 'none';
  if (state === 'verified') return 'used';
  return state === 'introduced' ? 'shown' : 'none';
}

function isAuthentic(signed: Signed, { introducer, directKey }: View): boolean {
  const { pin } = introducer;
  if (pin === undefined) return false;
  if (signed.signature === undefined) return directKey !== undefined && isSame(directKey, pin);
  return isSignedBy(pin, signed);
}

function isForUs({ audience }: Statement, { own, isShared }: View): boolean {
  return audience.kind === 'aci' ? audience.aci === own : isShared;
}

function checkDates({ issuedAt, notAfter }: Statement, now: number): 'dates' | 'expired' | undefined {
  if (issuedAt > now + MAX_AHEAD_MS || notAfter - issuedAt > MAX_LIFE_MS || notAfter <= issuedAt)
    return 'dates';
  return notAfter <= now ? 'expired' : undefined;
}
