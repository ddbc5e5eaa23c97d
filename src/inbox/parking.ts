/**
 * Parking: what comes from a contact whose key is not trusted now (verification brief, 3.1 and V-31).
 *
 * A frame of a run is taken by the carrier; anything else from a contact in `changed` is kept as it came, before any
 * state is written, so that it can be opened once the key is verified or accepted; from a `revoked` one it is dropped.
 */
import type { ServiceId } from '../address.ts';
import { equal, type Bytes } from '../bytes.ts';
import type { Envelope } from '../content/envelope.ts';
import type { Identities } from '../identities/identities.ts';
import type { Platform } from '../platform.ts';
import { VERIFY_TAG, type Carried, type Carrier } from '../session/carrier.ts';
import type { Identified } from '../session/identify.ts';
import type { OwnTags } from '../session/peer-tags.ts';
import type { Opened } from '../session/session.ts';
import { Newest, type Bounds } from '../store/newest.ts';
import type { Batch, Staging, Store } from '../store/store.ts';
import type { QuarantineRow } from '../store/rows.ts';
import { padded, parkedRows, sessions } from '../store/tables.ts';

/** Envelopes that are kept of one contact: the newest. */
export const MAX_PARKED = 100;
const PARKED: Bounds = { rows: MAX_PARKED, bytes: 8 * 1024 * 1024 };

export interface ParkingParts {
  readonly store: Store;
  readonly carrier: Carrier;
  readonly identities: Identities;
  readonly platform: Platform;
  readonly tags: OwnTags;
}

/** How an opening ended that is not `opened` or `duplicate`. */
export type Unopened = Exclude<Opened, { kind: 'opened' | 'duplicate' }>;

export class Parking {
  readonly #parts: ParkingParts;

  constructor(parts: ParkingParts) {
    this.#parts = parts;
  }

