/**
 * What the front knows beside the mock: facts of devices, link tokens, queues, phones, faults, counters.
 */
import { uuidFromBytes } from '../address.ts';
import { EMPTY, type Bytes } from '../bytes.ts';
import { describe } from '../errors.ts';
import type { Log, Random } from '../platform.ts';
import { Bell } from './bell.ts';
import type { ServerClock } from './clock.ts';
import { DeviceQueue } from './device-queue.ts';
import { owesReceipt, writeEnvelope, type Dialect, type Mail } from './dialect.ts';
import { Faults } from './faults.ts';
import type { Interceptor } from './interceptor.ts';
import type { Device, KeyKind, Mock, MockListener } from './mock.ts';
import { Stats } from './stats.ts';

/** What a real server stores of a device and the mock does not. */
export interface DeviceFacts {
  /** Encrypted, base64; the primary has none. */
  name: string | null;
  capabilities: readonly string[];
  /** ms */
  readonly createdAt: number;
  /** Day of the last connection, ms. */
  lastSeen: number;
  /** One-time keys that were uploaded at least once: `ACI.ec`, `ACI.kyber`, `PNI.ec`, `PNI.kyber`. */
  readonly uploads: Set<string>;
  /** Hex, 64 characters: what registering again must show. */
  registrationLock?: string | undefined;
  /** Anybody may send sealed to the account; on its primary. */
  isUnrestricted?: boolean;
  /** Hex, 64 characters: of the profile that the primary has put. */
  profileVersion?: string | undefined;
}

/** A number on its way to being verified (14). */
export interface Verification {
  readonly number: string;
  /** The mock's name for it. */
  readonly mockId: string;
  readonly begunAt: number;
}

/** A link token, as GET /v1/devices/provisioning/code gives it (2.8). */
export interface Token {
  readonly aci: string;
  /** The mock's id of the provisioning socket that it was made for. */
  readonly provisioningId: string;
  readonly issuedAt: number;
  device: Device | undefined;
  /** Status of the last link request that this token's holder got, when it was final. */
  refusal: { readonly status: number } | undefined;
}

/** A primary device in this process. */
export interface Recipient {
  accept(mail: Mail, source: Device | undefined): Promise<void>;
  forget(device: Device): Promise<void>;
}

/** What a rate limit's bucket held at a time. */
export interface Level {
  readonly left: number;
  /** ms */
  readonly at: number;
}

/** The sockets of a device, as removing it needs them. */
export type CloseSockets = (device: Device, code: number, reason: string) => void;

export interface StateParts {
  readonly dialect: Dialect;
  readonly clock: ServerClock;
  readonly random: Random;
  readonly log: Log;
}

export class ServerState implements MockListener {
  readonly dialect: Dialect;
  readonly clock: ServerClock;
  readonly random: Random;
  readonly log: Log;
  readonly faults = new Faults();
  readonly stats = new Stats();
  readonly tokens = new Map<string, Token>();
  /** By the id that clients see. */
  readonly verifications = new Map<string, Verification>();
  /** By number: what registers it again without a verification (14). */
  readonly recoveryPasswords = new Map<string, Bytes>();
  /** By provisioning address: takes an envelope to who waits there. */
  readonly provisioning = new Map<string, (envelope: Bytes) => void>();
  /** Who sits between two accounts. */
  readonly interceptors: Interceptor[] = [];
  /** Primaries in this process by ACI. */
  readonly recipients = new Map<string, Recipient>();
  /** Rings when a token, an upload or a phone's message has changed. */
  readonly bell = new Bell();
  /** What is left in the buckets of 1.9, by the limit's name and whose it is. */
  readonly levels = new Map<string, Level>();
  closeSockets: CloseSockets = () => undefined;
  readonly #over = new AbortController();
  readonly #facts = new WeakMap<Device, DeviceFacts>();
  readonly #queues = new Map<Device, DeviceQueue>();
  #mock: Mock | undefined;

  constructor(parts: StateParts) {
    this.dialect = parts.dialect;
    this.clock = parts.clock;
    this.random = parts.random;
    this.log = parts.log;
  }

