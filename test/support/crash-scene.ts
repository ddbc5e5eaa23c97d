/**
 * The scene of the crash walks: a bot with the echo plugin and one that counts, its phone, and a friend who writes to it.
 * One fault strikes; then the bot is started again on what was durable, until all is done. `finish` says what was promised
 * and not kept.
 */
import { randomUUID } from 'node:crypto';
import { PrivateKey, PublicKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import echo from '../../plugins/echo/index.ts';
import { fromBase64, toBase64, toUtf8, type Bytes } from '../../src/bytes.ts';
import { Bot, type BotEvent } from '../../src/bot.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import type { Content } from '../../src/content/content.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { describe } from '../../src/errors.ts';
import type { Random } from '../../src/platform.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import { HINT } from '../../src/session/identify.ts';
import { firstPrekeyState } from '../../src/session/prekey-generation.ts';
import type { Seal } from '../../src/session/session.ts';
import { MemoryDisk, openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import {
  deadRows,
  inboxRows,
  outboxRows,
  pluginState,
  prekeyStates,
  quarantineRows,
} from '../../src/store/tables.ts';
import { ManualClock, testPlatform } from './clock.ts';
import { counting, ECHO } from './crash-plugin.ts';
import { KeyBook } from './crash-keys.ts';
import { CrashServer, type Generation, type SendFault } from './crash-server.ts';
import { Hub } from './hub.ts';
import { read } from './outbox.ts';
import { envelopeFrom, makePeer, wireEnvelope, type Peer } from './peer.ts';
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
  readonly startedAt: number;
  /** Set when `run` has ended: what it rejected with, or undefined. */
  ended: { readonly error: unknown } | undefined;
}

interface Got {
  readonly by: Peer;
  readonly timestamp: number;
  readonly content: Content | string;
}

/** Envelope type on the wire. */
const SEALED = 6;
const TURN_MS = 100;
/** Of the scene's clock: a scene that is not done by then is stuck. */
const LIMIT_MS = 10 * 60_000;
/** How long a bot whose store has failed may take to say so. */
const FAIL_MS = 2 * 60_000;

export class CrashScene {
  readonly clock = new ManualClock();
  readonly platform = testPlatform({
    clock: this.clock,
    random: new ScriptedRandom(),
  });
  readonly hub = new Hub();
  readonly keys = new KeyBook();
  readonly broken: string[] = [];
  readonly #disk = new MemoryDisk();
  readonly #got: Got[] = [];
  readonly #sent: { readonly text: string; readonly timestamp: number }[] = [];
  readonly #fault: WalkFault | undefined;
  #parts!: {
    bot: Peer;
    phone: Peer;
    friend: Peer;
    profile: Profile;
    server: CrashServer;
    seal: Seal | undefined;
  };
  #process!: Process;
  starts = 0;
  /** Of the first process. */
  commits = 0;
  sends = 0;
  sealed = 0;
  struck = false;

  private constructor(fault: WalkFault | undefined) {
    this.#fault = fault;
  }

  static async make(options: { sealed: boolean; fault?: WalkFault }): Promise<CrashScene> {
    const scene = new CrashScene(options.fault);
    await scene.#open(options.sealed);
    return scene;
  }

  /** The whole scene. @returns the promises that were broken */
  async play(): Promise<readonly string[]> {
    const { friend } = this.#parts;
    await this.#say('!ping');
    await this.#sayApp('hello');
    this.#process = this.#start(this.#fault);
    await this.#until(
      'the first answers',
      () => this.#texts(friend).includes('pong') && this.#apps().includes('re:hello'),
    );
    await this.#say('one more');
    await this.#until('the last answer', () => this.#texts(friend).includes('seen one more'));
    await this.#until('the receipts', () => this.#receipted().size === this.#sent.length);
    await this.#until('the transcripts', () => this.#transcripts().size === 3);
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
    return [...this.broken, ...this.keys.reused.map((text) => `a message key was used twice: ${text}`)];
  }

  // ---- building ----

  async #open(sealed: boolean): Promise<void> {
    const { platform, hub } = this;
    const [root, signer] = [PrivateKey.generate(), PrivateKey.generate()];
    const trustRoots = sealed ? [root.getPublicKey().serialize()] : [];
    const bot = await makePeer({ platform, store: openMemory(this.#disk) });
    const phone = await makePeer({ platform, deviceOf: bot.account, deviceId: 1, trustRoots });
    const friend = await makePeer({ platform, deviceId: 1, trustRoots });
    hub.add(bot, phone, friend);
    const batch = bot.store.batch();
    const now = this.clock.now();
    for (const kind of ['aci', 'pni'] as const) {
      const ids = { signedId: 7, signedAt: now, lastResortId: 9, lastResortAt: now };
      prekeyStates.put(batch, kind, { ...firstPrekeyState(platform.random), ...ids });
    }
    await batch.commit();
    const certificate = (peer: Peer): SenderCertificate =>
      SenderCertificate.new(
        peer.aci,
        null,
        peer.account.deviceId,
        PublicKey.deserialize(fromBase64(peer.account.identity.publicKey)),
        now + 30 * 86_400_000,
        ServerCertificate.new(1, signer.getPublicKey(), root),
        signer,
      );
    hub.before = ({ verb, path }) => {
      if (path.startsWith('/v1/keepalive') || path.startsWith('/v2/keys/check')) return { status: 200 };
      if (path.startsWith('/v2/keys?') && verb === 'GET')
        return { status: 200, body: { count: 100, pqCount: 100 } };
      if (path.startsWith('/v1/certificate') && sealed) {
        return { status: 200, body: { certificate: toBase64(certificate(bot).serialize()) } };
      }
      return undefined;
    };
    const roots = trustRoots.map((key) => toBase64(key));
    const sealedSender = { trustRoots: roots, mode: sealed ? 'auto' : 'off' };
    this.#parts = {
      bot,
      phone,
      friend,
      profile: parseProfile(JSON.stringify({ name: 'crash', chat: 'http://127.0.0.1:1', sealedSender }), '/'),
      server: new CrashServer(hub, bot, (entry) => {
        this.#onLeaving(entry);
      }),
      seal: sealed ? { certificate: certificate(friend), hint: HINT.RESENDABLE } : undefined,
    };
  }

  #start(fault: WalkFault | undefined): Process {
    const { profile, server } = this.#parts;
    const disk = new MortalDisk(this.#disk);
    const crash = (): void => {
      process.struck = true;
      if (fault?.where === 'commit' && fault.fault.kind === 'fail') return;
      process.store.crash();
      disk.gone = true;
      server.bury(process);
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
      startedAt: this.clock.now(),
      ended: undefined,
    };
    const bot = new Bot({
      store: process.store,
      service: profile,
      platform: this.platform,
      openSocket: server.openFor(process),
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
      await this.#readLetters();
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
        this.broken.push(`a store that fails ended run with ${described(before)}`);
    } else if (!before.dead) {
      this.broken.push(`run ended by itself: ${described(before)}`);
    }
    await this.#end(before);
    await this.clock.advance(1000);
    this.#process = this.#start(undefined);
  }

  async #end(process: Process): Promise<void> {
    process.stop.abort();
    for (let turns = 0; process.ended === undefined && turns < 600; turns++)
      await this.clock.advance(TURN_MS);
    if (process.ended === undefined) this.broken.push('run did not end after its abort');
    else if (!process.struck && process.ended.error !== undefined)
      this.broken.push(`run ended with ${described(process)}`);
    this.#parts.server.bury(process);
    process.disk.gone = true;
    if (this.starts !== 1) return;
    this.commits = process.store.commits;
    this.sends = process.sends;
    this.struck = process.struck || process.store.struck;
  }

  async #say(text: string): Promise<void> {
    const { friend } = this.#parts;
    const timestamp = this.clock.now();
    this.#sent.push({ text, timestamp });
    await this.#post(encodeText(text, timestamp, fromBase64(friend.account.profileKey ?? '')), timestamp);
  }

  async #sayApp(payload: string): Promise<void> {
    await this.clock.advance(1);
    await this.#post(encodeApp(ECHO, Buffer.from(payload)), this.clock.now());
  }

  async #post(content: Bytes, timestamp: number): Promise<void> {
    const { friend, bot, server, seal } = this.#parts;
    const guid = randomUUID();
    const options = { timestamp, guid, ...(seal === undefined ? {} : { seal }) };
    server.push(guid, await envelopeFrom(friend, bot, content, options));
  }

  /** Opens what has come for phone and friend, in order. */
  async #readLetters(): Promise<void> {
    for (const letter of this.hub.letters.splice(0)) {
      const content = await read(letter.to, letter.envelope);
      if (letter.type === SEALED) this.sealed++;
      this.#got.push({ by: letter.to, timestamp: letter.timestamp, content });
    }
  }

  // ---- what was seen ----

  /** Ciphertexts that have left, whether or not the server has heard them. */
  #onLeaving({ verb, path, body }: { verb: string; path: string; body?: Bytes }): void {
    if (verb !== 'PUT' || !path.startsWith('/v1/messages/') || body === undefined) return;
    const recipient = path.slice('/v1/messages/'.length).split('?')[0] ?? '';
    const { messages, timestamp } = JSON.parse(toUtf8(body)) as {
      messages: { type: number; destinationDeviceId: number; content: string }[];
      timestamp: number;
    };
    for (const { type, destinationDeviceId, content } of messages) {
      const to = this.hub.peers.find(
        (peer) => peer.aci === recipient && peer.account.deviceId === destinationDeviceId,
      );
      if (to === undefined) continue;
      const what = `${String(timestamp)} to ${to === this.#parts.friend ? 'the friend' : 'the phone'}`;
      const envelope = wireEnvelope(this.#parts.bot, to, type, fromBase64(content), { timestamp });
      this.#leaving.push(
        Promise.resolve(to.session.identify(decodeEnvelope(envelope))).then((identified) => {
          if (identified.kind === 'message') this.keys.note(identified.type, identified.ciphertext, what);
          else this.broken.push(`what has left is ${identified.kind}`);
        }),
      );
    }
  }

  readonly #leaving: Promise<void>[] = [];

  /** What somebody has got, each timestamp once, as apps do. */
  #once(by: Peer): readonly Content[] {
    const seen = new Map<number, Content>();
    for (const { by: who, timestamp, content } of this.#got) {
      if (who === by && typeof content !== 'string' && !seen.has(timestamp)) seen.set(timestamp, content);
    }
    return [...seen.values()];
  }

  #texts(by: Peer): string[] {
    return this.#once(by).flatMap((content) => (content.kind === 'text' ? [content.text] : []));
  }

  #apps(): string[] {
    return this.#once(this.#parts.friend).flatMap((content) =>
      content.kind === 'app' && content.tag === ECHO ? [toUtf8(content.payload)] : [],
    );
  }

  #receipted(): Set<number> {
    return new Set(this.#receipts());
  }

  #receipts(): number[] {
    return this.#once(this.#parts.friend).flatMap((content) =>
      content.kind === 'receipt' ? [...content.timestamps] : [],
    );
  }

  #transcripts(): Set<string> {
    return new Set(
      this.#once(this.#parts.phone).flatMap((content) =>
        content.kind === 'sync' && content.sync.type === 'sent' && content.sync.content.kind === 'text'
          ? [content.sync.content.text]
          : [],
      ),
    );
  }

  get #store(): Store {
    return openMemory(this.#disk);
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
    const seen = this.#got
      .map(({ content }) => (typeof content === 'string' ? content : content.kind))
      .join(' ');
    const waiting: string[] = [];
    for await (const [, row] of outboxRows.scan(this.#store)) {
      const { kind, timestamp, state, attempts, retryAt, error } = row;
      waiting.push([kind, timestamp, state, attempts, retryAt, error].join(' '));
    }
    return `now ${String(this.clock.now())}; waiting ${waiting.join(', ')}; inbox, outbox, dead, quarantine ${counts.join(', ')}; mailbox ${String(this.#parts.server.mailbox.size)}; got ${seen}`;
  }

  async #check(): Promise<void> {
    await Promise.all(this.#leaving);
    const { friend, phone, server } = this.#parts;
    const expect = (what: string, found: unknown, wanted: unknown): void => {
      const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
      if (a !== b) this.broken.push(`${what}: ${a} in place of ${b}`);
    };
    const unread = this.#got
      .filter(({ content }) => typeof content === 'string')
      .map(({ content }) => content);
    expect('what could not be opened', unread, []);
    const answers = ['pong', 'seen !ping', 'seen one more'];
    expect('texts', this.#texts(friend).sort(), answers);
    expect('transcripts', [...this.#transcripts()].sort(), answers);
    expect('transcripts once each', this.#once(phone).filter(({ kind }) => kind === 'sync').length, 3);
    expect('app messages', this.#apps(), ['re:hello']);
    expect('receipts', this.#receipts().sort(), this.#sent.map(({ timestamp }) => timestamp).sort());
    for (const [name, table] of Object.entries({ inboxRows, outboxRows, deadRows, quarantineRows })) {
      expect(name, await this.#rows(table), 0);
    }
    expect('mailbox', server.mailbox.size, 0);
    const counts: [string, number][] = [];
    for await (const [key, value] of pluginState.scan(this.#store, ['counting']))
      counts.push([key, Number(toUtf8(value))]);
    expect(
      'handled, and how often',
      counts.map(([, count]) => count),
      [3, 1, 1, 1],
    );
    this.#checkRepeats();
  }

  /** A timestamp names one message: what comes again under it says the same. */
  #checkRepeats(): void {
    const said = new Map<string, string>();
    for (const { by, timestamp, content } of this.#got) {
      const name = `${by.aci} ${String(by.account.deviceId)} ${String(timestamp)}`;
      const text = typeof content === 'string' ? content : summary(content);
      const before = said.get(name);
      if (before !== undefined && before !== text)
        this.broken.push(`one timestamp for two messages: ${before}; ${text}`);
      said.set(name, text);
    }
  }
}

/** The same in every run, so that steps keep their numbers; what is secret comes from libsignal. */
class ScriptedRandom implements Random {
  #state = 1;

  bytes(length: number): Bytes {
    return new Uint8Array(length).map(() => {
      this.#state = (Math.imul(this.#state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return this.#state >>> 16;
    });
  }
}

function described({ ended }: Process): string {
  return ended === undefined ? 'nothing yet' : describe(ended.error);
}

function summary(content: Content): string {
  if (content.kind === 'text') return `text ${content.text}`;
  if (content.kind === 'app') return `app ${content.tag} ${toBase64(content.payload)}`;
  if (content.kind === 'receipt') return `receipt ${content.timestamps.join(' ')}`;
  if (content.kind === 'sync' && content.sync.type === 'sent')
    return `sent ${String(content.sync.timestamp)}`;
  return content.kind;
}
