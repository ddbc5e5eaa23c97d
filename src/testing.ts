/**
 * Testing: what a plugin author tests with, without a server. The parts are the real ones (router, dispatcher, outbox rows)
 * on a store in memory and a clock that the test moves. For protocols of rounds there is `testRounds`, with all their parties.
 *
 * ```ts
 * const t = await testPlugin(echo);
 * expect(await t.text('!ping')).toEqual([{ kind: 'text', text: 'pong' }]);
 * ```
 */
import type { Aci, DeviceId, ServiceId } from './address.ts';
import { FreshRows } from './backup/fresh-start.ts';
import { isKept } from './backup/kept-tables.ts';
import { isVolatile, volatileTags } from './backup/volatile-tags.ts';
import { fromUtf8, own, toUtf8, type Bytes } from './bytes.ts';
import { parseTag } from './content/app-message.ts';
import { decodeContent } from './content/content.ts';
import { encodeApp, encodeText, encodeTranscript } from './content/encode.ts';
import { BotError, type ErrorCode } from './errors.ts';
import { Dispatcher } from './inbox/dispatcher.ts';
import type { Message, Task } from './inbox/lane.ts';
import { systemPlatform, type Log, type Platform } from './platform.ts';
import { Plugins } from './plugin.ts';
import type { PluginSource } from './plugin/contract.ts';
import type { AppType } from './router.ts';
import type { TrustState } from './store/identity-row.ts';
import { openMemory } from './store/memory.ts';
import { policyOf } from './store/outbox-row.ts';
import type { Store } from './store/store.ts';
import type { InboxRow, OutboxRow } from './store/rows.ts';
import { deadRows, inboxRows, outboxRows, pluginState, pluginVolatile } from './store/tables.ts';
import { ManualClock, settle } from './testing/clock.ts';
import { accountOf, People } from './testing/people.ts';
import { buildTrust, type Trust } from './trust/build.ts';

export { ManualClock, settle } from './testing/clock.ts';
export { testRounds, type RoundsTest, type RoundsTestOptions, type RoundsTestParty, type Said, type Wire } from './testing/rounds.ts'; // prettier-ignore
export { SeededRandom } from './testing/seeded-random.ts';

/** The account that the plugin runs on. */
export const SELF = '00000000-0000-4000-8000-000000000001' as Aci;
/** Who writes, if unsaid: device 1 of this account. */
export const SENDER = '00000000-0000-4000-8000-000000000002' as Aci;

/** A message that the plugin has sent. `to` is absent when that is who wrote last. */
export type Sent = (
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'app'; readonly tag: string; readonly payload: Bytes }
) & {
  readonly to?: ServiceId;
  readonly devices?: readonly DeviceId[];
  /** Why a bot would hold it back: the recipient is not trusted as far as a policy asks. */
  readonly held?: ErrorCode;
};

export interface From {
  readonly sender?: ServiceId;
  readonly device?: DeviceId;
  /** How far they are trusted from now on. As before if unsaid; at first `tofu`. What a policy asks for is asked here too. */
  readonly trust?: TrustState;
}

/** A message that was given up after five attempts. */
export interface Dead {
  readonly from: ServiceId;
  readonly plugin: string;
  readonly attempts: number;
  readonly error: string;
}

export interface TestOptions {
  /** The plugin's configuration. */
  readonly config?: unknown;
  /** In front of commands; default `!`. */
  readonly prefix?: string;
  readonly log?: Log;
}

/** @throws BotError `PLUGIN_INVALID` */
export async function testPlugin(source: PluginSource, options: TestOptions = {}): Promise<PluginTest> {
  return start(source, options, openMemory(), new ManualClock());
}

async function start(
  source: PluginSource,
  options: TestOptions,
  store: Store,
  clock: ManualClock,
  account = accountOf(SELF),
): Promise<PluginTest> {
  const platform: Platform = { ...systemPlatform(options.log), clock };
  let last = 0;
  const stamp = (): number => (last = Math.max(clock.now(), last + 1));
  const onRow = (): void => undefined;
  const prefix = options.prefix === undefined ? {} : { prefix: options.prefix };
  const trust = await buildTrust({ store, account, platform, stamp });
  const plugins = new Plugins({ self: SELF, store, stamp, onRow, platform, trust, ...prefix });
  await plugins.install(source, options.config);
  const again = (next: Store): Promise<PluginTest> => start(source, options, next, clock, account);
  return new PluginTest({ clock, platform, store, plugins, trust, stamp, again });
}

