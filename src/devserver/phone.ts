/**
 * Phone: a scripted primary device around the mock's own, which does the cryptography.
 *
 * What comes for it is taken in asynchronously and in order, so that whatever a message does to the phone, its sender's PUT
 * is answered as a real server would.
 */
import { Aci } from '@signalapp/libsignal-client';
import { ProfileKey } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { copy, fromBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import type { Mail } from './dialect.ts';
import type { Device, PrimaryDevice } from './mock.ts';
import { mockAddress } from './provisioning-relay.ts';
import { MAX_DEVICES } from './rules/link.ts';
import type { Recipient, ServerState, Token } from './state.ts';

export type MessageKind = 'text' | 'null' | 'sync' | 'receipt' | 'typing' | 'other' | 'undecodable';

/** One message that the phone has decrypted, or failed to. */
export interface PhoneMessage {
  /** ACI; empty where a sealed message could not be opened. */
  readonly from: string;
  readonly device: number;
  readonly kind: MessageKind;
  /** Of texts, and of the text in a sync transcript. */
  readonly text?: string;
  /** ms, the sender's. */
  readonly timestamp: number;
}

export interface PhoneDevice {
  readonly id: number;
  /** Encrypted, base64. */
  readonly name: string | null;
  /** ms, rounded to the day by the list that clients see, exact here. */
  readonly lastSeen: number;
}

/** What `PrimaryDevice.decrypt` gives; private in its types. */
interface Decrypted {
  readonly unsealedSource: Device | undefined;
  readonly content: DecryptedContent;
}
interface DecryptedContent {
  readonly content: {
    readonly dataMessage?: { readonly body?: string | null } | null;
    readonly syncMessage?: {
      readonly content?: {
        readonly sent?: { readonly message?: { readonly body?: string | null } | null } | null;
      } | null;
    } | null;
    readonly nullMessage?: object | null;
    readonly receiptMessage?: object | null;
    readonly typingMessage?: object | null;
    readonly decryptionErrorMessage?: Uint8Array | null;
  } | null;
}
interface PrimaryParts {
  decrypt: (...args: unknown[]) => Promise<Decrypted>;
  readonly sessions: {
    getSession(
      address: Device['address'],
    ): Promise<{ hasCurrentState(now: Date): boolean; remoteRegistrationId(): number } | null>;
  };
}

/** How long a scan waits for the device to register, and then for its one-time keys. */
const LINK_MS = 60_000;
const KEYS_MS = 10_000;

export class Phone implements Recipient {
  readonly #primary: PrimaryDevice;
  readonly #state: ServerState;
  readonly #waitClock: Clock;
  readonly #messages: PhoneMessage[] = [];
  /** Texts by timestamp, to answer retry requests. */
  readonly #sent = new Map<number, string>();
  #decrypted: Decrypted | undefined;
  #incoming: Promise<void> = Promise.resolve();
  #outgoing: Promise<unknown> = Promise.resolve();
  #lastTimestamp = 0;

  /** @param waitClock of waits for something to happen; advancing the server's clock does not end them */
  constructor(primary: PrimaryDevice, state: ServerState, waitClock: Clock) {
    this.#primary = primary;
    this.#state = state;
    this.#waitClock = waitClock;
    const { profileKey: own } = primary as unknown as { readonly profileKey: { serialize(): Uint8Array } };
    const profileKey = new ProfileKey(copy(own.serialize()));
    const version = profileKey.getProfileKeyVersion(Aci.parseFromServiceIdString(primary.device.aci));
    state.factsOf(primary.device).profileVersion = version.toString();
    const parts = primary as unknown as PrimaryParts;
    const decrypt = parts.decrypt.bind(primary);
    parts.decrypt = async (...args) => {
      this.#decrypted = await decrypt(...args); // a sealed message calls it twice; the outer one comes last
      return this.#decrypted;
    };
  }

  get aci(): string {
    return this.#primary.device.aci;
  }

  get pni(): string {
    return this.#primary.device.checkedPni;
  }

  get number(): string {
    return this.#primary.device.checkedNumber;
  }

  get name(): string {
    return this.#primary.profileName;
  }

  /**
   * Scans a link, and waits until the device has registered and uploaded its one-time keys (those no longer than 10 s).
   * @returns the new device's id
   * @throws BotError `LINK_FAILED`, `DEVICE_LIMIT` (a phone at its limit never scans, unless told to)
   */
  async link(url: string, options: { ignoreLimit?: boolean } = {}): Promise<number> {
    const { id, scanned } = readLink(url);
    const devices = await this.#state.mock.devicesOf(this.aci);
    if (devices.length >= MAX_DEVICES && options.ignoreLimit !== true) {
      throw new BotError(
        'DEVICE_LIMIT',
        `the account has ${String(devices.length)} of ${String(MAX_DEVICES)} devices`,
      );
    }
    if (!(await this.#state.mock.scan(id, scanned, this.#primary))) {
      throw new BotError('LINK_FAILED', 'nobody waits for this link: it is used, replaced or too old');
    }
    const find = (): Token | undefined =>
      [...this.#state.tokens.values()].find((token) => token.provisioningId === id);
    const isSettled = (): boolean => find()?.device !== undefined || find()?.refusal !== undefined;
    await this.#state.bell.until(isSettled, this.#waitClock, LINK_MS);
    const token = find();
    if (token?.device === undefined) {
      const status = token?.refusal?.status;
      const why =
        status === undefined
          ? 'the device did not register in time'
          : `the server answered ${String(status)}`;
      throw new BotError('LINK_FAILED', `the link came to nothing: ${why}`);
    }
    const { uploads } = this.#state.factsOf(token.device);
    await this.#state.bell.until(() => uploads.size === 4, this.#waitClock, KEYS_MS);
    return token.device.deviceId;
  }

  /**
   * Sends a text to all devices of an account, and a transcript to the own linked devices; to its own ACI only that ("note
   * to self").
   * @throws BotError `RECIPIENT_UNREGISTERED`
   */
  send(to: string, text: string, options: { sealed?: boolean } = {}): Promise<{ timestamp: number }> {
    const sent = this.#outgoing.then(() => this.#send(to, text, options.sealed ?? false));
    this.#outgoing = sent.catch(() => undefined);
    return sent;
  }

  /** All that came so far; waits until there are `count` of them, or `waitMs` is over. */
  async messages(options: { waitMs?: number; count?: number } = {}): Promise<readonly PhoneMessage[]> {
    const { waitMs = 0, count = 1 } = options;
    await this.#state.bell.until(() => this.#messages.length >= count, this.#waitClock, waitMs);
    return [...this.#messages];
  }

  async devices(): Promise<readonly PhoneDevice[]> {
    const devices = await this.#state.mock.devicesOf(this.aci);
    return devices.map((device) => {
      const { name, lastSeen } = this.#state.factsOf(device);
      return { id: device.deviceId, name, lastSeen };
    });
  }

  /** @returns false when there is no such linked device */
  async removeDevice(deviceId: number): Promise<boolean> {
    return deviceId !== 1 && this.#state.removeDevice(this.aci, deviceId);
  }

  /** Adds a device that nobody uses, so that senders meet 409. @returns its id */
  async addSecondaryDevice(): Promise<number> {
    return (await this.#state.mock.server.createSecondaryDevice(this.#primary)).deviceId;
  }

  async forget(device: Device): Promise<void> {
    if (this.#primary.secondaryDevices.includes(device)) await this.#primary.unlink(device);
  }

  accept(mail: Mail, source: Device | undefined): Promise<void> {
    this.#incoming = this.#incoming.then(() => this.#take(mail, source));
    return this.#incoming;
  }

  async #take(mail: Mail, source: Device | undefined): Promise<void> {
    this.#decrypted = undefined;
    try {
      await this.#state.mock.handOver(this.#primary, source, mail);
    } catch (error) {
      this.#state.log.debug({ error: String(error) }, 'a phone could not take a message');
    }
    const opened = this.#decrypted as Decrypted | undefined;
    const sender = opened?.unsealedSource ?? source;
    const text = opened === undefined ? undefined : textOf(opened.content);
    this.#messages.push({
      from: sender?.aci ?? '',
      device: sender?.deviceId ?? 0,
      kind: opened === undefined ? 'undecodable' : kindOf(opened.content),
      ...(text !== undefined && { text }),
      timestamp: mail.clientTimestamp,
    });
    this.#state.bell.ring();
    if (isPresent(opened?.content.content?.decryptionErrorMessage) && sender !== undefined)
      await this.#resend(sender);
  }

  async #send(to: string, text: string, sealed: boolean): Promise<{ timestamp: number }> {
    const { mock } = this.#state;
    const devices = await mock.devicesOf(to);
    if (devices.length === 0) throw new BotError('RECIPIENT_UNREGISTERED', `there is no account ${to}`);
    const timestamp = this.#nextTimestamp();
    if (to !== this.aci) {
      for (const device of devices) await this.#sendText(device, text, timestamp, sealed);
      this.#sent.set(timestamp, text);
    }
    for (const device of this.#primary.secondaryDevices.filter((each) => each.isProvisioned)) {
      await this.#prepareSession(device);
      const destinationServiceId = to as Device['aci'];
      const sync = await this.#primary.encryptSyncSent(device, text, { timestamp, destinationServiceId });
      await mock.server.send(device, sync);
    }
    return { timestamp };
  }

  async #sendText(device: Device, text: string, timestamp: number, sealed: boolean): Promise<void> {
    await this.#prepareSession(device);
    await this.#primary.sendText(device, text, { timestamp, sealed, withProfileKey: true });
  }

  /** A session with this very device: one of a device id's former holder does not count. */
  async #prepareSession(device: Device): Promise<void> {
    const { sessions } = this.#primary as unknown as PrimaryParts;
    const session = await sessions.getSession(device.address);
    const { ACI } = this.#state.mock.kinds;
    const isCurrent =
      session?.hasCurrentState(new Date()) === true &&
      session.remoteRegistrationId() === device.getCheckedRegistrationId(ACI);
    if (!isCurrent) await this.#primary.addSingleUseKey(device, await device.popSingleUseKey(ACI), ACI);
  }

  /** Answers a retry request: the text again, with its timestamp, on a fresh session. */
  async #resend(device: Device): Promise<void> {
    if (this.#primary.getDecryptionErrorQueueSize() === 0) return; // the mock did not take it as one
    const { timestamp } = await this.#primary.waitForDecryptionError();
    const text = this.#sent.get(timestamp);
    if (text === undefined) return;
    const { ACI } = this.#state.mock.kinds;
    await this.#primary.addSingleUseKey(device, await device.popSingleUseKey(ACI), ACI);
    await this.#primary.sendText(device, text, { timestamp, withProfileKey: true });
  }

  #nextTimestamp(): number {
    this.#lastTimestamp = Math.max(this.#state.clock.now(), this.#lastTimestamp + 1);
    return this.#lastTimestamp;
  }
}

