/**
 * Settlement: what all the introductions of one contact together mean for its state, as one pure function (V-37).
 *
 * An introduction never replaces a key that is there. With `needed` above 1, a contact counts as introduced only when so
 * many introducers name the same key; and never while one whose word counts names another.
 * Spec: verification brief, sections 9 and 10.
 */
import type { Aci, Bytes, ContactIdentity } from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';

/** So many introductions are named in a contact's evidence: of more, the list of introductions tells. */
export const MAX_NAMED = 10;

/** An introduction whose introducer counts now, and that is neither revoked nor expired. */
export interface Live {
  readonly introducer: Aci;
  /** 16 bytes, hex. */
  readonly id: string;
  /** 33 bytes. */
  readonly subjectKey: Bytes;
}

export type Decision<T extends Live> =
  /** By these; the state becomes `introduced`, or their names are added to it. */
  | { readonly kind: 'introduce'; readonly by: readonly T[] }
  | { readonly kind: 'unintroduce' }
  | { readonly kind: 'none' };

/** @param needed introducers that must agree, 1 or more */
export function settle<T extends Live>(
  contact: Pick<ContactIdentity, 'state' | 'pin' | 'evidence' | 'revoked'>,
  live: readonly T[],
  needed: number,
): Decision<T> {
  const { state, pin } = contact;
  const key = pin ?? live[0]?.subjectKey;
  const isAgreed = live.every(({ subjectKey }) => isSame(subjectKey, key));
  const agreeing = live.filter(({ subjectKey }) => isSame(subjectKey, key));
  const isBad = contact.revoked.some((bad) => isSame(bad, key));
  const isEnough = isAgreed && !isBad && introducersOf(agreeing) >= needed;
  if (state === 'introduced' && !isEnough) return { kind: 'unintroduce' };
  if (!isEnough || (state !== 'unknown' && state !== 'tofu' && state !== 'introduced'))
    return { kind: 'none' };
  const named = contact.evidence.filter(({ kind }) => kind === 'introduction').length;
  const news = agreeing.filter(({ id, introducer }) => !isNoted(contact, introducer, id));
  const added = news.slice(0, Math.max(0, MAX_NAMED - named));
  const by = state === 'introduced' || added.length > 0 ? added : agreeing.slice(0, 1);
  return by.length === 0 ? { kind: 'none' } : { kind: 'introduce', by };
}

/**
 * Whether an introduction that has just arrived says something else than is known.
 * @param others the other introductions of the contact that count
 */
export function contradicts(
  { subjectKey }: Live,
  { pin, revoked }: Pick<ContactIdentity, 'pin' | 'revoked'>,
  others: readonly Live[],
): boolean {
  if (revoked.some((key) => isSame(key, subjectKey))) return true;
  if (pin !== undefined) return !isSame(pin, subjectKey);
  return others.some((other) => !isSame(other.subjectKey, subjectKey));
}

function introducersOf(live: readonly Live[]): number {
  return new Set(live.map(({ introducer }) => introducer)).size;
}

function isNoted(
  { evidence }: Pick<ContactIdentity, 'evidence'>,
  introducer: Aci,
  statementId: string,
): boolean {
  return evidence.some(
    (item) =>
      item.kind === 'introduction' && item.introducer === introducer && item.statementId === statementId,
  );
}
