/**
 * Peer devices: the list of a peer's devices, kept in step with the sessions that we hold, and the end of all of them.
 */
import type { Aci, Address, IdentityKind } from '../address.ts';
import type { Staging, Store } from '../store/store.ts';
import type { Peer } from '../store/rows.ts';
import { peers, senderKeys, sessions } from '../store/tables.ts';

/** Another registration id is another device: its tags are unknown, and it has not heard ours. */
export async function noteDevice(
  batch: Staging,
  kind: IdentityKind,
  address: Address,
  registrationId: number,
): Promise<void> {
  const peer: Peer = (await peers.get(batch, kind, address.serviceId)) ?? { devices: [] };
  const known = peer.devices.find((device) => device.id === address.deviceId);
  if (known?.registrationId === registrationId) return;
  const others = peer.devices.filter((device) => device.id !== address.deviceId);
  const devices = [...others, { id: address.deviceId, registrationId }].sort((a, b) => a.id - b.id);
  const announced = peer.announced === undefined ? {} : { announced: '' };
  peers.put(batch, kind, address.serviceId, { ...peer, devices, ...announced });
}

/**
 * Stages the end of every session with a contact, of each device and both our identities, and of the sender keys
 * received from them (verification brief, section 8, steps 3 and 4). Archiving is not enough: libsignal tries old states
 * on receipt and makes the one that fits current again.
 * @returns the device ids whose session of our ACI is gone
 */
export async function deleteSessions(store: Store, batch: Staging, aci: Aci): Promise<number[]> {
  const deviceIds: number[] = [];
  for (const kind of ['aci', 'pni'] as const) {
    for (const deviceId of await devicesWithin(store, sessions.key(kind, aci))) {
      if ((await sessions.get(batch, kind, aci, deviceId)) === undefined) continue;
      sessions.delete(batch, kind, aci, deviceId);
      if (kind === 'aci') deviceIds.push(deviceId);
    }
  }
  for await (const [rest] of senderKeys.scan(store, [aci])) {
    const [deviceId = '', distributionId = ''] = rest.split('/');
    senderKeys.delete(batch, aci, Number(deviceId), distributionId);
  }
  return deviceIds;
}

/** The device ids at the end of the keys that begin with `prefix`. */
export async function devicesWithin(store: Store, prefix: string): Promise<number[]> {
  const ids: number[] = [];
  for await (const [key] of store.scan(prefix)) ids.push(Number(key.slice(prefix.length)));
  return ids;
}
