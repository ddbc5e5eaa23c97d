/**
 * Proofs: by what the key that is held of a contact was verified.
 */
import type { ContactIdentity, Evidence, Proof } from '../../../src/index.ts';

const VERIFIED = 'verified by ';
const CONTRADICTED = 'contradicted by ';

/**
 * Proofs of the pin, newest first; those of other keys are left out. Evidence names no key, but each proof has a line
 * of the history that does, and both lists lose their oldest only: so they are read in step from their ends.
 */
export function proofsOfPin({ pin, evidence, history }: ContactIdentity): Proof[] {
  const key = pin === undefined ? '' : Buffer.from(pin).toString('base64');
  const lines = history
    .filter(({ event }) => event.startsWith(VERIFIED) || event.startsWith(CONTRADICTED))
    .reverse();
  const proofs = evidence.filter(isProof).reverse();
  return proofs.filter((_, i) => {
    const line = lines[i];
    return line?.key === key && line.event.startsWith(VERIFIED);
  });
}

/** When the pin was verified last, ms; undefined where it is not verified now. */
export function verifiedAt(contact: ContactIdentity): number | undefined {
  return contact.state === 'verified' ? proofsOfPin(contact)[0]?.at : undefined;
}

function isProof(item: Evidence): item is Proof {
  return item.kind === 'pake' || item.kind === 'safety-number' || item.kind === 'imported';
}
