/**
 * Exposure: what a proven false key has laid open (verification brief, section 8, step 6): messages that went out under it
 * before it was healed. The list outlives the run, the process that followed it, and the sent log.
 */
import type { Aci, ServiceId } from '../address.ts';
import { toBase64, type Bytes } from '../bytes.ts';
import { timesAsPin } from '../identities/pin-times.ts';
import type { TrustStep } from '../identities/identities.ts';
import { sentWithin } from '../outbox/holding.ts';
import type { Exposure } from '../store/identity-row.ts';
import type { Staging, Store } from '../store/store.ts';
import { exposures } from '../store/tables.ts';

const MAX_MESSAGES = 500;

/** Stages the list with the change that heals. @param falseKeys 33 bytes each */
export async function noteExposed(
  store: Store,
  staging: Staging,
  { serviceId, after, at }: Pick<TrustStep, 'serviceId' | 'after' | 'at'>,
  falseKeys: readonly Bytes[],
): Promise<void> {
  const spans = falseKeys.flatMap((key) => timesAsPin(after, key));
  const messages = (await sentWithin(store, serviceId, spans)).slice(-MAX_MESSAGES);
  exposures.put(staging, serviceId, at, { at, falseKeys: falseKeys.map(toBase64), messages });
}

/** Oldest first. */
export async function exposuresOf(store: Store, contact: ServiceId): Promise<Exposure[]> {
  const found: Exposure[] = [];
  for await (const [, exposure] of exposures.scan(store, [contact])) found.push(exposure);
  return found;
}

/** Of all contacts. */
export async function* allExposures(store: Store): AsyncIterable<readonly [Aci, Exposure]> {
  for await (const [key, exposure] of exposures.scan(store))
    yield [key.slice(0, key.indexOf('/')) as Aci, exposure];
}
