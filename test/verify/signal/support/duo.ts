/** Bots with the plugin, on the development server, in this process; scrypt is cheap, everything else as it is. */
import verify from '../../../../plugins/verify/index.ts';
import type { Verified } from '../../../../plugins/verify/signal/follow.ts';
import type { VerifyStatus } from '../../../../plugins/verify/signal/status.ts';
import type { Bot } from '../../../../src/bot.ts';
import type { ContactIdentity } from '../../../../src/identities/state.ts';
import { contactOf } from '../../../../src/identities/state.ts';
import type { Platform } from '../../../../src/platform.ts';
import type { Store } from '../../../../src/store/store.ts';
import { identityRows } from '../../../../src/store/tables.ts';
import type { BotChoices, RunningBot, Scene, ScenePhone } from '../../../support/scene.ts';
import { until } from '../../../support/until.ts';
import { ENV } from '../../support/party.ts';

export { until };

export type Told = Readonly<Record<string, unknown>>;

/** An act under way. */
export class Acting {
  readonly told: Told[] = [];
  /** Called before anything else can happen. */
  onTold: (event: Told) => void = () => undefined;
  /** Rejects with why it has failed. */
  readonly end: Promise<unknown>;
  readonly #stop = new AbortController();
  #bell: () => void = () => undefined;
  #hasEnded = false;

  constructor(bot: Bot, name: string, contact: string | undefined, input: object) {
    this.end = bot.act('verify', name, {
      contact: contact as ContactId,
      input: { ...input },
      signal: this.#stop.signal,
      tell: (event) => {
        this.told.push(event as Told);
        this.onTold(event as Told);
        this.#bell();
      },
    });
    const onEnd = (): void => {
      this.#hasEnded = true;
      this.#bell();
    };
    this.end.then(onEnd, onEnd);
  }

  /** The first event of this name. */
  async event(name: string): Promise<Told> {
    for (;;) {
      const found = this.told.find(({ event }) => event === name);
      if (found !== undefined) return found;
      if (this.#hasEnded) throw new Error(`it has ended without ${name}`, { cause: await failure(this.end) });
      await new Promise<void>((resolve) => {
        this.#bell = resolve;
      });
    }
  }

  stop(): void {
    this.#stop.abort(new Error('the operator has gone'));
  }

  get steps(): unknown[] {
    return this.told.filter(({ event }) => event === 'step').map(({ step }) => step);
  }
}

type ContactId = Parameters<Bot['act']>[2]['contact'];

export class Peer {
  /** The bot as it runs now. */
  running: RunningBot;
  readonly #scene: Scene;
  readonly #configure: (bot: Bot) => void;
  readonly #choices: BotChoices;

  constructor(running: RunningBot, scene: Scene, configure: (bot: Bot) => void, choices: BotChoices) {
    this.running = running;
    this.#scene = scene;
    this.#configure = configure;
    this.#choices = choices;
  }

  async stop(): Promise<void> {
    await this.running.stop();
  }

  /** Another process on what this one has stored. */
  async restart(store: Store = this.running.store): Promise<void> {
    const { phone, account } = this.running;
    this.running = await this.#scene.run(phone, account, store, this.#configure, this.#choices);
  }

  get aci(): string {
    return this.running.aci;
  }

  start(peer: Peer, input: object = {}): Acting {
    return new Acting(this.running.bot, 'start', peer.aci, input);
  }

  enter(peer: Peer, code: string, input: object = {}): Acting {
    return new Acting(this.running.bot, 'enter', peer.aci, { code, waitMs: 10_000, ...input });
  }

  async status(): Promise<VerifyStatus> {
    return (await new Acting(this.running.bot, 'status', undefined, {}).end) as VerifyStatus;
  }

  async act(name: string, peer?: Peer, input: object = {}): Promise<unknown> {
    return new Acting(this.running.bot, name, peer?.aci, input).end;
  }

  /** What is held of the other. */
  async view(peer: Peer): Promise<ContactIdentity> {
    return contactOf(await identityRows.get(this.running.store.batch(), peer.running.aci));
  }

  get key(): string {
    return this.running.account.identity.publicKey;
  }

  async stateOfRun(peer: Peer): Promise<string | undefined> {
    return (await this.status()).runs.find(({ aci }) => aci === peer.aci)?.state;
  }
}

export async function peerOf(
  scene: Scene,
  options: {
    readonly configure?: (bot: Bot) => void;
    readonly phone?: ScenePhone;
    readonly platform?: Platform;
    readonly store?: Store;
  } = {},
): Promise<Peer> {
  const { configure, ...choices } = options;
  const whole = (bot: Bot): void => {
    bot.use(verify({ env: ENV }));
    configure?.(bot);
  };
  return new Peer(await scene.bot(whole, choices), scene, whole, choices);
}

/** The code, as it is read out. */
export async function codeOf(starting: Acting): Promise<string> {
  return String((await starting.event('code'))['code']);
}

export async function wholeRun(
  creator: Peer,
  enterer: Peer,
  input: object = {},
): Promise<{ a: Verified; b: Verified; starting: Acting; entering: Acting }> {
  const starting = creator.start(enterer, input);
  const code = await codeOf(starting);
  await until(async () => (await enterer.stateOfRun(creator)) === 'ringing', 'it rings');
  const entering = enterer.enter(creator, code);
  const [a, b] = (await Promise.all([starting.end, entering.end])) as [Verified, Verified];
  return { a, b, starting, entering };
}

/** The code of the failure. */
export async function failure(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no failure',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
}
