/**
 * Bot: builds the parts, wires them, runs them. It goes made -> running -> stopped once.
 *
 * The flows know nothing of each other: each leaves rows, and the functions that Bot passes in ring the one that reads
 * them. The first part that fails stops the rest, and its reason is what `run` rejects with.
 */
import type { ServiceId } from './address.ts';
import { fromBase64, type Bytes } from './bytes.ts';
import { parseTag } from './content/app-message.ts';
import { encodeApp, encodeText } from './content/encode.ts';
import { BotError, describe, isBotError } from './errors.ts';
import { Identities } from './identities/identities.ts';
import { Dispatcher } from './inbox/dispatcher.ts';
import { Intake, type DropCounts } from './inbox/intake.ts';
import { Receiver } from './inbox/receiver.ts';
import { Pacing } from './outbox/pacing.ts';
import { Receipts } from './outbox/receipts.ts';
import { Sealing } from './outbox/sealing.ts';
import { Sender, type Ending } from './outbox/sender.ts';
import { Sesame } from './outbox/sesame.ts';
import { systemPlatform, type Platform } from './platform.ts';
import { Plugins, type Handlers, type Plugin, type PluginInfo, type PluginSource } from './plugin.ts';
import { resumeLink } from './provisioning/link.ts';
import { endpointOf, type Profile } from './service/profile.ts';
import { OwnTags } from './session/peer-tags.ts';
import { Session } from './session/session.ts';
import { newRow } from './store/outbox-row.ts';
import type { Store } from './store/store.ts';
import { account as accountRow, outboxRows, sentLog, type Account, type OutboxRow } from './store/tables.ts';
import { Connection, type OpenSocket } from './transport/connection.ts';
import type { ConnectionState, Requester } from './transport/request.ts';
import { Upkeep } from './upkeep/upkeep.ts';

export interface BotOptions {
  readonly store: Store;
  /** How the server is reached. */
  readonly service: Profile;
  /** Default: the real clock and random source, no logs. */
  readonly platform?: Platform;
  /** Returns at once and does not throw. */
  readonly onEvent?: (event: BotEvent) => void;
  /** In front of commands; default `!`. */
  readonly prefix?: string;
  /** False: what arrives is kept for the next run, and no handler is called. */
  readonly dispatch?: boolean;
  /** Sockets; those of the network unless a test or a benchmark says otherwise. */
  readonly openSocket?: OpenSocket;
}

export type BotEvent =
  | { readonly kind: 'connection'; readonly state: ConnectionState; readonly error?: BotError }
  /** The server has said that its queue is empty, or has not within a minute. */
  | { readonly kind: 'ready'; readonly aci: string; readonly deviceId: number }
  | { readonly kind: 'warning'; readonly message: string };

/** What `send` takes. */
export type Outgoing =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'app'; readonly tag: string; readonly payload: Uint8Array };

/** How a message ended; `devices` are those that got it, and no filler. */
export type Sent = Ending;

interface Waiter {
  readonly recipient: ServiceId;
  readonly timestamp: number;
  readonly settle: (end: Sent) => void;
}

/** How long the server's word that its queue is empty is waited for. */
const READY_MS = 60_000;

export class Bot {
  readonly #options: BotOptions;
  readonly #platform: Platform;
  readonly #sources: { readonly source: PluginSource; readonly config: unknown }[] = [];
  readonly #handlers: ((handlers: Handlers) => void)[] = [];
  readonly #waiters = new Set<Waiter>();
  #lastStamp = 0;
  #running: Running | undefined;

  constructor(options: BotOptions) {
    this.#options = options;
    this.#platform = options.platform ?? systemPlatform();
  }

  /** Adds a plugin; it is set up when the bot starts. */
  use(plugin: PluginSource, config?: unknown): this {
    this.#sources.push({ source: plugin, config });
    return this;
  }