  get mock(): Mock {
    if (this.#mock === undefined) throw new Error('the mock has not started');
    return this.#mock;
  }

  start(mock: Mock): void {
    this.#mock = mock;
  }

  /** Aborted when the server closes: what sleeps for no socket wakes. */
  get ended(): AbortSignal {
    return this.#over.signal;
  }

  close(): void {
    this.bell.close();
    this.#over.abort();
  }

  /** Takes a promise that nobody waits for; a failure is logged. */
  inBackground(work: Promise<unknown>, what: string): void {
    work.catch((error: unknown) => {
      this.log.warn({ error: describe(error) }, what);
    });
  }

  factsOf(device: Device): DeviceFacts {
    const known = this.#facts.get(device);
    if (known !== undefined) return known;
    const now = this.clock.now();
    const facts: DeviceFacts = {
      name: null,
      capabilities: [],
      createdAt: now,
      lastSeen: now,
      uploads: new Set(),
    };
    this.#facts.set(device, facts);
    return facts;
  }

  queueOf(device: Device): DeviceQueue {
    const known = this.#queues.get(device);
    if (known !== undefined) return known;
    const queue = new DeviceQueue({
      dialect: this.dialect,
      clock: this.clock,
      takeFault: () =>
        this.faults.take({ kind: 'delivery', verb: 'PUT', path: '/api/v1/message', aci: device.aci }),
      onDelivered: () => {
        this.stats.deliveries += 1;
      },
      onAcked: (mail) => {
        this.stats.acks += 1;
        this.inBackground(this.#sendReceipts(mail, device), 'a receipt failed');
      },
    });
    this.#queues.set(device, queue);
    return queue;
  }

  /** Messages that wait for linked devices. */
  get queued(): number {
    let sum = 0;
    for (const queue of this.#queues.values()) sum += queue.length;
    return sum;
  }

  /** Keys, queue and sockets go with the device (2.9). @returns false when there is no such device */
  async removeDevice(aci: string, deviceId: number): Promise<boolean> {
    const device = (await this.mock.devicesOf(aci)).find((each) => each.deviceId === deviceId);
    if (device === undefined) return false;
    await this.mock.server.removeDeviceByServiceId(device.aci, device.deviceId);
    await this.forgetDevice(device);
    this.disconnect(device);
    return true;
  }

  /** Closes the sockets that a device has now; its credentials are looked at when it comes back. */
  disconnect(device: Device): void {
    this.closeSockets(device, 4401, 'Reauthentication required');
  }

  /** What is left of a device that the mock has forgotten. */
  async forgetDevice(device: Device): Promise<void> {
    await this.recipients.get(device.aci)?.forget(device);
    this.#queues.get(device)?.clear();
    this.#queues.delete(device);
  }

  onMail(target: Device, sender: Device | undefined, sent: Mail): void {
    this.stats.mails += 1;
    // A story never says who sent it (5.1).
    const [source, mail] = sent.story ? [undefined, { ...sent, source: undefined }] : [sender, sent];
    const recipient = target.deviceId === 1 ? this.recipients.get(target.aci) : undefined;
    if (recipient !== undefined) {
      if (mail.type === 5) return; // for the server's own receipts a phone has no use here
      const taken = recipient.accept(mail, source).then(() => this.#sendReceipts(mail, target));
      this.inBackground(taken, 'a phone failed');
      return;
    }
    if (!target.isProvisioned) return; // nobody can ever connect as this device
    this.queueOf(target).push(mail, this.#write(mail));
  }

  onToken(token: string, provisioningId: string, aci: string): void {
    this.tokens.set(token, {
      aci,
      provisioningId,
      issuedAt: this.clock.now(),
      device: undefined,
      refusal: undefined,
    });
  }

  onLinked(token: string, device: Device): void {
    const entry = this.tokens.get(token);
    if (entry !== undefined) entry.device = device;
    this.bell.ring();
  }

  onKeys(device: Device, kind: KeyKind, parts: { ec: boolean; kyber: boolean }): void {
    const { uploads } = this.factsOf(device);
    if (parts.ec) uploads.add(`${kind}.ec`);
    if (parts.kyber) uploads.add(`${kind}.kyber`);
    this.bell.ring();
  }

  #write(mail: Mail): Bytes {
    return writeEnvelope(this.dialect, mail, uuidFromBytes(this.random.bytes(16)), this.clock.now());
  }

  /** Type 5, to every device of an unsealed sender, once per device that acknowledged (6.1). */
  async #sendReceipts(mail: Mail, receiver: Device): Promise<void> {
    if (!owesReceipt(mail) || mail.source === undefined) return;
    for (const device of await this.mock.devicesOf(mail.source.serviceId)) {
      this.onMail(device, receiver, {
        type: 5,
        source: { serviceId: mail.destination, deviceId: receiver.deviceId },
        destination: mail.source.serviceId,
        clientTimestamp: mail.clientTimestamp,
        content: EMPTY,
        urgent: false,
        story: false,
        online: false,
      });
    }
  }
}