  /**
   * Tries the carrier, on a batch of its own.
   * @returns a frame with its batch to be committed; undefined when it holds none, and nothing was staged that counts
   */
  async frame(
    message: Identified,
    unopened: Unopened,
  ): Promise<{ readonly batch: Batch; readonly carried: Carried } | undefined> {
    const { store, carrier, tags } = this.#parts;
    const batch = store.batch();
    if (!tags.handles(VERIFY_TAG) || !(await this.#mayBeFrame(batch, message, unopened))) return undefined;
    const carried = await carrier.open(batch, message);
    const content = carried?.parts.content;
    return carried !== undefined && content?.kind === 'app' && content.tag === VERIFY_TAG
      ? { batch, carried }
      : undefined;
  }

  /** Where trust is back: what was sealed in a session that only the carrier has, under the key that is trusted now. */
  async late(message: Identified): Promise<{ readonly batch: Batch; readonly carried: Carried } | undefined> {
    const { store, carrier } = this.#parts;
    const batch = store.batch();
    if (!(await carrier.has(batch, message.source))) return undefined;
    const carried = await carrier.open(batch, message, 'strict');
    return carried === undefined ? undefined : { batch, carried };
  }

  /**
   * The same where a run has opened a session with this device since: libsignal makes a session current that opens a
   * message, and the one of the run must stay that. The other side has done with those before it.
   */
  async aside(
    message: Identified,
  ): Promise<{ readonly batch: Batch; readonly carried: Carried } | undefined> {
    const { store, carrier } = this.#parts;
    const { serviceId, deviceId } = message.source;
    const batch = store.batch();
    const hasBoth =
      (await carrier.isOpen(batch, serviceId)) &&
      (await sessions.get(batch, 'aci', serviceId, deviceId)) !== undefined;
    const carried = hasBoth ? await carrier.open(batch, message, 'strict') : undefined;
    return carried === undefined ? undefined : { batch, carried };
  }

  /**
   * Stages what becomes of an envelope that trust does not let in.
   * @returns undefined when trust is not the reason
   */
  async refuse(
    batch: Batch,
    { source }: Identified,
    unopened: Unopened,
    envelope: Envelope,
    body: Bytes,
  ): Promise<'parked' | 'dropped' | undefined> {
    const { identities, platform } = this.#parts;
    const { serviceId } = source;
    if (unopened.kind === 'unreadable') {
      if (unopened.untrusted === undefined) return undefined;
      await identities.save(batch, serviceId, unopened.untrusted);
    }
    const standing = await identities.standing(batch, serviceId);
    if (standing === 'open' && !(await this.#isBad(batch, serviceId, unopened))) return undefined; // our own account
    // A key that is known to be bad leaves a contact as they are; what comes under it is not kept.
    if (standing !== 'changed') {
      platform.log.warn({ from: serviceId }, 'dropped an envelope under a key that was revoked');
      return 'dropped';
    }
    await this.#park(batch, serviceId, {
      source: serviceId,
      sourceDevice: source.deviceId,
      timestamp: envelope.timestamp,
      at: platform.clock.now(),
      reason: 'the identity key of the sender has changed',
      envelope: body,
    });
    return 'parked';
  }

  /** The contacts of whom something is parked and may be opened now. */
  async *ready(): AsyncIterable<ServiceId> {
    const { store, identities } = this.#parts;
    let last: string | undefined;
    for await (const [rest] of parkedRows.scan(store)) {
      const [source = ''] = rest.split('/');
      if (source === last) continue;
      last = source;
      if ((await identities.standing(store.batch(), source as ServiceId)) === 'open')
        yield source as ServiceId;
    }
  }

  /** What is parked of a contact, oldest first. */
  async rows(from: ServiceId): Promise<readonly (readonly [id: number, row: QuarantineRow])[]> {
    const found: [number, QuarantineRow][] = [];
    for await (const [id, row] of parkedRows.scan(this.#parts.store, [from])) found.push([Number(id), row]);
    return found;
  }

  /** Forgets one that was opened, and with the last of them a carrier whose run is over. */
  async forget(from: ServiceId, id: number): Promise<void> {
    const { store } = this.#parts;
    const batch = store.batch();
    parkedRows.delete(batch, from, id);
    await batch.commit();
  }

  /** Nothing is parked any more: a carrier whose run is over goes. */
  async emptied(from: ServiceId): Promise<void> {
    const { store, carrier } = this.#parts;
    const batch = store.batch();
    if (!(await carrier.isEnding(batch, from))) return;
    await carrier.end(batch, from);
    await batch.commit();
  }

  async #mayBeFrame(batch: Staging, message: Identified, unopened: Unopened): Promise<boolean> {
    const { carrier } = this.#parts;
    if (unopened.kind === 'refused') {
      // From a revoked contact only while a run of ours is under way.
      return unopened.standing === 'changed' || carrier.isOpen(batch, message.source.serviceId);
    }
    if (unopened.untrusted === undefined) return carrier.has(batch, message.source);
    const isBad = await this.#isBad(batch, message.source.serviceId, unopened);
    return !isBad || carrier.isOpen(batch, message.source.serviceId);
  }

  /** Whether it came under a key that is on the revoked list. */
  async #isBad(batch: Staging, from: ServiceId, unopened: Unopened): Promise<boolean> {
    const key = unopened.kind === 'unreadable' ? unopened.untrusted : undefined;
    if (key === undefined) return false;
    const { revoked } = await this.#parts.identities.get(batch, from);
    return revoked.some((bad) => equal(bad, key));
  }

  async #park(batch: Batch, from: ServiceId, row: QuarantineRow): Promise<void> {
    const newest = new Newest<number>(PARKED);
    let last = 0;
    const drop = (ids: readonly number[]): void => {
      for (const old of ids) parkedRows.delete(batch, from, old);
    };
    for await (const [key, { envelope }] of parkedRows.scan(this.#parts.store, [from])) {
      last = Number(key);
      drop(newest.add(last, envelope.length));
    }
    const id = Math.max(last + 1, row.at * 1000);
    drop(newest.add(id, row.envelope.length));
    parkedRows.put(batch, from, id, row);
  }
}

/** Forgets all that is parked of a contact. @returns how many */
export async function discardParked(store: Store, batch: Staging, from: ServiceId): Promise<number> {
  const prefix = parkedRows.key(from);
  let count = 0;
  for await (const [key] of store.scan(prefix)) {
    batch.delete(prefix + padded(Number(key.slice(prefix.length))));
    count++;
  }
  return count;
}

/** How many are parked. */
export async function countParked(store: Store, from: ServiceId): Promise<number> {
  let count = 0;
  for await (const [key] of store.scan(parkedRows.key(from))) count += key === '' ? 0 : 1;
  return count;
}
