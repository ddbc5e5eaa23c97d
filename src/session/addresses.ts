/**
 * Addresses: libsignal's form of an address, made once for each device that is written with.
 */
import { ProtocolAddress } from '@signalapp/libsignal-client';
import type { Address } from '../address.ts';

/** Addresses that are remembered. */
const ADDRESSES = 1000;

/** Made again for every message, each would be one more object outside of the heap for the collector of garbage. */
export class Addresses {
  readonly #known = new Map<string, ProtocolAddress>();

  of({ serviceId, deviceId }: Address): ProtocolAddress {
    const name = `${serviceId}.${String(deviceId)}`;
    let address = this.#known.get(name);
    if (address !== undefined) return address;
    address = ProtocolAddress.new(serviceId, deviceId);
    if (this.#known.size >= ADDRESSES) this.#known.clear();
    this.#known.set(name, address);
    return address;
  }
}
