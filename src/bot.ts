/**
 * Bot: one linked device that receives, dispatches, sends and keeps house. It goes made -> running -> stopped once.
 *
 * `bot/parts.ts` builds and wires what runs in it. The first part that fails stops the rest, and its reason is what `run`
 * rejects with.
 */
import { setMaxListeners } from 'node:events';
import { finishRegistration } from './account/register.ts';
import type { ServiceId } from './address.ts';
import { startFresh } from './bot/fresh-start.ts';
import { encodeOutgoing, type Outgoing } from './bot/outgoing.ts';
import { buildParts, type Parts } from './bot/parts.ts';
import { Settlements } from './bot/settlements.ts';
import { Stamps } from './bot/stamps.ts';
import { BotError, describe, isBotError } from './errors.ts';
import type { DropCounts } from './inbox/intake.ts';
import { lastListen, noteListen, type Listen } from './inbox/listening.ts';
import type { Unseen } from './inbox/receiver.ts';
import type { Ending } from './outbox/sender.ts';
import { systemPlatform, type Platform } from './platform.ts';
import type { Plugins } from './plugin.ts';
import type { Handlers, PluginInfo, PluginSource } from './plugin/contract.ts';
import type { ActCall } from './plugin/acts.ts';
import { InlineHandlers } from './plugin/inline.ts';
import { resumeLink } from './provisioning/link.ts';
import { otherServer, withRemedy } from './service/own-device.ts';
import type { Profile } from './service/profile.ts';
import { newRow } from './store/outbox-row.ts';
import type { TrustEvent } from './trust.ts';
import type { Trust } from './trust/build.ts';
import type { OperatorRules } from './trust/policy.ts';
import { noteLinked, noteUnlinked } from './store/unlinked.ts';
import type { Store } from './store/store.ts';
import type { Account } from './store/rows.ts';
import { account as accountRow, outboxRows } from './store/tables.ts';
import type { OpenSocket } from './transport/connection.ts';
import type { ConnectionState, Requester } from './transport/request.ts';

export interface BotOptions {
  readonly store: Store;
  /** How the server is reached. */
  readonly service: Profile;
  /** Default: the real clock and random source, no logs. */
  readonly platform?: Platform;
  /** Returns at once and does not throw. */
  readonly onEvent?: (event: BotEvent) => void;
  /** A plugin's handler begins (1), or has ended (-1). Returns at once and does not throw. */
  readonly onCall?: (plugin: string, change: 1 | -1) => void;
  /** In front of commands; default `!`. */
  readonly prefix?: string;
  /** False: what arrives is kept for the next run, and no handler is called; `app`: but for app messages of its plugins. */
  readonly dispatch?: boolean | 'app';
  /**
   * What is opened: `all`, or only what bears an outer tag (`tagged`; docs/outer-tag.md). Default: as this store was last
   * told, at first `all`.
   */
  readonly listen?: Listen;
  /** What is asked of contacts, by plugin: goes before what plugins say themselves. */
  readonly policy?: OperatorRules;
  /** Sockets; those of the network unless a test or a benchmark says otherwise. */
  readonly openSocket?: OpenSocket;
}

export type BotEvent =
  | { readonly kind: 'connection'; readonly state: ConnectionState; readonly error?: BotError }
  /** The server has said that its queue is empty, or has not within a minute. */
  | { readonly kind: 'ready'; readonly aci: string; readonly deviceId: number }
  | { readonly kind: 'warning'; readonly message: string }
  /** What is known of a contact's identity key has changed. */
  | { readonly kind: 'trust'; readonly event: TrustEvent }
  /** A plugin tells the operator something. */
  | { readonly kind: 'notice'; readonly plugin: string; readonly message: string }
  /** A message that no handler sees has been taken: null messages, what the framework itself reads, what cannot be opened. */
  | ({ readonly kind: 'unseen' } & Unseen);

/** How a message ended; `devices` are those that got it, and no filler. */
export type Sent = Ending;

/** How long after opening the server's word that its queue is empty is waited for. */
const READY_MS = 60_000;
/** How often it is looked whether the socket is open. */
const POLL_MS = 1000;
/** Parts that wait for the same abort; Node warns of more than ten. */
const LISTENERS = 32;
/** Name of the plugin that the bot's own handlers make. */
const OWN = 'bot';

export class Bot {
  readonly #options: BotOptions;
  readonly #platform: Platform;
  readonly #sources: { readonly source: PluginSource; readonly config: unknown }[] = [];
  readonly #inline = new InlineHandlers();
  readonly #settlements: Settlements;
  readonly #stamps: Stamps;
  #parts: Parts | undefined;
  /** ms; since when the socket is open. */
  #onlineSince: number | undefined;

  constructor(options: BotOptions) {
    this.#options = options;
    this.#platform = options.platform ?? systemPlatform();
    this.#settlements = new Settlements(options.store);
    this.#stamps = new Stamps(this.#platform.clock);
  }

  /** Adds a plugin; it is set up when the bot starts. */
  use(plugin: PluginSource, config?: unknown): this {
    this.#sources.push({ source: plugin, config });
    return this;
  }

