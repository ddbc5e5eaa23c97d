/**
 * Attack lab: a server that lies. Between two accounts it gives out keys of its own in the place of theirs, opens what is
 * sealed for those, reads it, and seals it again in the sender's name, so that neither side notices.
 *
 * What it cannot open, it passes on as it is. Sealed sender is refused (401) for the two, as a server can; clients then
 * send openly.
 * Spec: verification brief, sections 8 and 12; for tests, `countersign demo --attack`, and the control API (`lies.ts`).
 */
import { PrivateKey, ProtocolAddress } from '@signalapp/libsignal-client';
import { toBase64, type Bytes } from '../bytes.ts';
import { decodeContent } from '../content/content.ts';
import { unpad } from '../content/padding.ts';
import { FalseDevice, type SealedEntry, type ServedDevice } from './false-device.ts';
import type { Clock } from '../platform.ts';
import type { Device, Mock } from './mock.ts';

/** Length of an outer tag (docs/outer-tag.md). */
const OUTER_TAG_BYTES = 24;

export interface InterceptorOptions {
  /** Two accounts. */
  readonly between: readonly [string, string];
  /** Who is given false keys of the other; both if unsaid. */
  readonly deceives?: readonly string[];
  /** Only who asks for the keys of one of these devices alone is lied to; all if unsaid. */
  readonly devices?: readonly number[];
  /** Changes padded content on its way; undefined leaves it as it is. */
  readonly meddle?: (content: Bytes, from: string) => Bytes | undefined;
}

/** A text that the one in the middle has read. */
export interface Overheard {
  readonly from: string;
  readonly text: string;
}

export interface RelayedEntry extends SealedEntry {
  readonly destinationDeviceId: number;
}

/** What it uses of the server. */
export interface Tapped {
  readonly clock: Clock;
  readonly mock: Mock;
  readonly interceptors: Interceptor[];
}

export class Interceptor {
  readonly overheard: Overheard[] = [];
  /** Content that was opened and sealed again. */
  relayed = 0;
  readonly #state: Tapped;
  readonly #options: InterceptorOptions;
  readonly #identities: ReadonlyMap<string, PrivateKey>;
  readonly #devices = new Map<string, FalseDevice>();

  constructor(state: Tapped, options: InterceptorOptions) {
    this.#state = state;
    this.#options = options;
    this.#identities = new Map(options.between.map((aci) => [aci, PrivateKey.generate()]));
  }

  get between(): readonly [string, string] {
    return this.#options.between;
  }

  /** 33 bytes: what is given out as the identity key of this account. */
  falseKeyOf(aci: string): Bytes {
    return this.#identityOf(aci).getPublicKey().serialize();
  }

  stop(): void {
    const at = this.#state.interceptors.indexOf(this);
    if (at >= 0) this.#state.interceptors.splice(at, 1);
  }

  /** Whether it sits between these two. @param from undefined: nobody knows */
  isBetween(from: string | undefined, to: string): boolean {
    const { between } = this.#options;
    return between.includes(to) && (from === undefined || (between.includes(from) && from !== to));
  }

  /**
   * Whether who asks for the keys of this account is given false ones. An anonymous caller is taken for the other of the two.
   * @param device a number, or `*`
   */
  deceives(caller: string | undefined, target: string, device: string): boolean {
    const { between, deceives = between, devices } = this.#options;
    if (devices !== undefined && !devices.includes(Number(device))) return false;
    const aci = caller ?? between.find((one) => one !== target);
    return aci !== undefined && deceives.includes(aci);
  }

  /** The answer of GET /v2/keys with false keys in it. */
  async serve(
    target: string,
    devices: readonly { deviceId: number; registrationId: number }[],
  ): Promise<object> {
    const served: ServedDevice[] = [];
    for (const { deviceId, registrationId } of devices) {
      served.push(await this.#device(target, deviceId, registrationId).serve(this.#state.clock.now()));
    }
    return { identityKey: toBase64(this.falseKeyOf(target)), devices: served };
  }

  /** @returns what the recipients get in place of it */
  async relay<T extends RelayedEntry>(
    sender: Device,
    target: string,
    entries: readonly T[],
  ): Promise<readonly T[]> {
    const relayed: T[] = [];
    const texts = new Set<string>(); // the same for each device
    const devices = await this.#state.mock.devicesOf(target);
    for (const entry of entries) {
      const device = devices.find(({ deviceId }) => deviceId === entry.destinationDeviceId);
      const opened = device && (await this.#open(sender, device, entry));
      if (device === undefined || opened === undefined) {
        relayed.push(entry);
        continue;
      }
      const content = decodeContent(unpad(opened));
      if (content.kind === 'text') texts.add(content.text);
      relayed.push({ ...entry, ...(await this.#sealAgain(sender, device, opened)) });
    }
    for (const text of texts) this.overheard.push({ from: sender.aci, text });
    return relayed;
  }

  /** @returns the padded content; undefined when it was not sealed for us */
  async #open(sender: Device, target: Device, entry: RelayedEntry): Promise<Bytes | undefined> {
    const [standIn, from] = [this.#standIn(target), ProtocolAddress.new(sender.aci, sender.deviceId)];
    const opened = await standIn.open(from, entry);
    if (opened !== undefined || entry.content.length <= OUTER_TAG_BYTES) return opened;
    // Bots put a tag behind what they send each other; whoever listens to everything takes it without one too.
    return standIn.open(from, { ...entry, content: entry.content.slice(0, -OUTER_TAG_BYTES) });
  }

  #sealAgain(sender: Device, target: Device, opened: Bytes): Promise<SealedEntry> {
    this.relayed += 1;
    const content = this.#options.meddle?.(opened, sender.aci) ?? opened;
    return this.#standIn(sender).seal(target, this.#state.mock.kinds.ACI, content);
  }

  #standIn(device: Device): FalseDevice {
    const registrationId = device.getCheckedRegistrationId(this.#state.mock.kinds.ACI);
    return this.#device(device.aci, device.deviceId, registrationId);
  }

  #device(aci: string, deviceId: number, registrationId: number): FalseDevice {
    const key = `${aci}.${String(deviceId)}`;
    const known = this.#devices.get(key);
    if (known !== undefined) return known;
    const fresh = new FalseDevice(this.#identityOf(aci), aci, deviceId, registrationId);
    this.#devices.set(key, fresh);
    return fresh;
  }

  #identityOf(aci: string): PrivateKey {
    const identity = this.#identities.get(aci);
    if (identity === undefined) throw new Error(`nobody lies about ${aci}`);
    return identity;
  }
}
