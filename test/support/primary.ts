/**
 * A headless primary on the development server: registered over a store of its own, and run as a bot that writes down what
 * it is told.
 */
import { approve, type ApprovedDevice } from '../../src/account/approve.ts';
import { register, type RegisterQuestions, type RegisteredAccount } from '../../src/account/register.ts';
import { Bot, type BotEvent } from '../../src/bot.ts';
import { systemPlatform } from '../../src/platform.ts';
import { link } from '../../src/provisioning/link.ts';
import type { Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import type { Requester } from '../../src/transport/request.ts';
import { until } from './until.ts';

export const CAPTCHA = 'noop.noop.registration.noop';
export const CODE = '111111';

/** Answers as a user who knows both, and agrees to everything or nothing. */
export function answers(takeOver = false): RegisterQuestions {
  return {
    captcha: () => Promise.resolve(CAPTCHA),
    code: (again) => Promise.resolve(again ? undefined : CODE),
    takeOver: () => Promise.resolve(takeOver),
  };
}

let numbers = 0;

/** One that no other account has. */
export function freeNumber(): string {
  numbers += 1;
  return `+1555${String(7_000_000 + numbers)}`;
}

export function registerHere(
  profile: Profile,
  store: Store,
  number: string,
  questions: RegisterQuestions = answers(),
): Promise<RegisteredAccount> {
  const parts = { store, profile, platform: systemPlatform(), number, name: `Owner of ${number}`, questions };
  return register(parts, () => undefined, AbortSignal.timeout(30_000));
}

export interface Told {
  readonly from: string;
  readonly device: number;
  readonly text: string;
}

export class Primary {
  readonly profile: Profile;
  readonly store: Store;
  readonly account: Account;
  readonly bot: Bot;
  readonly events: BotEvent[] = [];
  readonly texts: Told[] = [];
  /** Texts in transcripts of linked devices. */
  readonly transcripts: string[] = [];
  /** How `run` ended. */
  readonly ended: Promise<unknown>;
  readonly #stop = new AbortController();

  private constructor(profile: Profile, store: Store, account: Account) {
    this.profile = profile;
    this.store = store;
    this.account = account;
    this.bot = new Bot({
      store,
      service: profile,
      platform: systemPlatform(),
      onEvent: (event) => {
        this.events.push(event);
      },
    });
    this.bot.handle((on) => {
      on.text(({ sender, text }) => {
        this.texts.push({ from: sender.serviceId, device: sender.deviceId, text });
      });
      on.sync(({ content: { sync } }) => {
        if (sync.type === 'sent' && sync.content.kind === 'text') this.transcripts.push(sync.content.text);
      });
    });
    this.ended = this.bot.run(this.#stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  static async start(profile: Profile, number = freeNumber(), store = openMemory()): Promise<Primary> {
    const { account } = await registerHere(profile, store, number);
    return Primary.run(profile, store, account);
  }

  static async run(profile: Profile, store: Store, account: Account): Promise<Primary> {
    const primary = new Primary(profile, store, account);
    await until(() => primary.events.some(({ kind }) => kind === 'ready'));
    return primary;
  }

  /** Links a device: it shows a link, the primary approves it. */
  async link(
    name = 'a bot',
    store: Store = openMemory(),
    requester?: Requester,
  ): Promise<{ account: Account; store: Store; approved: ApprovedDevice }> {
    let approved: Promise<ApprovedDevice> | undefined;
    const account = await link(
      { store, profile: this.profile, platform: systemPlatform(), name },
      (event) => {
        if (event.kind === 'url') approved ??= this.approve(event.url, requester);
      },
      AbortSignal.timeout(30_000),
    );
    if (approved === undefined) throw new Error('no link was shown');
    return { account, store, approved: await approved };
  }

  /** @param requester in place of the bot's own, to look at what is asked */
  approve(url: string, requester: Requester = this.bot.requester): Promise<ApprovedDevice> {
    const parts = { store: this.store, platform: systemPlatform(), requester };
    return approve(parts, url, 20_000, AbortSignal.timeout(30_000));
  }

  /** @returns devices that got it */
  async send(to: Account['aci'], text: string): Promise<readonly number[]> {
    const { timestamp } = await this.bot.send(to, { kind: 'text', text });
    const end = await this.bot.sent(to, timestamp, AbortSignal.timeout(20_000));
    if (end.state === 'failed') throw end.error;
    return end.devices;
  }

  /** @returns what `run` rejected with */
  async stop(): Promise<unknown> {
    this.#stop.abort();
    return this.ended;
  }
}
