/**
 * Conflicts: an introduction names another key than the one that is known, and who says which (V-37).
 */
import { BotError, type Aci, type Bytes, type ContactIdentity } from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';
import { proofsOfPin } from './proofs.ts';
import type { Live } from './settlement.ts';

/** Where the key that is known came from. */
export type Source =
  /** The service gave it, and nobody has vouched for it. */
  | { readonly kind: 'directory' }
  | { readonly kind: 'introducers'; readonly acis: readonly Aci[] }
  /** A run, a safety number or an import. */
  | { readonly kind: 'verified'; readonly by: string; readonly at: number }
  /** Not what is known, but what is known to be bad: the stated key is on the contact's list of revoked keys. */
  | { readonly kind: 'revoked' };

/** `INTRODUCTION_CONFLICT`, with both sources. Keys are public, 33 bytes. */
export interface Conflict {
  readonly kind: 'conflict';
  readonly subject: Aci;
  readonly introducer: Aci;
  readonly stated: Bytes;
  /** undefined where the stated key is revoked and no other is held. */
  readonly known: Bytes | undefined;
  readonly source: Source;
  /** Of the contact after it. */
  readonly state: ContactIdentity['state'];
  /** ms */
  readonly at: number;
}

/** @param others the other introductions of the contact that count */
export function sourceOf(contact: ContactIdentity, { subjectKey }: Live, others: readonly Live[]): Source {
  if (contact.revoked.some((key) => isSame(key, subjectKey))) return { kind: 'revoked' };
  const proof = contact.wasVerified ? proofsOfPin(contact)[0] : undefined;
  if (proof !== undefined) return { kind: 'verified', by: proof.kind, at: proof.at };
  const acis = others
    .filter((other) => isSame(other.subjectKey, contact.pin ?? others[0]?.subjectKey))
    .map(({ introducer }) => introducer);
  return acis.length === 0 ? { kind: 'directory' } : { kind: 'introducers', acis: [...new Set(acis)] };
}

/** For the operator and the log. */
export function conflictError({ subject, introducer, source, state }: Conflict): BotError {
  const outcome =
    state === 'changed'
      ? 'Messages to and from this contact wait.'
      : `The contact stays ${state}; the introduction is not used.`;
  const message = `${introducer} vouches for another identity key of ${subject} than ${knownFrom(source)}. ${outcome}`;
  return new BotError('INTRODUCTION_CONFLICT', message, {
    next: `Run a verification: countersign verify start ${subject}`,
  });
}

function knownFrom(source: Source): string {
  switch (source.kind) {
    case 'directory':
      return 'the service gave';
    case 'introducers':
      return `${source.acis.join(', ')} vouch for`;
    case 'verified':
      return `you have verified by ${source.by} on ${new Date(source.at).toISOString().slice(0, 10)}`;
    case 'revoked':
      return 'those that may be: it is one that you know to be bad';
  }
}