function kindOf({ content }: DecryptedContent): MessageKind {
  if (isPresent(content?.dataMessage)) return textOf({ content }) === undefined ? 'other' : 'text';
  if (isPresent(content?.syncMessage)) return 'sync';
  if (isPresent(content?.nullMessage)) return 'null';
  if (isPresent(content?.receiptMessage)) return 'receipt';
  if (isPresent(content?.typingMessage)) return 'typing';
  return 'other';
}

/** The mock's codec says null or nothing for a field that is not there. */
function isPresent(field: object | null | undefined): boolean {
  return field !== undefined && field !== null;
}

function textOf({ content }: DecryptedContent): string | undefined {
  const body = content?.dataMessage?.body ?? content?.syncMessage?.content?.sent?.message?.body ?? '';
  return body === '' ? undefined : body;
}

/** @throws BotError `LINK_FAILED` */
function readLink(url: string): { id: string; scanned: string } {
  const link = URL.canParse(url) ? new URL(url) : undefined;
  const address = link?.searchParams.get('uuid') ?? '';
  const key = link?.searchParams.get('pub_key') ?? '';
  const id = mockAddress(address);
  const isLink = link?.protocol === 'sgnl:' || link?.protocol === 'tsdevice:';
  if (!isLink || id === undefined || !isKey(key))
    throw new BotError('LINK_FAILED', 'this is not a link of a device');
  return { id, scanned: `tsdevice:/?uuid=${id}&pub_key=${encodeURIComponent(key)}` };
}

function isKey(text: string): boolean {
  try {
    const bytes = fromBase64(text);
    return bytes.length === 33 && bytes[0] === 5;
  } catch {
    return false;
  }
}
