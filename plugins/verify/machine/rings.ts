/**
 * Rings: how many OFFERs may wait for a code at once, so that strangers cannot fill the store or the operator's screen.
 *
 * One per peer, which its slot sees to; five contacts; strangers share one more. The brief has five contacts in all, and
 * leaves open who is one. Whom the account has only answered has begun it themselves, as anybody can towards a bot: five of
 * them would keep out the contacts that people know. So each counts those alone who are known as well or better, which makes
 * ten contacts at most.
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
