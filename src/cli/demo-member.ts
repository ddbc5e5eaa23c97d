/**
 * Members of `demo --bls`: bots with a data directory each, asked for the same acts. One runs in this process; the other is
 * a process of its own, `countersign run`, which can be killed, and is asked through its control socket as commands do.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Bot } from '../bot.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { loadPlugin } from '../plugin/load.ts';
import { listCeremonies, type CeremonyLine } from '../rounds/operator.ts';
import type { Profile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import { askRunning } from './control-client.ts';
import { startBot, type StartedBot } from './demo-bot.ts';
import type { Io } from './io.ts';

const PLUGIN = 'threshold-bls';

type Input = Readonly<Record<string, unknown>>;
type Tell = (event: object) => void;

export interface DemoMember {
  readonly name: string;
  /** Asks the plugin as its operator's commands do. */
  act(name: string, input: Input, tell: Tell): Promise<object>;
  ceremonies(): Promise<readonly CeremonyLine[]>;
  stop(): Promise<void>;
}

export interface MemberNeeds {
  readonly name: string;
  readonly platform: Platform;
  /** Aborted when the demo is over. */
  readonly signal: AbortSignal;
}

/** A bot in this process. */
export class HereMember implements DemoMember {
  readonly name: string;
  readonly #store: Store;
  readonly #bot: Bot;
  readonly #signal: AbortSignal;
  readonly #life: Promise<void>;

  private constructor({ name, signal }: MemberNeeds, store: Store, { bot, life }: StartedBot) {
    this.name = name;
    this.#store = store;
    this.#bot = bot;
    this.#signal = signal;
    this.#life = life;
  }

  /** Resolves when it is online. */
  static async start(
    needs: MemberNeeds,
    { store, service, cwd }: { readonly store: Store; readonly service: Profile; readonly cwd: string },
  ): Promise<HereMember> {
    const { platform, signal } = needs;
    const plugin = await loadPlugin(PLUGIN, cwd);
    const started = startBot({ store, service, platform }, (bot) => void bot.use(plugin), signal);
    await started.ready;
    return new HereMember(needs, store, started);
  }

  act(name: string, input: Input, tell: Tell): Promise<object> {
    return this.#bot.act(PLUGIN, name, { contact: undefined, input, signal: this.#signal, tell });
  }

  async ceremonies(): Promise<readonly CeremonyLine[]> {
    return (await listCeremonies(this.#store)).ceremonies;
  }

  /** To be called once the signal is aborted. */
  async stop(): Promise<void> {
    await this.#life.catch(() => undefined);
    await this.#store.close();
  }
}

/** A bot in a process of its own. */
export class ProcessMember implements DemoMember {
  readonly name: string;
  readonly #needs: MemberNeeds;
  readonly #io: Io;
  readonly #folder: string;
  readonly #profile: string;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  /** @param files the data directory, and the server profile */
  constructor(needs: MemberNeeds, io: Io, files: { readonly data: string; readonly profile: string }) {
    this.name = needs.name;
    this.#needs = needs;
    this.#io = io;
    this.#folder = files.data;
    this.#profile = files.profile;
  }

  /** Starts the process. @returns its id, once it is online @throws BotError `INTERNAL` when it ends before */
  async start(): Promise<number> {
    const argv = ['run', '--json', '--plugin', PLUGIN, '--data', this.#folder, '--server', this.#profile];
    const child = spawn(process.execPath, [...program(), ...argv], {
      cwd: this.#io.cwd,
      env: ownEnv(this.#io.env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const forget = this.#io.onExit?.(() => {
      child.kill('SIGKILL');
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors = `${errors}${chunk.toString()}`.slice(-2_000);
    });
    this.#ended = new Promise((resolve) => {
      child.once('close', () => {
        forget?.();
        resolve();
      });
    });
    const ready = new Promise<void>((resolve) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if ((JSON.parse(line) as { event?: unknown }).event === 'ready') resolve();
      });
    });
    const early = this.#ended.then(() => {
      this.#needs.signal.throwIfAborted(); // one Ctrl-C reaches both processes
      throw new BotError('INTERNAL', `the process of ${this.name}'s bot has ended: ${errors}`);
    });
    early.catch(() => undefined); // later on it is meant to end
    await Promise.race([ready, early]);
    return child.pid ?? 0;
  }

  /** As a power cut would: nothing in it can run any more. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  async act(name: string, input: Input, tell: Tell): Promise<object> {
    const call = { call: 'act' as const, plugin: PLUGIN, name, input };
    const answered = await askRunning(this.#folder, call, this.#needs.signal, tell);
    if (answered === undefined) throw new BotError('INTERRUPTED', `${this.name}'s bot does not run`);
    return answered;
  }

  async ceremonies(): Promise<readonly CeremonyLine[]> {
    const found = await askRunning(this.#folder, { call: 'rounds list' }, this.#needs.signal);
    return (found as { readonly ceremonies?: readonly CeremonyLine[] } | undefined)?.ceremonies ?? [];
  }

  async stop(): Promise<void> {
    this.#child?.kill('SIGTERM');
    await this.#ended;
  }
}

/** This very program, from the sources or from the build. */
function program(): readonly string[] {
  const isSource = import.meta.url.endsWith('.ts');
  const entry = fileURLToPath(new URL(`./countersign.${isSource ? 'ts' : 'js'}`, import.meta.url));
  return isSource ? ['--import', import.meta.resolve('tsx'), entry] : [entry];
}

/** What the operator has set for other bots does not hold for this one. */
function ownEnv(env: Io['env']): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('COUNTERSIGN_')));
}