interface TestParts {
  readonly clock: ManualClock;
  readonly platform: Platform;
  readonly store: Store;
  readonly plugins: Plugins;
  readonly trust: Trust;
  readonly stamp: () => number;
  /** The same plugin on another store, at the same time. */
  readonly again: (store: Store) => Promise<PluginTest>;
}

export class PluginTest {
  readonly clock: ManualClock;
  readonly #parts: TestParts;
  readonly #dispatcher: Dispatcher;
  readonly #people: People;
  readonly #plugin: string;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;
  /** What handlers threw last, by row. */
  readonly #errors = new Map<number, unknown>();
  #lastId = 0;
  #lastSender: ServiceId = SENDER;

  constructor(parts: TestParts) {
    const { clock, store, platform, plugins, trust } = parts;
    this.#parts = parts;
    this.clock = clock;
    this.#plugin = plugins.list[0]?.name ?? '';
    this.#people = new People(store, () => clock.now());
    const router = {
      route: (message: Message) => plugins.router.route(message).map((task) => this.#watch(message, task)),
    };
    this.#dispatcher = new Dispatcher({
      store,
      platform,
      router,
      onRow: () => undefined,
      onCommitted: (staging) => {
        trust.desk.committed(staging);
      },
    });
    this.#running = Promise.all([this.#dispatcher.run(this.#stop.signal), plugins.run(this.#stop.signal)]);
  }

  /**
   * Somebody writes a text.
   * @returns what the plugin sends, in order
   * @throws what the handler throws; `advance` brings the next attempt
   */
  text(text: string, from: From = {}): Promise<readonly Sent[]> {
    const timestamp = this.#parts.stamp();
    return this.content(encodeText(text, timestamp), from, timestamp);
  }

  /** The account's owner writes a text to the account itself. */
  noteToSelf(text: string): Promise<readonly Sent[]> {
    const timestamp = this.#parts.stamp();
    const transcript =
      encodeTranscript(encodeText(text, timestamp), SELF, timestamp, false) ?? new Uint8Array(0);
    return this.content(transcript, { sender: SELF }, timestamp);
  }

  /** Somebody's plugin sends an app message. */
  app(tag: string, payload: Uint8Array, from?: From): Promise<readonly Sent[]>;
  app<T>(type: AppType<T>, value: T, from?: From): Promise<readonly Sent[]>;
  app<T>(type: string | AppType<T>, value: T | Uint8Array, from: From = {}): Promise<readonly Sent[]> {
    const content =
      typeof type === 'string'
        ? encodeApp(parseTag(type), value as Uint8Array)
        : encodeApp(type.tag, type.encode(value as T));
    return this.content(content, from);
  }

  /** Any content, serialized. */
  async content(
    content: Bytes,
    { sender = SENDER, device = 1, trust }: From = {},
    timestamp = this.#parts.stamp(),
  ): Promise<readonly Sent[]> {
    const { own } = this.#parts.trust;
    const identityKey = sender === SELF ? own.identityKey : await this.#people.key(sender, trust);
    const id = ++this.#lastId;
    this.#lastSender = sender;
    const now = this.clock.now();
    const row: InboxRow = {
      source: sender,
      sourceDevice: device,
      timestamp,
      serverTimestamp: now,
      sealed: true,
      toPni: false,
      identityKey,
      content,
      attempts: 0,
      retryAt: 0,
      error: '',
      plugin: '',
      receivedAt: now,
    };
    const batch = this.#parts.store.batch();
    inboxRows.put(batch, id, row);
    const durable = batch.commit();
    this.#dispatcher.offer(id, row);
    await durable;
    await this.#dispatcher.idle();
    await this.#throwFailure(id);
    return this.sent();
  }

  /** Moves time on, so that attempts are repeated and deadlines pass. @returns what the plugin sends meanwhile */
  async advance(ms: number): Promise<readonly Sent[]> {
    await settle();
    await this.clock.advance(ms);
    await settle();
    return this.sent();
  }

  /** What the plugin has sent since the last look, of its own accord too. */
  async sent(): Promise<readonly Sent[]> {
    const { store } = this.#parts;
    const rows: OutboxRow[] = [];
    for await (const [, row] of outboxRows.scan(store)) rows.push(row);
    const batch = store.batch();
    for (const { recipient, timestamp } of rows) outboxRows.delete(batch, recipient, timestamp);
    await batch.commit();
    return Promise.all(rows.sort((a, b) => a.timestamp - b.timestamp).map((row) => this.#sentOf(row)));
  }

  /** Messages that were given up. */
  async dead(): Promise<readonly Dead[]> {
    const found: Dead[] = [];
    for await (const [, { source, plugin, attempts, error }] of deadRows.scan(this.#parts.store)) {
      found.push({ from: source, plugin, attempts, error });
    }
    return found;
  }

  /** What the plugin keeps under this key. */
  async state(key: string): Promise<Bytes | undefined> {
    return pluginState.get(this.#parts.store.batch(), this.#plugin, key);
  }

  /** The same as JSON. */
  async stateJson(key: string): Promise<unknown> {
    const bytes = await this.state(key);
    return bytes === undefined ? undefined : (JSON.parse(toUtf8(bytes)) as unknown);
  }

  /** Changes what the plugin keeps: bytes, or a value to be kept as JSON. */
  async putState(key: string, value: unknown): Promise<void> {
    const batch = this.#parts.store.batch();
    const bytes = value instanceof Uint8Array ? own(value) : fromUtf8(JSON.stringify(value));
    pluginState.put(batch, this.#plugin, key, bytes);
    await batch.commit();
  }

  /** What the plugin keeps under this key in `volatile`. */
  async volatile(key: string): Promise<Bytes | undefined> {
    return pluginVolatile.get(this.#parts.store.batch(), this.#plugin, key);
  }

  /**
   * The plugin as it starts on a backup of this moment that was restored: `state` is there, `volatile` is not, and
   * `host.restoredAt` is set. This one goes on, as an old process may.
   */
  async restored(): Promise<PluginTest> {
    const { store, platform, clock, again } = this.#parts;
    const next = openMemory();
    const batch = next.batch();
    const tags = await volatileTags(store);
    for await (const [key, value] of store.scan('')) {
      if (isKept(key) && !(await isVolatile(tags, key, value))) batch.put(key, value);
    }
    new FreshRows(platform, clock.now()).end(batch);
    await batch.commit();
    return again(next);
  }

  /** Stops the plugin; handlers that hang are cut off. */
  async close(): Promise<void> {
    this.#stop.abort();
    await settle();
    await this.clock.advance(60_000);
    await this.#running;
    await this.#parts.store.close();
  }

  #watch(message: Message, task: Task): Task {
    return {
      ...task,
      run: async (call) => {
        this.#errors.delete(message.id);
        try {
          await task.run(call);
        } catch (error) {
          this.#errors.set(message.id, error);
          throw error;
        }
      },
    };
  }

  async #throwFailure(id: number): Promise<void> {
    const row = await inboxRows.get(this.#parts.store.batch(), id);
    if (row === undefined || row.error === '') return;
    throw (this.#errors.get(id) as Error | undefined) ?? new BotError('PLUGIN_FAILED', row.error);
  }

  async #sentOf({ recipient, content, devices, policy }: OutboxRow): Promise<Sent> {
    const { store, trust } = this.#parts;
    const held = await trust.identities.refusal(store.batch(), recipient, policyOf({ policy }));
    const to = {
      ...(recipient === this.#lastSender ? {} : { to: recipient }),
      ...(devices.length === 0 ? {} : { devices }),
      ...(held === undefined ? {} : { held: held.code }),
    };
    const decoded = decodeContent(content);
    if (decoded.kind === 'text') return { kind: 'text', text: decoded.text, ...to };
    if (decoded.kind === 'app') return { kind: 'app', tag: decoded.tag, payload: decoded.payload, ...to };
    throw new BotError('CONTENT_INVALID', 'the plugin sent something that is no message');
  }
}
