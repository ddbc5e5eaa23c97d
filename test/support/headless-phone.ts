/**
 * A phone where there is none: a headless primary, registered on the server of a profile under a number of its own, with the
 * face that the tests know from the development server's scripted phones.
 */
import { randomInt } from 'node:crypto';
import { parseServiceId } from '../../src/address.ts';
import { approve } from '../../src/account/approve.ts';
import { Bot, type BotEvent } from '../../src/bot.ts';
import type { MessageKind, PhoneMessage } from '../../src/devserver/phone.ts';
import { systemPlatform } from '../../src/platform.ts';
import { listDevices, removeDevice } from '../../src/service/devices.ts';
import type { Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { registerHere } from './primary.ts';
import type { ScenePhone } from './scene.ts';

const SEND_MS = 120_000;
const UNSEEN: readonly string[] = ['null', 'receipt', 'typing', 'undecodable'] satisfies MessageKind[];

export class HeadlessPhone implements ScenePhone {
  readonly #store: Store;
  readonly #account: Account;
  readonly #bot: Bot;
  readonly #messages: PhoneMessage[] = [];
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;

  private constructor(profile: Profile, store: Store, account: Account, onReady: () => void) {
    this.#store = store;
    this.#account = account;
    const onEvent = (event: BotEvent): void => {
      if (event.kind === 'ready') onReady();
      else if (event.kind === 'unseen') this.#take(event.from, event.deviceId, event.what, event.timestamp);
    };
    this.#bot = new Bot({ store, service: profile, platform: systemPlatform(), onEvent });
    this.#bot.handle((on) => {
      // A text of one's own devices is a transcript, "note to self" included.
      on.text(({ sender, text, timestamp }) => {
        const kind = sender.serviceId === account.aci ? 'sync' : 'text';
        this.#take(sender.serviceId, sender.deviceId, kind, timestamp, text);
      });
      on.receipt(({ sender, timestamp }) => {
        this.#take(sender.serviceId, sender.deviceId, 'receipt', timestamp);
      });
      on.sync(({ sender, timestamp, content: { sync } }) => {
        const text = sync.type === 'sent' && sync.content.kind === 'text' ? sync.content.text : undefined;
        this.#take(sender.serviceId, sender.deviceId, 'sync', timestamp, text);
      });
    });
    this.#ended = this.#bot.run(this.#stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  static async register(profile: Profile): Promise<HeadlessPhone> {
    const store = openMemory();
    const { account } = await registerHere(profile, store, randomNumber());
    let phone: HeadlessPhone | undefined;
    const ready = new Promise<void>((resolve) => {
      phone = new HeadlessPhone(profile, store, account, resolve);
    });
    const early = phone?.stopped.then((error) => {
      throw error instanceof Error ? error : new Error('the headless phone stopped');
    });
    await Promise.race([ready, early]);
    early?.catch(() => undefined);
    if (phone === undefined) throw new Error('there is no phone');
    return phone;
  }

  get aci(): string {
    return this.#account.aci;
  }

  /** What `run` rejected with. */
  get stopped(): Promise<unknown> {
    return this.#ended;
  }

  async link(url: string): Promise<number> {
    const parts = { store: this.#store, platform: systemPlatform(), requester: this.#bot.requester };
    return (await approve(parts, url, 25_000, AbortSignal.timeout(60_000))).deviceId;
  }

  /** Sealed or not is for the primary to choose: it seals where it knows the recipient's profile key. */
  async send(to: string, text: string): Promise<{ timestamp: number }> {
    const recipient = parseServiceId(to);
    const { timestamp } = await this.#bot.send(recipient, { kind: 'text', text });
    const end = await this.#bot.sent(recipient, timestamp, AbortSignal.timeout(SEND_MS));
    if (end.state === 'failed') throw end.error;
    return { timestamp };
  }

  messages(): Promise<readonly PhoneMessage[]> {
    return Promise.resolve([...this.#messages]);
  }

  async removeDevice(deviceId: number): Promise<boolean> {
    const devices = await listDevices(this.#bot.requester);
    if (devices === 'not-offered' || !devices.some(({ id }) => id === deviceId)) return false;
    return (await removeDevice(this.#bot.requester, deviceId)) === 'removed';
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  #take(from: string, device: number, what: string, timestamp: number, text?: string): void {
    // To a phone an app message is a null message; this one can tell them apart, being made of the same parts.
    const seen = what === 'app' ? 'null' : what;
    const isKnown = seen === 'text' || seen === 'sync' || UNSEEN.includes(seen);
    const kind = isKnown ? (seen as MessageKind) : 'other';
    this.#messages.push({ from, device, kind, timestamp, ...(text !== undefined && { text }) });
  }
}

/** Valid as a number, and with luck nobody's: there are eight million of them. */
function randomNumber(): string {
  return `+1415${String(randomInt(2_000_000, 9_999_999))}`;
}
