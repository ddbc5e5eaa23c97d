/**
 * A scene: phones, and bots linked to them that run in this process over a store of their own. It plays on a development
 * server of its own, or, where `COUNTERSIGN_E2E_PROFILE` names a server profile (`npm run e2e -- --profile FILE`), on that
 * server, with headless primaries in the place of phones; what needs the front (faults, its clock, its keys) is skipped there.
 */
import type { Aci } from '../../src/address.ts';
import { Bot, type BotEvent } from '../../src/bot.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { DialectName } from '../../src/devserver/dialect.ts';
import type { PhoneMessage } from '../../src/devserver/phone.ts';
import type { Listen } from '../../src/inbox/listening.ts';
import { systemPlatform, type Platform } from '../../src/platform.ts';
import { link } from '../../src/provisioning/link.ts';
import { loadProfile, parseProfile, type Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { HeadlessPhone } from './headless-phone.ts';

const profileFile = process.env['COUNTERSIGN_E2E_PROFILE'];
/** Whether the server is somebody else's. */
export const isExternal = profileFile !== undefined;

/** Servers to play on: each dialect of the development server, or the one of the profile, whatever it speaks. */
export const SERVERS: readonly { readonly name: string; readonly dialect?: DialectName }[] = isExternal
  ? [{ name: 'the profile' }]
  : [
      { name: 'June 2025', dialect: 'jun25' },
      { name: 'December 2025', dialect: 'dec25' },
      { name: 'August 2026', dialect: 'aug26' },
    ];

/** What a scene asks of a primary device: a scripted phone has it, and a headless primary. */
export interface ScenePhone {
  readonly aci: string;
  /** @returns when the device is linked */
  link(url: string): Promise<unknown>;
  /** @param options `sealed` holds for scripted phones only */
  send(to: string, text: string, options?: { sealed?: boolean }): Promise<{ timestamp: number }>;
  /** All that came so far. */
  messages(): Promise<readonly PhoneMessage[]>;
  /** @returns false when there is no such linked device */
  removeDevice(deviceId: number): Promise<boolean>;
}

export class Scene {
  readonly #server: DevServer | undefined;
  readonly profile: Profile;
  readonly #running: RunningBot[] = [];
  readonly #headless: HeadlessPhone[] = [];

  private constructor(profile: Profile, server: DevServer | undefined) {
    this.#server = server;
    this.profile = profile;
  }

  /** @param options of the development server; no others have any */
  static async start(options: DevServerOptions = {}): Promise<Scene> {
    if (profileFile !== undefined) return new Scene(await loadProfile(profileFile), undefined);
    const server = await startDevServer(options);
    return new Scene(parseProfile(JSON.stringify(server.profile), '/'), server);
  }

  /** @throws Error on the server of a profile: the test is to be skipped there */
  get server(): DevServer {
    if (this.#server === undefined) throw new Error('only the development server can do this');
    return this.#server;
  }

  async phone(): Promise<ScenePhone> {
    if (this.#server !== undefined) return this.#server.createPhone();
    const phone = await HeadlessPhone.register(this.profile);
    this.#headless.push(phone);
    return phone;
  }

  /** Links a device to the phone's account. */
  async link(
    phone: ScenePhone,
    store: Store = openMemory(),
    name = 'a bot',
  ): Promise<{ account: Account; store: Store }> {
    let scanned: Promise<unknown> | undefined;
    const parts = { store, profile: this.profile, platform: systemPlatform(), name };
    const account = await link(
      parts,
      (event) => {
        if (event.kind === 'url') scanned ??= phone.link(event.url);
      },
      AbortSignal.timeout(30_000),
    );
    await scanned;
    return { account, store };
  }

  /** A phone with a bot linked to it that runs. */
  async bot(configure: (bot: Bot) => void = () => undefined, options: BotChoices = {}): Promise<RunningBot> {
    const phone = options.phone ?? (await this.phone());
    const { account, store } = await this.link(phone, options.store);
    return this.run(phone, account, store, configure, options);
  }

  /** Runs a bot on a store that is linked. */
  async run(
    phone: ScenePhone,
    account: Account,
    store: Store,
    configure: (bot: Bot) => void = () => undefined,
    options: BotChoices = {},
  ): Promise<RunningBot> {
    const running = new RunningBot(phone, account, store, this.profile, configure, options);
    this.#running.push(running);
    await running.ready;
    return running;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((bot) => bot.stop().catch(() => undefined)));
    await Promise.all(this.#headless.map((phone) => phone.stop()));
    await this.#server?.close();
  }
}

export interface BotChoices {
  readonly phone?: ScenePhone;
  readonly store?: Store;
  readonly platform?: Platform;
  readonly profile?: Profile;
  readonly listen?: Listen;
}

export class RunningBot {
  readonly phone: ScenePhone;
  readonly account: Account;
  readonly store: Store;
  readonly bot: Bot;
  readonly events: BotEvent[] = [];
  /** Resolves at the event `ready`; rejects when the bot ends before. */
  readonly ready: Promise<void>;
  /** How `run` ended. */
  readonly ended: Promise<unknown>;
  readonly #stop = new AbortController();

  constructor(
    phone: ScenePhone,
    account: Account,
    store: Store,
    profile: Profile,
    configure: (bot: Bot) => void,
    options: BotChoices,
  ) {
    this.phone = phone;
    this.account = account;
    this.store = store;
    let ready: () => void = () => undefined;
    const isReady = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const platform = options.platform ?? systemPlatform();
    this.bot = new Bot({
      store,
      service: options.profile ?? profile,
      platform,
      ...(options.listen === undefined ? {} : { listen: options.listen }),
      onEvent: (event) => {
        this.events.push(event);
        if (event.kind === 'ready') ready();
      },
    });
    configure(this.bot);
    this.ended = this.bot.run(this.#stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
    const early = this.ended.then((error) => {
      throw error instanceof Error ? error : new Error('the bot stopped');
    });
    this.ready = Promise.race([isReady, early]);
    this.ready.catch(() => undefined);
    early.catch(() => undefined);
  }

  get aci(): Aci {
    return this.account.aci;
  }

  /** @throws what `run` rejected with */
  async stop(): Promise<void> {
    this.#stop.abort();
    const error = await this.ended;
    if (error !== undefined) throw error as Error;
  }
}

/** What a phone has got of one kind, once there are so many of it; what there is after 20 s. */
export async function received(
  phone: ScenePhone,
  kind: PhoneMessage['kind'],
  count: number,
): Promise<PhoneMessage[]> {
  const end = Date.now() + 20_000;
  for (;;) {
    const found = (await phone.messages()).filter((message) => message.kind === kind);
    if (found.length >= count || Date.now() > end) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