  /** Handles `!name …`. */
  command(...args: Parameters<Handlers['command']>): this {
    this.#inline.command(...args);
    return this;
  }

  /** Registers handlers of the bot itself, beside those of its plugins. */
  handle(register: (handlers: Handlers) => void): this {
    register(this.#inline);
    return this;
  }

  get connection(): ConnectionState {
    return this.#parts?.authenticated.state ?? 'stopped';
  }

  /** Names of the plugins, once the bot has started. */
  get plugins(): readonly string[] {
    return this.installed.map(({ name }) => name);
  }

  get installed(): readonly PluginInfo[] {
    return (this.#parts?.plugins.list ?? []).filter(({ name }) => name !== OWN);
  }

  /** What was dropped without a word since the start. */
  get drops(): DropCounts | undefined {
    return this.#parts?.intake.drops;
  }

  /** The authenticated connection. @throws BotError `NOT_RUNNING` */
  get requester(): Requester {
    return this.#running.authenticated;
  }

  /**
   * Runs until the abort; then the message in hand is finished. A link that was interrupted is finished first, and a
   * restored store gets fresh prekeys.
   * @throws BotError `NOT_LINKED`, `DEVICE_UNLINKED`, `CONNECTED_ELSEWHERE`, `PROFILE_INVALID`, `TLS_UNTRUSTED`, `PLUGIN_INVALID`,
   *   `STORE_WRITE_FAILED`, `STORE_DAMAGED`
   */
  async run(signal: AbortSignal): Promise<void> {
    const account = await this.#account(signal);
    if (account === undefined || signal.aborted) return;
    await this.#stamps.open(this.#options.store);
    this.#parts = await this.#build(account, signal);
    if (this.#parts === undefined) return;
    try {
      await this.#join(this.#parts, account, signal);
    } catch (error) {
      throw await this.#noted(error, account);
    } finally {
      this.#parts = undefined;
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
    const account = await accountRow.get(store.batch());
    if (account === undefined) throw notLinked();
    await this.#stamps.open(store);
    const timestamp = this.#stamps.next();
    const devices = options.deviceId === undefined ? [] : [options.deviceId];
    const row = newRow({ recipient, timestamp, devices, ...encodeOutgoing(message, timestamp, account) });
    const batch = store.batch();
    outboxRows.put(batch, recipient, timestamp, row);
    await batch.commit();
    this.#parts?.sender.offer(row);
    return { timestamp };
  }

  /** Resolves when the message has been sent or has failed; rejects with the signal's reason. */
  sent(recipient: ServiceId, timestamp: number, signal: AbortSignal): Promise<Sent> {
    return this.#settlements.wait(recipient, timestamp, signal);
  }

  /** What trust is made of, while the bot runs. */
  get trust(): Trust | undefined {
    return this.#parts?.trust;
  }

  /** A timestamp of ours that was never given before, ms: for a row that is left in the outbox from outside. */
  readonly stamp = (): number => this.#stamps.next();

  /**
   * Asks a plugin for its operator, from the event `ready` on.
   * @throws BotError `NOT_RUNNING`, `PLUGIN_NOT_LOADED`, `USAGE` an act that there is not, and what the plugin throws
   */
  async act(plugin: string, name: string, call: ActCall): Promise<object> {
    return this.#running.plugins.acts.run(plugin, name, call);
  }

  /** Rows were changed from outside: they are looked at now. */
  ring(): void {
    this.#parts?.dispatcher?.ring();
    this.#parts?.sender.ring();
    this.#parts?.sender.retryNow();
  }

  get #running(): Parts {
    if (this.#parts === undefined)
      throw new BotError('NOT_RUNNING', 'the bot does not run yet, or has stopped');
    return this.#parts;
  }

  async #account(signal: AbortSignal): Promise<Account | undefined> {
    const { store, service: profile } = this.#options;
    const row = await accountRow.get(store.batch());
    // Another server would answer 403 to the password that is not for it, and that reads as "unlinked".
    if (row !== undefined && row.server !== profile.chat) throw otherServer(row.server, profile.chat);
    const platform = this.#platform;
    const onDelay = (message: string): void => {
      this.#emit({ kind: 'warning', message });
    };
    try {
      const parts = { store, profile, platform };
      const account = row?.keysUploaded === true ? row : await finish(parts, row, signal);
      if (account === undefined) throw notLinked();
      await startFresh({ store, account, profile, platform, onDelay }, signal);
      return account;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw await this.#noted(error, row);
    }
  }

  /** The reason of an end; that the device was removed is noted in the store. */
  async #noted(error: unknown, account: Account | undefined): Promise<unknown> {
    if (!isBotError(error, 'DEVICE_UNLINKED')) return error;
    await noteUnlinked(this.#options.store, this.#platform.clock.now());
    return account === undefined ? error : withRemedy(error, account);
  }

  /** @returns undefined when the abort came first */
  async #build(account: Account, signal: AbortSignal): Promise<Parts | undefined> {
    const { store, service: profile, prefix, openSocket, dispatch = true, listen } = this.#options;
    if (listen !== undefined) await noteListen(store, listen);
    const building = buildParts({
      store,
      account,
      profile,
      prefix,
      openSocket,
      platform: this.#platform,
      stamp: this.#stamps.next,
      install: dispatch !== false ? (plugins) => this.#install(plugins, signal) : undefined,
      onCall: this.#options.onCall,
      onState: (state, error) => {
        this.#onState(state, error);
      },
      onSkew: (ms) => {
        const minutes = String(Math.round(ms / 60_000));
        this.#emit({ kind: 'warning', message: `the server's clock is ${minutes} minutes off` });
      },
      onSettled: (row, end) => {
        this.#settlements.settle(row, end);
      },
      policy: this.#options.policy,
      onlyTags: dispatch === 'app',
      listen: listen ?? (await lastListen(store)),
      onNotice: (plugin, message) => {
        this.#emit({ kind: 'notice', plugin, message });
      },
      onTrust: (event) => {
        this.#onTrust(event);
      },
      onUnseen: (message) => {
        this.#emit({ kind: 'unseen', ...message });
      },
    });
    return building.catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
  }

  async #install(plugins: Plugins, signal: AbortSignal): Promise<void> {
    for (const { source, config } of this.#sources)
      await plugins.install(source, config, signal, this.#options.onCall);
    await plugins.install(this.#inline.plugin(OWN, '0'));
  }

  /** Runs the parts until the abort. The first that fails stops the others; its reason is thrown once all have stopped. */
  async #join(parts: Parts, account: Account, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    setMaxListeners(LISTENERS, either);
    let failure: { readonly error: unknown } | undefined;
    const run = async (work: Promise<void> | undefined): Promise<void> => {
      try {
        await work;
      } catch (error) {
        if (!either.aborted) failure = { error };
        stop.abort();
      }
    };
    const { authenticated, anonymous, sender, receipts, upkeep, answers, dispatcher, receiver, plugins } =
      parts;
    const { replay } = parts;
    await Promise.all([
      run(authenticated.run(either)),
      run(anonymous.run(either)),
      run(receiver.run(authenticated.incoming(), either)),
      run(dispatcher?.run(either)),
      run(replay.run(either)),
      run(sender.run(either)),
      run(receipts.run(either)),
      run(upkeep.run(either)),
      run(answers?.run(either)),
      run(plugins.run(either)),
      this.#announceReady(parts, account, either),
    ]);
    if (failure !== undefined) throw failure.error as Error;
  }

  async #announceReady({ drained }: Parts, account: Account, signal: AbortSignal): Promise<void> {
    const { clock } = this.#platform;
    const late = async (): Promise<void> => {
      for (;;) {
        const opened = this.#onlineSince;
        const leftMs = opened === undefined ? POLL_MS : opened + READY_MS - clock.now();
        if (leftMs <= 0) return;
        await clock.sleep(leftMs, signal);
      }
    };
    try {
      await Promise.race([drained, late()]);
    } catch {
      return; // stopped before
    }
    this.#emit({ kind: 'ready', aci: account.aci, deviceId: account.deviceId });
  }

  #onState(state: ConnectionState, error: BotError | undefined): void {
    if (error !== undefined) this.#platform.log.warn({ state, error: describe(error) }, 'connection');
    this.#onlineSince = state === 'online' ? this.#platform.clock.now() : undefined;
    if (state === 'online') this.#onOnline();
    this.#emit({ kind: 'connection', state, ...(error === undefined ? {} : { error }) });
  }

  #onOnline(): void {
    this.#parts?.sender.retryNow();
    // What read as "unlinked" may have been a proxy's answer: the server takes the password.
    noteLinked(this.#options.store).catch((error: unknown) => {
      this.#platform.log.warn({ error: describe(error) }, 'could not note that the device is linked');
    });
  }

  /** An operator hears of a changed key in words: who, what is stopped, and what it was before. */
  #onTrust(event: TrustEvent): void {
    this.#emit({ kind: 'trust', event });
    if (event.kind !== 'changed') return;
    const before = event.wasVerified ? 'It was verified before. ' : '';
    const message = `the identity key of ${event.aci} has changed. ${before}Messages to and from this contact wait, for every plugin, until it is verified again or accepted: countersign trust show ${event.aci}`;
    this.#platform.log.warn(
      { contact: event.aci, wasVerified: event.wasVerified },
      'an identity key has changed',
    );
    this.#emit({ kind: 'warning', message });
  }

  #emit(event: BotEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** Finishes a link or a registration that was interrupted. */
function finish(
  parts: { store: Store; profile: Profile; platform: Platform },
  row: Account | undefined,
  signal: AbortSignal,
): Promise<Account | undefined> {
  return row?.deviceId === 1
    ? finishRegistration(parts, row, () => undefined, signal)
    : resumeLink(parts, undefined, signal);
}

function notLinked(): BotError {
  return new BotError('NOT_LINKED', 'this data directory is not linked to an account');
}
