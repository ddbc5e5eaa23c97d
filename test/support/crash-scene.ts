/**
 * The scene of the crash walks: a bot with the echo plugin and one that counts, its phone, and a friend who writes to it.
 * One fault strikes; then the bot is started again on what was durable, until all is done. `play` says what was promised
 * and not kept.
 */
import { randomUUID } from 'node:crypto';
import echo from '../../plugins/echo/index.ts';
import { fromBase64, toUtf8, type Bytes } from '../../src/bytes.ts';
import { Bot, type BotEvent } from '../../src/bot.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import { describe } from '../../src/errors.ts';
import { MemoryDisk, openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { deadRows, inboxRows, outboxRows, pluginState, quarantineRows } from '../../src/store/tables.ts';
import { ManualClock, testPlatform } from './clock.ts';
import { makeCast, ScriptedRandom, type CastOptions, type CrashCast } from './crash-cast.ts';
import { CrashLetters } from './crash-letters.ts';
import { counting, ECHO } from './crash-plugin.ts';
import { CrashServer, type Generation, type SendFault } from './crash-server.ts';
import { Hub } from './hub.ts';
import { envelopeFrom } from './peer.ts';
import { FaultyStore, type Fault } from './store-faults.ts';
import { MortalDisk } from './mortal-disk.ts';

export type WalkFault =
  { readonly where: 'commit'; readonly fault: Fault } | { readonly where: 'send'; readonly fault: SendFault };

/** A process of the bot. */
interface Process extends Generation {
  readonly store: FaultyStore;
  readonly disk: MortalDisk;
  readonly stop: AbortController;
  readonly events: BotEvent[];
  /** Set when `run` has ended: what it rejected with, or undefined. */
  ended: { readonly error: unknown } | undefined;
}

const TURN_MS = 100;
/** Of the scene's clock: a scene that is not done by then is stuck. */
const LIMIT_MS = 10 * 60_000;
/** How long a bot whose store has failed may take to say so. */
const FAIL_MS = 2 * 60_000;

export class CrashScene {
  readonly clock: ManualClock;
  readonly #options: CastOptions;
  readonly #cast: CrashCast;
  readonly #letters: CrashLetters;
  readonly #server: CrashServer;
  readonly #broken: string[] = [];
  /** Timestamps of the friend's texts. */
  readonly #sent: number[] = [];
  readonly #fault: WalkFault | undefined;
  #process!: Process;
  starts = 0;
  /** Of the first process. */
  commits = 0;
  sends = 0;
  struck = false;

  private constructor(clock: ManualClock, options: CastOptions, cast: CrashCast, fault?: WalkFault) {
    this.clock = clock;
    this.#options = options;
    this.#cast = cast;
    this.#fault = fault;
    this.#letters = new CrashLetters(options.hub, cast);
    this.#server = new CrashServer(options.hub, cast.bot, (request) => {
      this.#letters.onLeaving(request);
    });
  }

  static async make(options: { sealed: boolean; fault?: WalkFault }): Promise<CrashScene> {
    const clock = new ManualClock();
    const platform = testPlatform({ clock, random: new ScriptedRandom() });
    const parts = { platform, hub: new Hub(), disk: new MemoryDisk(), sealed: options.sealed };
    return new CrashScene(clock, parts, await makeCast(parts), options.fault);
  }

  /** How many letters came sealed. */
  get sealed(): number {
    return this.#letters.sealed;
  }

  /** The whole scene. @returns the promises that were broken */
  async play(): Promise<readonly string[]> {
    const letters = this.#letters;
    await this.#say('!ping');
    await this.#sayApp('hello');
    this.#process = this.#start(this.#fault);
    await this.#until(
      'the first answers',
      () => letters.texts.includes('pong') && letters.apps.includes('re:hello'),
    );
    await this.#say('one more');
    await this.#until('the last answer', () => letters.texts.includes('seen one more'));
    await this.#until('the receipts', () => new Set(letters.receipts).size === this.#sent.length);
    await this.#until('the transcripts', () => letters.transcripts.size === 3);
    await this.#until(
      'an empty outbox',
      async () => (await this.#rows(outboxRows)) + (await this.#rows(inboxRows)) === 0,
    );
    await this.#end(this.#process);
    this.#process = this.#start(undefined);
    const { events } = this.#process;
    await this.#until('ready', () => events.some(({ kind }) => kind === 'ready'));
    const until = this.clock.now() + 5000;
    await this.#until('rest', () => this.clock.now() > until);
    await this.#check();
    await this.#end(this.#process);
    return [...this.#broken, ...(await letters.faults())];
  }

  // ---- processes ----

  #start(fault: WalkFault | undefined): Process {
    const disk = new MortalDisk(this.#options.disk);
    const crash = (): void => {
      process.struck = true;
      if (fault?.where === 'commit' && fault.fault.kind === 'fail') return;
      process.store.crash();
      disk.gone = true;
      this.#server.bury(process);
      process.stop.abort();
    };
    const stop = new AbortController();
    const events: BotEvent[] = [];
    const commitFault = fault?.where === 'commit' ? fault.fault : undefined;
    const process: Process = {
      fault: fault?.where === 'send' ? fault.fault : undefined,
      crash,
      dead: false,
      sends: 0,
      struck: false,
      store: new FaultyStore(disk.open(), commitFault, crash),
      disk,
      stop,
      events,
      ended: undefined,
    };
    const bot = new Bot({
      store: process.store,
      service: this.#cast.profile,
      platform: this.#options.platform,
      openSocket: this.#server.openFor(process),
      onEvent: (event) => void events.push(event),
    });
    bot.use(echo).use(counting);
    bot.run(stop.signal).then(
      () => (process.ended = { error: undefined }),
      (error: unknown) => (process.ended = { error }),
    );
    this.starts++;
    return process;
  }

  // ---- running ----

  /** Lets time pass until it holds; a process that has ended is followed by another. */
  async #until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const limit = this.clock.now() + LIMIT_MS;
    for (;;) {
      await this.#letters.read();
      if (!this.#isOver() && (await holds())) return;
      if (this.clock.now() > limit) throw new Error(`stuck: ${what} did not come; ${await this.#state()}`);
      await this.clock.advance(TURN_MS);
      if (this.#isOver()) await this.#restart();
    }
  }

  #isOver(): boolean {
    return this.#process.dead || this.#process.ended !== undefined || this.#hasFailed();
  }

  /** The store takes no more, and the process has not been killed. */
  #hasFailed(): boolean {
    return this.#process.struck && !this.#process.dead && this.#process.store.struck;
  }

  async #restart(): Promise<void> {
    const before = this.#process;
    if (this.#hasFailed()) {
      const since = this.clock.now();
      while (before.ended === undefined && this.clock.now() - since < FAIL_MS)
        await this.clock.advance(TURN_MS);
      const code = (before.ended?.error as { code?: string } | undefined)?.code;
      if (code !== 'STORE_WRITE_FAILED')
        this.#broken.push(`a store that fails ended run with ${described(before)}`);
    } else if (!before.dead) {
      this.#broken.push(`run ended by itself: ${described(before)}`);
    }
    await this.#end(before);
    await this.clock.advance(1000);
    this.#process = this.#start(undefined);
  }

  async #end(process: Process): Promise<void> {
    process.stop.abort();
    for (let turns = 0; process.ended === undefined && turns < 600; turns++)
      await this.clock.advance(TURN_MS);
    if (process.ended === undefined) this.#broken.push('run did not end after its abort');
    else if (!process.struck && process.ended.error !== undefined)
      this.#broken.push(`run ended with ${described(process)}`);
    this.#server.bury(process);
    process.disk.gone = true;
    if (this.starts !== 1) return;
    this.commits = process.store.commits;
    this.sends = process.sends;
    this.struck = process.struck || process.store.struck;
  }

  async #say(text: string): Promise<void> {
    const { friend } = this.#cast;
    const timestamp = this.clock.now();
    this.#sent.push(timestamp);
    await this.#post(encodeText(text, timestamp, fromBase64(friend.account.profileKey ?? '')), timestamp);
  }

  async #sayApp(payload: string): Promise<void> {
    await this.clock.advance(1);
    await this.#post(encodeApp(ECHO, Buffer.from(payload)), this.clock.now());
  }

  async #post(content: Bytes, timestamp: number): Promise<void> {
    const { friend, bot, seal } = this.#cast;
    const guid = randomUUID();
    const options = { timestamp, guid, ...(seal === undefined ? {} : { seal }) };
    this.#server.push(guid, await envelopeFrom(friend, bot, content, options));
  }

  // ---- what was promised ----

  get #store(): Store {
    return openMemory(this.#options.disk);
  }

  async #rows(table: { scan(store: Store): AsyncIterable<unknown> }): Promise<number> {
    let count = 0;
    for await (const row of table.scan(this.#store)) if (row !== undefined) count++;
    return count;
  }

  async #state(): Promise<string> {
    const counts = await Promise.all(
      [inboxRows, outboxRows, deadRows, quarantineRows].map((table) => this.#rows(table)),
    );
    const waiting: string[] = [];
    for await (const [, row] of outboxRows.scan(this.#store)) {
      const { kind, timestamp, state, attempts, retryAt, error } = row;
      waiting.push([kind, timestamp, state, attempts, retryAt, error].join(' '));
    }
    return `now ${String(this.clock.now())}; waiting ${waiting.join(', ')}; inbox, outbox, dead, quarantine ${counts.join(', ')}; mailbox ${String(this.#server.mailbox.size)}; got ${this.#letters.summary}`;
  }

  async #check(): Promise<void> {
    const letters = this.#letters;
    const expect = (what: string, found: unknown, wanted: unknown): void => {
      const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
      if (a !== b) this.#broken.push(`${what}: ${a} in place of ${b}`);
    };
    expect('what could not be opened', letters.unread, []);
    const answers = ['pong', 'seen !ping', 'seen one more'];
    expect('texts', letters.texts.sort(), answers);
    expect('transcripts', [...letters.transcripts].sort(), answers);
    const copies = letters.once(this.#cast.phone).filter(({ kind }) => kind === 'sync');
    expect('transcripts once each', copies.length, 3);
    expect('app messages', letters.apps, ['re:hello']);
    expect('receipts', letters.receipts.sort(), this.#sent.sort());
    for (const [name, table] of Object.entries({ inboxRows, outboxRows, deadRows, quarantineRows })) {
      expect(name, await this.#rows(table), 0);
    }
    expect('mailbox', this.#server.mailbox.size, 0);
    const counts: [string, number][] = [];
    for await (const [key, value] of pluginState.scan(this.#store, ['counting']))
      counts.push([key, Number(toUtf8(value))]);
    expect(
      'handled, and how often',
      counts.map(([, count]) => count),
      [3, 1, 1, 1],
    );
  }
}

function described({ ended }: Process): string {
  return ended === undefined ? 'nothing yet' : describe(ended.error);
}
