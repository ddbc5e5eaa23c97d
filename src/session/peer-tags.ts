/**
 * Peer tags: which app tags the devices of a peer handle, and whether we have told them ours, so that app messages go
 * to devices that have the plugin alone (decision 8). Rows change in the peer's lane only.
 */
import { createHash } from 'node:crypto';
import type { Address, DeviceId, ServiceId } from '../address.ts';
import { ANNOUNCE, encodeAnnouncement, type Tag } from '../content/app-message.ts';
import { encodeApp } from '../content/encode.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Batch, Store } from '../store/store.ts';
import type { OutboxRow, Peer } from '../store/rows.ts';
import { outboxRows, peers } from '../store/tables.ts';
import { newRow } from '../store/outbox-row.ts';

/** Our own tags as they are announced. */
export class OwnTags {
  readonly #tags: readonly Tag[] | undefined;
  readonly #told: readonly Tag[];
  readonly #hash: string;

  /**
   * @param tags undefined: not known in this process, so all are taken and none is announced
   * @param mark the line by which peers learn how to make outer tags for us (`outer-tag.ts`)
   * @param occasion with another one than before, all are told again at the start
   */
  constructor(tags: readonly Tag[] | undefined, mark?: Tag, occasion = '') {
    this.#tags = tags;
    this.#told = [...(tags ?? []), ...(mark === undefined ? [] : [mark])].sort();
    this.#hash = createHash('sha256')
      .update(this.#told.join('\n') + occasion)
      .digest('base64url')
      .slice(0, 16);
  }

  handles(tag: Tag): boolean {
    return this.#tags?.includes(tag) ?? true;
  }

  /** Whether what a peer was told is what we handle now. */
  isAnnounced(hash: string): boolean {
    return this.#tags === undefined || hash === this.#hash;
  }

  /** The row that tells a peer our tags; undefined when it has been told. Stages the note that it has. */
  async announce(batch: Batch, to: ServiceId, stamp: () => number): Promise<OutboxRow | undefined> {
    if (this.#tags === undefined) return undefined;
    const peer: Peer = (await peers.get(batch, 'aci', to)) ?? { devices: [] };
    if (peer.announced === this.#hash) return undefined;
    peers.put(batch, 'aci', to, { ...peer, announced: this.#hash });
    const content = encodeApp(ANNOUNCE, encodeAnnouncement(this.#told));
    return newRow({ recipient: to, timestamp: stamp(), kind: 'announce', content });
  }
}

/** Leaves an announcement for each peer that was told other tags before: a plugin has come or gone since. */
export async function announceChanges(store: Store, tags: OwnTags, stamp: () => number): Promise<void> {
  for await (const [to, { announced }] of peers.scan(store, ['aci'])) {
    if (announced === undefined || tags.isAnnounced(announced)) continue;
    await writeAgainOnConflict(store, async (batch) => {
      const row = await tags.announce(batch, to as ServiceId, stamp);
      if (row !== undefined) outboxRows.put(batch, row.recipient, row.timestamp, row);
    });
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The announcement did not arrive: the next app message brings another. */
export async function forgetAnnounced(batch: Batch, to: ServiceId): Promise<void> {
  const peer = await peers.get(batch, 'aci', to);
  if (peer?.announced === undefined) return;
  const rest: Mutable<Peer> = { ...peer };
  delete rest.announced;
  peers.put(batch, 'aci', to, rest);
}

/** A device has said which tags it handles. */
export async function noteTags(batch: Batch, from: Address, tags: readonly Tag[]): Promise<void> {
  const peer = await peers.get(batch, 'aci', from.serviceId);
  if (peer === undefined) return;
  const devices = peer.devices.map((device) => (device.id === from.deviceId ? { ...device, tags } : device));
  peers.put(batch, 'aci', from.serviceId, { ...peer, devices });
}

/** Whether a device is to get the message itself, and not a filler. A device that has announced nothing may have the plugin. */
export function isMeant(peer: Peer, deviceId: DeviceId, tag: string, only: readonly DeviceId[]): boolean {
  if (only.length > 0) return only.includes(deviceId);
  const tags = peer.devices.find((device) => device.id === deviceId)?.tags;
  return tag === '' || tags === undefined || tags.includes(tag);
}
