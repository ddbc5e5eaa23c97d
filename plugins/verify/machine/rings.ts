/**
 * Rings: how many OFFERs may wait for a code at once, so that strangers cannot fill the store or the operator's screen.
 *
 * One per peer, which its slot sees to; five known contacts; strangers share one more. The brief has five contacts in all, and
 * does not say who is a contact. Anybody can write to a bot and be answered, so five accounts that do could keep out all that
 * people know: an account that was only answered finds a place while fewer than five, known or answered, ring, and a known
 * contact counts known ones alone. So at most ten contacts ring.
 * Spec: verification brief, section 4.
 */
import type { Aci, Acquaintance } from '../../../src/index.ts';

export const CONTACT_RINGS = 5;
export const STRANGER_RINGS = 1;

export interface Ring {
  readonly peer: Aci;
  /** How the account knew them before they rang. */
  readonly acquaintance: Acquaintance;
}

/** Whether this peer may ring beside those that do. A peer that rings already may always: its OFFER replaces the other. */
export function hasRoom(ringing: readonly Ring[], { peer, acquaintance }: Ring): boolean {
  const others = ringing.filter((ring) => ring.peer !== peer);
  const count = (of: Acquaintance): number => others.filter((ring) => ring.acquaintance === of).length;
  switch (acquaintance) {
    case 'known':
      return count('known') < CONTACT_RINGS;
    case 'answered':
      return count('known') + count('answered') < CONTACT_RINGS;
    case 'stranger':
      return count('stranger') < STRANGER_RINGS;
  }
}