  /** Handles `!name …`. */
  command(...args: Parameters<Handlers['command']>): this {
    return this.#handle((handlers) => {
      handlers.command(...args);
    });
  }

  /** Handlers of the bot itself, beside those of its plugins. */
  handle(register: (handlers: Handlers) => void): this {
    return this.#handle(register);
  }

  get connection(): ConnectionState {
    return this.#running?.authenticated.state ?? 'stopped';
  }

  /** Names of the plugins, as far as the bot has started. */
  get plugins(): readonly string[] {
    return this.installed.map(({ name }) => name);
  }

  get installed(): readonly PluginInfo[] {
    return (this.#running?.plugins.list ?? []).filter(({ name }) => name !== OWN);
  }

  /** What was dropped without a word since the start. */
  get drops(): DropCounts | undefined {
    return this.#running?.intake.drops;
  }

  /**
   * The authenticated connection.
   * @throws BotError `SERVER_UNREACHABLE` while the bot does not run
   */
  get requester(): Requester {
    if (this.#running === undefined) throw new BotError('SERVER_UNREACHABLE', 'the bot is not running');
    return this.#running.authenticated;
  }

  /**
   * Receives, dispatches, sends and keeps house until the abort; then the message in hand is finished.
   * @throws BotError `NOT_LINKED`, `DEVICE_UNLINKED`, `CONNECTED_ELSEWHERE`, `TLS_UNTRUSTED`, `PLUGIN_INVALID`,
   *   `STORE_WRITE_FAILED`, `STORE_DAMAGED`
   */
  async run(signal: AbortSignal): Promise<void> {
    const account = await this.#account(signal);
    if (account === undefined || signal.aborted) return;
    const running = await this.#build(account);
    this.#running = running;
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    try {
      await this.#runAll(running, both, stop);
    } catch (error) {
      if (isBotError(error, 'DEVICE_UNLINKED')) await this.#noteUnlinked();
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  /**
   * Leaves a message in the outbox. Resolves when that is durable; `sent` tells when it has left.
   * @throws BotError `PAYLOAD_TOO_LARGE`, `CONTENT_INVALID` (tag), `NOT_LINKED`, `STORE_WRITE_FAILED`
   */
  async send(
    recipient: ServiceId,
    message: Outgoing,
    options: { readonly deviceId?: number } = {},
  ): Promise<{ timestamp: number }> {
    const { store } = this.#options;
    const batch = store.batch();
    const account = await accountRow.get(batch);
    if (account === undefined) throw notLinked();
    await this.#openStamp();
    const timestamp = this.#stamp();
    const devices = options.deviceId === undefined ? [] : [options.deviceId];
    const row = newRow({
      recipient,
      timestamp,
      devices,
      ...encode(message, timestamp, profileKeyOf(account)),
    });
    outboxRows.put(batch, recipient, timestamp, row);
    await batch.commit();
    this.#running?.sender.offer(row);
    return { timestamp };
  }

  /** Resolves when the message has been sent or has failed; rejects with the signal's reason. */
  async sent(recipient: ServiceId, timestamp: number, signal: AbortSignal): Promise<Sent> {
    signal.throwIfAborted();
    const settled = new Promise<Sent>((resolve, reject) => {
      const waiter: Waiter = {
        recipient,
        timestamp,
        settle: (end) => {
          signal.removeEventListener('abort', onAbort);
          this.#waiters.delete(waiter);
          resolve(end);
        },
      };
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
    });
    const ended = await this.#endOf(recipient, timestamp);
    if (ended === undefined) return settled;
    for (const waiter of this.#waiters) {
      if (waiter.recipient === recipient && waiter.timestamp === timestamp) waiter.settle(ended);
    }
    return settled;
  }

  /** Rows were changed from outside: they are looked at now. */
  ring(): void {
    this.#running?.dispatcher?.ring();
    this.#running?.sender.ring();
    this.#running?.sender.retryNow();
  }

  #handle(register: (handlers: Handlers) => void): this {
    this.#handlers.push(register);
    return this;
  }

  /** The linked account; a link that was interrupted is finished first. */
  async #account(signal: AbortSignal): Promise<Account | undefined> {
    const { store, service: profile } = this.#options;
    const row = await accountRow.get(store.batch());
    if (row !== undefined && row.unlinkedAt !== null) {
      throw new BotError('DEVICE_UNLINKED', 'the account has removed this device');
    }
    if (row?.keysUploaded === true) return row;
    try {
      const account = await resumeLink({ store, profile, platform: this.#platform }, undefined, signal);
      if (account === undefined) throw notLinked();
      return account;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  async #build(account: Account): Promise<Running> {
    const { store, service: profile, openSocket, dispatch = true, prefix } = this.#options;
    const platform = this.#platform;
    const { clock } = platform;
    await this.#openStamp();
    const stamp = (): number => this.#stamp();
    const profileKey = profileKeyOf(account);
    const onRow = (): void => {
      this.#running?.sender.ring();
    };
    const plugins = new Plugins({
      self: account.aci,
      store,
      platform,
      stamp,
      onRow,
      ...(profileKey === undefined ? {} : { profileKey }),
      ...(prefix === undefined ? {} : { prefix }),
    });
    if (dispatch) await this.#install(plugins);

    const endpoint = endpointOf(profile);
    const sockets = openSocket === undefined ? {} : { openSocket };
    const anonymous = new Connection({ endpoint, platform, ...sockets });
    const authenticated = new Connection({
      endpoint,
      platform,
      ...sockets,
      credentials: { username: `${account.aci}.${String(account.deviceId)}`, password: account.password },
      onState: (state, error) => {
        this.#onState(state, error);
      },
      onSkew: (ms) => {
        this.#emit({
          kind: 'warning',
          message: `the server's clock is ${String(Math.round(ms / 60_000))} minutes off`,
        });
      },
    });

    const identities = new Identities(clock);
    const { mode, trustRoots } = profile.sealedSender;
    const session = new Session({
      account,
      identities,
      platform,
      trustRoots: mode === 'off' ? [] : trustRoots,
    });
    const pacing = new Pacing();
    const sealing = new Sealing(clock, mode !== 'off');
    const [ownAci, ownDevice] = [account.aci, account.deviceId];
    // Without handlers nothing is known of tags: all is kept, and nothing announced.
    const tags = new OwnTags(dispatch ? plugins.tags : undefined);
    const sesame = new Sesame({
      store,
      session,
      sealing,
      pacing,
      platform,
      ownAci,
      ownDevice,
      authenticated,
      anonymous,
      tags,
      stamp,
      onOutbox: (row) => {
        sender.offer(row);
      },
    });
    const sender: Sender = new Sender({
      store,
      sesame,
      platform,
      ownAci,
      onSettled: (row, end) => {
        this.#settled(row, end);
      },
    });
    const receipts = new Receipts({
      store,
      clock,
      stamp,
      onOutbox: (row) => {
        sender.offer(row);
      },
    });
    const upkeep = new Upkeep({ store, requester: authenticated, platform, profile });
    const intake = new Intake({
      session,
      identities,
      platform,
      ownAci,
      ownDevice,
      tags,
      stamp,
      onContacts: () => {
        upkeep.ring();
      },
    });
    await intake.open(store);
    const dispatcher = dispatch
      ? new Dispatcher({ store, platform, router: plugins.router, onRow })
      : undefined;
    const drained = withResolver();
    const receiver = new Receiver({
      store,
      session,
      intake,
      platform,
      stamp,
      onInbox: (id, row, content) => {
        dispatcher?.offer(id, row, content);
        receipts.ring();
      },
      onOutbox: (row) => {
        sender.offer(row);
      },
      onPrekey: () => {
        upkeep.ring();
      },
      onDrained: drained.resolve,
    });
    return {
      account, plugins, authenticated, anonymous, sender, receipts, upkeep, intake, dispatcher, receiver,
      drained: drained.promise,
    }; // prettier-ignore
  }

  async #install(plugins: Plugins): Promise<void> {
    for (const { source, config } of this.#sources) await plugins.install(source, config);
    if (this.#handlers.length > 0) await plugins.install(ownPlugin(this.#handlers));
  }

  /** Joins the parts. The first that ends stops the others; its reason is thrown once all have stopped. */
  async #runAll(running: Running, signal: AbortSignal, stop: AbortController): Promise<void> {
    const { authenticated, anonymous, sender, receipts, upkeep, dispatcher, receiver, plugins } = running;
    let failure: { readonly error: unknown } | undefined;
    const part = async (work: Promise<void>): Promise<void> => {
      try {
        await work;
      } catch (error) {
        if (!stop.signal.aborted && !signal.aborted) failure ??= { error };
      } finally {
        stop.abort();
      }
    };
    await Promise.all([
      part(authenticated.run(signal)),
      part(anonymous.run(signal)),
      part(receiver.run(authenticated.incoming(), signal)),
      part(sender.run(signal)),
      part(receipts.run(signal)),
      part(upkeep.run(signal)),
      part(plugins.run(signal)),
      part(this.#announceReady(running, signal)),
      ...(dispatcher === undefined ? [] : [part(dispatcher.run(signal))]),
    ]);
    if (failure !== undefined) throw failure.error as Error;
  }

  async #announceReady({ drained, account, authenticated }: Running, signal: AbortSignal): Promise<void> {
    const { clock } = this.#platform;
    const late = async (): Promise<void> => {
      do await clock.sleep(READY_MS, signal);
      while (authenticated.state !== 'online');
    };
    try {
      await Promise.race([drained, late()]);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    this.#emit({ kind: 'ready', aci: account.aci, deviceId: account.deviceId });
    if (!signal.aborted) await new Promise<void>((resolve) => { signal.addEventListener('abort', () => { resolve(); }, { once: true }); }); // prettier-ignore
  }

  #onState(state: ConnectionState, error: BotError | undefined): void {
    if (error !== undefined) this.#platform.log.warn({ state, error: describe(error) }, 'connection');
    if (state === 'online') this.#running?.sender.retryNow();
    this.#emit({ kind: 'connection', state, ...(error === undefined ? {} : { error }) });
  }

  #settled(row: OutboxRow, end: Sent): void {
    for (const waiter of this.#waiters) {
      if (waiter.recipient === row.recipient && waiter.timestamp === row.timestamp) waiter.settle(end);
    }
  }

  /** How a message ended that may have left before anybody waited. */
  async #endOf(recipient: ServiceId, timestamp: number): Promise<Sent | undefined> {
    const batch = this.#options.store.batch();
    const row = await outboxRows.get(batch, recipient, timestamp);
    if (row?.state === 'failed') {
      const code = row.error as BotError['code'];
      return { state: 'failed', error: new BotError(code, 'the message could not be sent') };
    }
    if (row !== undefined) return undefined;
    const sent = await sentLog.get(batch, recipient, timestamp);
    return { state: 'sent', devices: sent?.devices ?? [] };
  }

  async #noteUnlinked(): Promise<void> {
    const batch = this.#options.store.batch();
    const row = await accountRow.get(batch);
    if (row === undefined || row.unlinkedAt !== null) return;
    accountRow.put(batch, { ...row, unlinkedAt: this.#platform.clock.now() });
    await batch.commit();
  }

  #emit(event: BotEvent): void {
    this.#options.onEvent?.(event);
  }

  /** A clock that was set back must not give the timestamp of a row that still waits a second time. */
  async #openStamp(): Promise<void> {
    if (this.#lastStamp > 0) return;
    let last = 1;
    for await (const [, row] of outboxRows.scan(this.#options.store)) last = Math.max(last, row.timestamp);
    this.#lastStamp = Math.max(this.#lastStamp, last);
  }

  #stamp(): number {
    this.#lastStamp = Math.max(this.#lastStamp + 1, this.#platform.clock.now());
    return this.#lastStamp;
  }
}

interface Running {
  readonly account: Account;
  readonly plugins: Plugins;
  readonly authenticated: Connection;
  readonly anonymous: Connection;
  readonly sender: Sender;
  readonly receipts: Receipts;
  readonly upkeep: Upkeep;
  readonly intake: Intake;
  readonly dispatcher: Dispatcher | undefined;
  readonly receiver: Receiver;
  readonly drained: Promise<void>;
}

/** Name of the plugin that the bot's own handlers make. */
const OWN = 'bot';

function ownPlugin(handlers: readonly ((handlers: Handlers) => void)[]): Plugin {
  return {
    name: OWN,
    version: '0',
    permissions: ['send', 'sync'],
    setup: (host) => {
      for (const register of handlers) register(host);
    },
  };
}

function encode(
  message: Outgoing,
  timestamp: number,
  profileKey: Bytes | undefined,
): Pick<OutboxRow, 'kind' | 'tag' | 'content'> {
  if (message.kind === 'text')
    return { kind: 'text', tag: '', content: encodeText(message.text, timestamp, profileKey) };
  const tag = parseTag(message.tag);
  return { kind: 'app', tag, content: encodeApp(tag, message.payload) };
}

function profileKeyOf(account: Account): Bytes | undefined {
  return account.profileKey === null ? undefined : fromBase64(account.profileKey);
}

function notLinked(): BotError {
  return new BotError('NOT_LINKED', 'this data directory is not linked to an account');
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((yes) => {
    resolve = yes;
  });
  return { promise, resolve };
}
