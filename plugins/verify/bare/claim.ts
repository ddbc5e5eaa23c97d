/**
 * Claim: which account a peer of mode 2 says it is, and what is told of a run that was refused for it (`stored.ts`).
 * Spec: verification brief, sections 3.6 (V-12, V-14) and 12.
 */
import type { Aci, BotError, Bytes, Host } from '../../../src/index.ts';
import type { Failure } from '../failure.ts';
import { isSame } from '../messages/wire.ts';
import { toError } from './node.ts';

/** What a peer has sealed of itself. */
export interface Claim {
  readonly aci: Aci;
  readonly identityKey: Bytes;
}

/** Whether a peer may be taken for whom it claims to be. */
export type IsNamed = (claim: Claim) => Promise<boolean>;

/** No other key is known of this account, and this one is not known to be bad. */
export async function isUncontested(host: Host, { aci, identityKey }: Claim): Promise<boolean> {
  const { pin, candidate, revoked } = await host.trust.get(aci);
  const others = [pin, candidate].filter((key) => key !== undefined && !isSame(key, identityKey));
  return others.length === 0 && !revoked.some((key) => isSame(key, identityKey));
}

/** A failure that is about a name, with the names in it. */
export function explain(failure: Failure, claim: Claim | undefined, contact: Aci | undefined): BotError {
  if (failure.code !== 'IDENTITY_CHANGED' || claim === undefined) return toError(failure);
  const { aci } = claim;
  const key = Buffer.from(claim.identityKey).toString('base64');
  if (contact === undefined)
    return toError({
      ...failure,
      message: `the code was right, but the other side calls itself ${aci}, of whom another key is known; nothing was changed`,
      next: `If it is that contact with a new phone, verify it by name: --contact ${aci}`,
    });
  if (contact !== aci)
    return toError({
      ...failure,
      message: `the code was right, but the other side calls itself ${aci} and not ${contact}; nothing was changed`,
      next: 'Find out who was at the other end, and give that contact.',
    });
  return toError({
    ...failure,
    message: `the run has shown another key of ${aci} than the one that was verified before; until this is settled, messages wait`,
    next: `Ask the contact about a new phone: another run takes the new key. If it is not theirs: countersign trust revoke ${aci} --key ${key}`,
  });
}
