/**
 * Accounts of the development server: its phones, and what tests do to devices behind their backs.
 */
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import type { Device, KeyKind, Mock } from './mock.ts';
import { Phone } from './phone.ts';
import { countKeys } from './rules/keys.ts';
import type { ServerState } from './state.ts';

export interface PhoneOptions {
  /** E.164; a free one if unsaid. */
  readonly number?: string;
  readonly name?: string;
  /** Default: all that official apps declare. */
  readonly capabilities?: readonly string[];
}

const PRIMARY_CAPABILITIES = [
  'storage',
  'transfer',
  'deleteSync',
  'ssre2',
  'attachmentBackfill',
  'spqr',
  'usernameChangeSyncMessage',
  'versionedExpirationTimer',
];

export class Accounts {
  readonly #state: ServerState;
  readonly #waitClock: Clock;
  /** By ACI. */
  readonly phones = new Map<string, Phone>();
  /** Numbers that were asked for: the mock knows of them only once the phone is made. */
  readonly #given = new Set<string>();

  /** @param waitClock see Phone */
  constructor(state: ServerState, waitClock: Clock) {
    this.#state = state;
    this.#waitClock = waitClock;
  }

  /** @throws BotError `USAGE` when another account has the number */
  async createPhone({ number, name, capabilities }: PhoneOptions): Promise<Phone> {
    if (number !== undefined) this.#take(number);
    const title = name ?? `Phone ${String(this.phones.size + 1)}`;
    const primary = await this.#mock.createPrimary(title, number);
    const phone = new Phone(primary, this.#state, this.#waitClock);
    this.#state.factsOf(primary.device).capabilities = capabilities ?? PRIMARY_CAPABILITIES;
    this.#state.recipients.set(phone.aci, phone);
    this.phones.set(phone.aci, phone);
    return phone;
  }

  /** @throws Error when there is none */
  phone(aci: string): Phone {
    const found = this.phones.get(aci);
    if (found === undefined) throw new Error(`there is no phone ${aci}`);
    return found;
  }

  async relinkSecondaryDevice(aci: string, deviceId: number): Promise<void> {
    const before = this.#registrationId(await this.#device(aci, deviceId));
    let device: Device;
    do {
      await this.phone(aci).removeDevice(deviceId);
      await this.phone(aci).addSecondaryDevice();
      device = await this.#device(aci, deviceId);
    } while (this.#registrationId(device) === before);
  }

  async keyCounts(aci: string, id: number, kind: 'aci' | 'pni'): Promise<{ ec: number; kyber: number }> {
    const { ACI, PNI } = this.#mock.kinds;
    return countKeys(await this.#device(aci, id), kind === 'aci' ? ACI : PNI);
  }

  async exhaustKeys(aci: string, id: number): Promise<void> {
    const device = await this.#device(aci, id);
    for (const kind of [this.#mock.kinds.ACI, this.#mock.kinds.PNI]) await exhaust(device, kind);
  }

  /** Devices of all accounts. */
  async count(): Promise<number> {
    let sum = 0;
    for (const aci of this.phones.keys()) sum += (await this.#mock.devicesOf(aci)).length;
    return sum;
  }

  /** The mock would make a second account of the same number. */
  #take(number: string): void {
    if (this.#given.has(number) || this.#mock.devicesOfNumber(number).length > 0) {
      throw new BotError('USAGE', `another account has the number ${number}`);
    }
    this.#given.add(number);
  }

  get #mock(): Mock {
    return this.#state.mock;
  }

  #registrationId(device: Device): number {
    return device.getCheckedRegistrationId(this.#mock.kinds.ACI);
  }

  async #device(aci: string, id: number): Promise<Device> {
    const found = (await this.#mock.devicesOf(aci)).find((device) => device.deviceId === id);
    if (found === undefined) throw new Error(`there is no device ${String(id)} of ${aci}`);
    return found;
  }
}

async function exhaust(device: Device, kind: KeyKind): Promise<void> {
  const { ec, kyber } = await countKeys(device, kind);
  for (let left = Math.max(ec, kyber); left > 0; left--) await device.popSingleUseKey(kind);
}
