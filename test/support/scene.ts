/**
 * A scene on the development server: phones, and bots linked to them that run in this process over a store of their own.
 */
import type { Aci } from '../../src/address.ts';
import { Bot, type BotEvent } from '../../src/bot.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone, PhoneMessage } from '../../src/devserver/phone.ts';
import { systemPlatform, type Platform } from '../../src/platform.ts';
import { link } from '../../src/provisioning/link.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/tables.ts';

export class Scene {
  readonly server: DevServer;
  readonly profile: Profile;
  readonly #running: RunningBot[] = [];

  private constructor(server: DevServer) {
    this.server = server;
    this.profile = parseProfile(JSON.stringify(server.profile), '/');
  }

  static async start(options: DevServerOptions = {}): Promise<Scene> {
    return new Scene(await startDevServer(options));
  }

  /** Links a device to the phone's account. */
  async link(
    phone: Phone,
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
    const phone = options.phone ?? (await this.server.createPhone());
    const { account, store } = await this.link(phone, options.store);
    return this.run(phone, account, store, configure, options);
  }

  /** Runs a bot on a store that is linked. */
  async run(
    phone: Phone,
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
    await this.server.close();
  }
}

export interface BotChoices {
  readonly phone?: Phone;
  readonly store?: Store;
  readonly platform?: Platform;
  readonly profile?: Profile;
}

export class RunningBot {
  readonly phone: Phone;
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
    phone: Phone,
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
  phone: Phone,
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
