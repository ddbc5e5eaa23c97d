/**
 * Listening: which envelopes a device opens at all (decision 9; docs/outer-tag.md).
 *
 * `all` opens everything; an outer tag is taken off unread. `tagged` drops, before anything is decrypted or written,
 * whatever has no valid outer tag of a device that we have announced ourselves to. Let through without one: what the
 * server says comes from our own account (transcripts, lists, requests of our other devices), and the server's own
 * delivery receipts, which hold no content.
 */
import { isPni, type ServiceId } from '../address.ts';
import { equal, type Bytes } from '../bytes.ts';
import { ENVELOPE, glanceAtEnvelope, type Envelope, type Glance } from '../content/envelope.ts';
import type { Identities } from '../identities/identities.ts';
import type { Clock } from '../platform.ts';
import {
  dayOf,
  dayWithin,
  holds,
  pairKey,
  peelTag,
  routeKeyOf,
  type OuterEnd,
  type Peeled,
} from '../session/outer-tag.ts';
import type { OwnIdentity } from '../session/own-identity.ts';
import type { Store } from '../store/store.ts';
import type { Peer } from '../store/rows.ts';
import { facts, peers } from '../store/tables.ts';
import { Hints, type Pair } from './hints.ts';

/** What a device opens. */
export const LISTEN = ['all', 'tagged'] as const;
export type Listen = (typeof LISTEN)[number];

export interface ListeningParts {
  readonly mode: Listen;
  readonly store: Store;
  readonly identities: Identities;
  /** Of our ACI. */
  readonly own: OwnIdentity;
  readonly clock: Pick<Clock, 'elapsed' | 'now'>;
}

const FACT = 'listen';

export class Listening {
  readonly mode: Listen;
  readonly #parts: ListeningParts;
  readonly #route: ReturnType<typeof routeKeyOf>;
  readonly #self: OuterEnd;
  readonly #pairs = new Map<ServiceId, readonly Pair[]>();
  readonly #hints: Hints;
  readonly #changed = new Set<ServiceId>();

  constructor(parts: ListeningParts) {
    const { serviceId, deviceId, keys } = parts.own;
    this.mode = parts.mode;
    this.#parts = parts;
    this.#hints = new Hints(parts.clock);
    this.#route = routeKeyOf(parts.own);
    this.#self = { serviceId, deviceId, identityKey: keys.publicKey.serialize() };
  }

  /** Makes the keys of all known pairs; to be awaited before the first envelope. */
  async open(): Promise<void> {
    if (this.mode === 'all') return;
    for await (const [id, peer] of peers.scan(this.#parts.store, ['aci']))
      await this.#read(id as ServiceId, peer);
  }

  /** Devices, tags or the key of a contact may have changed. Returns at once. */
  noteChange(peer: ServiceId): void {
    if (this.mode === 'tagged') this.#changed.add(peer);
  }

  /** Whether changes wait to be read. */
  get isStale(): boolean {
    return this.#changed.size > 0;
  }

  /** Reads the contacts that have changed. @throws BotError `STORE_DAMAGED` */
  async refresh(): Promise<void> {
    const batch = this.#parts.store.batch();
    for (const id of this.#changed) {
      this.#changed.delete(id);
      await this.#read(id, await peers.get(batch, 'aci', id));
    }
  }

  /** Whether an envelope is to be opened. Nothing is decrypted, read from the store or written. */
  hears(body: Bytes): boolean {
    if (this.mode === 'all') return true;
    let envelope: Glance;
    try {
      envelope = glanceAtEnvelope(body);
    } catch {
      return false;
    }
    if (envelope.type === ENVELOPE.RECEIPT) return envelope.content.length === 0;
    if (envelope.type !== ENVELOPE.SEALED) {
      if (envelope.source === this.#self.serviceId) return true;
      if (envelope.source === undefined || !this.#pairs.has(envelope.source)) return false;
    }
    const peeled = peelTag(envelope.content, this.#route);
    return peeled !== undefined && this.#isOurs(peeled, envelope);
  }

  /** The envelope without the tag that its content may bear. */
  strip(envelope: Envelope): Envelope {
    const peeled = peelTag(envelope.content, this.#route);
    return peeled === undefined ? envelope : { ...envelope, content: peeled.content };
  }

  #isOurs(peeled: Peeled, { serverTimestamp, type, source, sourceDevice }: Glance): boolean {
    // By the time at which the server took it: what has waited in its queue for weeks is as good as new.
    const day = dayWithin(peeled.rotation, dayOf(serverTimestamp));
    const found = day === undefined ? undefined : this.#hints.find(day, peeled.hint);
    if (found === undefined) return false;
    const { serviceId, deviceId } = found.pair.from;
    const isSource = type === ENVELOPE.SEALED || (source === serviceId && sourceDevice === deviceId);
    return isSource && holds(peeled, found.key);
  }

  /** Only who was told our route key can make a tag for us; those are the peers that count. */
  async #read(id: ServiceId, peer: Peer | undefined): Promise<void> {
    const { identities, store, own } = this.#parts;
    if (isPni(id) || id === this.#self.serviceId) return;
    const identityKey = await identities.key(store.batch(), id);
    const known = this.#pairs.get(id) ?? [];
    const pairs =
      peer === undefined || identityKey === undefined || !isTold(peer)
        ? []
        : peer.devices.map(({ id: deviceId }): Pair => {
            const from = { serviceId: id, deviceId, identityKey };
            const same = known.find((pair) => isSame(pair.from, from));
            return same ?? { from, secret: pairKey(own.keys.privateKey, identityKey, from, this.#self) };
          });
    for (const pair of known) if (!pairs.includes(pair)) this.#hints.remove(pair);
    for (const pair of pairs) if (!known.includes(pair)) this.#hints.add(pair);
    if (pairs.length === 0) this.#pairs.delete(id);
    else this.#pairs.set(id, pairs);
  }
}

/** How the store's last `run` listened; `all` where none has said. */
export async function lastListen(store: Store): Promise<Listen> {
  return (await facts.get(store.batch(), FACT)) === 'tagged' ? 'tagged' : 'all';
}

/** Notes how this run listens, for commands that open the store when it does not run. */
export async function noteListen(store: Store, mode: Listen): Promise<void> {
  if ((await lastListen(store)) === mode) return;
  const batch = store.batch();
  facts.put(batch, FACT, mode);
  await batch.commit();
}

/** Who was told our tags was told our route key with them; and who has told us theirs was answered. */
function isTold({ announced, devices }: Peer): boolean {
  return announced !== undefined || devices.some(({ tags }) => tags !== undefined);
}

function isSame(a: OuterEnd, b: OuterEnd): boolean {
  return a.serviceId === b.serviceId && a.deviceId === b.deviceId && equal(a.identityKey, b.identityKey);
}
