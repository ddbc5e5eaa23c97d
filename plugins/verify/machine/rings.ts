/**
 * Rings: how many OFFERs may wait for a code at once, so that strangers cannot fill the store or the operator's screen.
 *
 * One per peer, which its slot sees to; five contacts in all; strangers share one more.
 * Spec: verification brief, section 4.
 */
import type { Aci } from '../../../src/index.ts';

export const CONTACT_RINGS = 5;
export const STRANGER_RINGS = 1;

export interface Ring {
  readonly peer: Aci;
  /** Known to the account, by whatever means, before it rang. */
  readonly isContact: boolean;
}

/** Whether this peer may ring beside those that do. A peer that rings already may always: its OFFER replaces the other. */
export function hasRoom(ringing: readonly Ring[], { peer, isContact }: Ring): boolean {
  const others = ringing.filter((ring) => ring.peer !== peer);
  const alike = others.filter((ring) => ring.isContact === isContact);
  return alike.length < (isContact ? CONTACT_RINGS : STRANGER_RINGS);
}
