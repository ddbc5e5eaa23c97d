/**
 * Context: one incoming message as a handler sees it. All that a handler writes (its state, messages to be sent) is
 * staged on one batch and committed with the row's progress, or not at all.
 */
import { hash } from 'node:crypto';
import { isAci, isPni, type Aci, type Address, type DeviceId, type ServiceId } from './address.ts';
import { fromUtf8, own, toUtf8, type Bytes } from './bytes.ts';
import { parseTag } from './content/app-message.ts';
import type { Content } from './content/content.ts';
import { encodeApp, encodeText } from './content/encode.ts';
import { BotError } from './errors.ts';
import type { Call } from './inbox/attempt.ts';
import type { Message } from './inbox/lane.ts';
import { VERIFY_TAG } from './session/carrier.ts';
import type { Policy } from './store/identity-row.ts';
import { newRow } from './store/outbox-row.ts';
import type { Staging, Store } from './store/store.ts';
import { outboxRows, pluginState, pluginVolatile, sentLog } from './store/tables.ts';
import { isPolicy, stricter, type Policies } from './trust/policy.ts';
import { trustTransaction, type TrustParts } from './trust/transaction.ts';
import type { TrustTransaction } from './trust.ts';

/**
 * What a plugin can be allowed to do besides answering who wrote to it. The runtime enforces it towards a plugin's use of
 * its context and host; it is no fence against code that means harm, which runs in the same process.
 *
 * - `send`: messages to others than the sender of the message in hand, and messages of its own accord
 * - `sync`: what the account's other devices tell each other, such as the texts that its owner writes to others
 * - `identities`: identity keys, trust and the sessions that hang on them (`trust.ts`)
 */
export type Permission = 'send' | 'sync' | 'identities';

/** A text, or an app message; `payload` is limited by what fits into one message. */
export type Outgoing = string | { readonly tag: string; readonly payload: Uint8Array };

export interface SendOptions {
  /** Only these devices of the recipient get it, the others a filler. All that have the plugin if absent. */
  readonly devices?: readonly DeviceId[];
  /** What is asked of the recipient, where that is more than the plugin's own rule; else the message is held (V-33). */
  readonly policy?: Policy;
  /** A frame of `countersign.verify/1` goes by the carrier; with the permission `identities`. */
  readonly carrier?: boolean;
  /**
   * False: nothing of it is kept once it is sent, for what is a secret. Who cannot open it gets no other copy by asking for it;
   * the plugin sees to that.
   */
  readonly logged?: boolean;
}

/** Something that makes a value of what was stored, and throws when it does not fit: a zod schema, for one. */
export interface Parser<T> {
  parse(value: unknown): T;
}

/** What one plugin keeps. Keys are text of its own choice; writes are staged. */
export interface State {
  /** The bytes are shared: do not change them. @throws BotError `STORE_DAMAGED` */
  get(key: string): Promise<Bytes | undefined>;
  put(key: string, value: Uint8Array): void;
  getJson(key: string): Promise<unknown>;
  getJson<T>(key: string, parser: Parser<T>): Promise<T | undefined>;
  putJson(key: string, value: unknown): void;
  delete(key: string): void;
  /** The rows whose key begins with `prefix`, in key order, as this call sees them. Unlike `get`, it guards nothing. */
  scan(prefix?: string): AsyncIterable<readonly [key: string, value: Bytes]>;
}

/** Writes that are committed together. */
export interface Transaction {
  readonly state: State;
  /**
   * Like `state`, for what must not be used a second time from an old copy: nonces, steps of a protocol run. No backup has
   * it, so it is empty after a restore, while `state` is as it was at the backup (`host.restoredAt`). The keys of the two have
   * nothing to do with each other.
   */
  readonly volatile: State;
  /**
   * Stages a message, outside of the conversation in hand too.
   * @returns its timestamp, ms, which names it in receipts
   * @throws BotError `PAYLOAD_TOO_LARGE`, `RECIPIENT_UNKNOWN`, `CONTENT_INVALID` (tag, policy), `PERMISSION_NEEDED` without
   *   `send`
   */
  send(recipient: ServiceId | 'self', message: Outgoing, options?: SendOptions): number;
  /** Takes back one of the plugin's messages, and what is kept of it; one that is under way may still arrive. */
  withdraw(recipient: ServiceId, timestamp: number): void;
  /** Identities, sessions and held messages. @throws BotError `PERMISSION_NEEDED` without `identities` */
  readonly trust: TrustTransaction;
}

/** A message, before anyone handles it. */
export interface Incoming {
  readonly sender: Address;
  /** A note to self is unwrapped: it looks like a message from our own account. */
  readonly content: Content;
  /** ms, chosen by the sender. */
  readonly timestamp: number;
  /** ms, set by the server. */
  readonly serverTimestamp: number;
  /** It came under sealed sender. */
  readonly sealed: boolean;
  /** It was addressed to our phone number and not to our ACI. */
  readonly toPni: boolean;
  /** Our own account wrote it to itself. */
  readonly isNoteToSelf: boolean;
  /** 33 bytes: the key that it was opened under; undefined where no session was needed. */
  readonly identityKey: Bytes | undefined;
  /**
   * The same at every attempt, and for no other message: `ACI.device.timestamp.hash`, the hash over what it says, since a
   * sender can give two messages one timestamp.
   */
  readonly idempotencyKey: string;
}

export interface Context extends Incoming, Transaction {
  /** 1 to 5. */
  readonly attempt: number;
  /** Aborted when the handler's time is over. */
  readonly signal: AbortSignal;
  /**
   * Stages an answer to the sender; a message in a group is answered to its sender alone.
   * @returns its timestamp, ms
   * @throws BotError `PAYLOAD_TOO_LARGE`, `CONTENT_INVALID` (tag, policy)
   */
  reply(message: Outgoing, options?: SendOptions): number;
}

/** What contexts need of the bot. */
export interface ContextParts {
  readonly self: Aci;
  readonly store: Store;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  /** Ours, 32 bytes; goes with texts. */
  readonly profileKey?: Bytes;
  /** Absent where nothing is asked of contacts, and no plugin may change what is known of them. */
  readonly trust?: TrustParts & { readonly policies: Policies };
}

/** Who writes. */
export interface Scope {
  /** Name of the plugin: `[a-z0-9-]+`. */
  readonly plugin: string;
  readonly permissions: ReadonlySet<Permission>;
  /** What is asked of recipients; `tofu` if unsaid. */
  readonly outbound?: () => Policy;
}

/** Reads the frame of a message; notes to self are unwrapped. */
export function incomingOf({ row, content: outer }: Message, self: Aci): Incoming {
  const { source, sourceDevice, timestamp, serverTimestamp, sealed, toPni, identityKey } = row;
  const note = outer.kind === 'sync' && outer.sync.type === 'sent' && outer.sync.destination === self;
  const content = note ? outer.sync.content : outer;
  return {
    sender: { serviceId: source, deviceId: sourceDevice },
    content,
    timestamp,
    serverTimestamp,
    sealed,
    toPni,
    isNoteToSelf: source === self && content.kind !== 'sync',
    identityKey: identityKey?.length === 0 ? undefined : identityKey,
    idempotencyKey: `${source}.${String(sourceDevice)}.${String(timestamp)}.${hashOf(row.content)}`,
  };
}

/** SHA-256 as base64url, 43 characters. */
function hashOf(bytes: Bytes): string {
  return hash('sha256', bytes, 'base64url');
}

/** The context of one call. `fields` are what the filter found out. */
export function contextOf<F extends object>(
  parts: ContextParts,
  scope: Scope,
  incoming: Incoming,
  fields: F,
  call: Call,
): Context & F {
  return Object.assign(new MessageContext(parts, scope, incoming, call), incoming, fields);
}

/** Writes of a plugin on a batch that its caller commits. */
export class StagedTransaction implements Transaction {
  readonly #parts: ContextParts;
  readonly #scope: Scope;
  readonly #staging: Staging;
  #state: StagedState | undefined;
  #volatile: StagedState | undefined;
  #trust: TrustTransaction | undefined;

  constructor(parts: ContextParts, scope: Scope, staging: Staging) {
    this.#parts = parts;
    this.#scope = scope;
    this.#staging = staging;
  }

  get state(): State {
    return (this.#state ??= this.#rows(pluginState));
  }

  get volatile(): State {
    return (this.#volatile ??= this.#rows(pluginVolatile));
  }

  get trust(): TrustTransaction {
    return (this.#trust ??= trustTransaction(trustOf(this.#parts, this.#scope), this.#staging));
  }

  send(recipient: ServiceId | 'self', message: Outgoing, options?: SendOptions): number {
    if (!this.#scope.permissions.has('send')) {
      throw new BotError(
        'PERMISSION_NEEDED',
        `the plugin ${this.#scope.plugin} may only answer who wrote to it`,
      );
    }
    return this.stage(recipient === 'self' ? this.#parts.self : recipient, message, options);
  }

  withdraw(recipient: ServiceId, timestamp: number): void {
    outboxRows.delete(this.#staging, recipient, timestamp);
    sentLog.delete(this.#staging, recipient, timestamp);
  }

  /** Without asking for the permission. */
  stage(recipient: ServiceId, message: Outgoing, options: SendOptions = {}): number {
    const { devices = [], carrier = false, logged = true } = options;
    if (!isAci(recipient) && !isPni(recipient))
      throw new BotError('RECIPIENT_UNKNOWN', 'the recipient is not a service id');
    const { stamp, profileKey } = this.#parts;
    const timestamp = stamp();
    const what =
      typeof message === 'string'
        ? { kind: 'text' as const, content: encodeText(message, timestamp, profileKey) }
        : appRow(message.tag, message.payload);
    const isFrame = what.kind === 'app' && what.tag === VERIFY_TAG;
    if (isFrame)
      trustOf(this.#parts, this.#scope); // frames go where nothing else may
    else if (carrier) throw new BotError('CONTENT_INVALID', 'only verification frames go by the carrier');
    const rule = this.#scope.outbound?.() ?? 'tofu';
    const asked = options.policy ?? rule;
    // A misspelt one would ask for nothing.
    if (!isPolicy(asked)) throw new BotError('CONTENT_INVALID', `there is no policy ${String(asked)}`);
    const policy = stricter(rule, asked);
    const row = newRow({ recipient, timestamp, devices, policy, carrier, logged, ...what });
    outboxRows.put(this.#staging, recipient, timestamp, row);
    return timestamp;
  }

  #rows(table: typeof pluginState): StagedState {
    return new StagedState(this.#parts.store, this.#staging, this.#scope.plugin, table);
  }
}

/** @throws BotError `PERMISSION_NEEDED` */
export function trustOf({ trust }: ContextParts, { plugin, permissions }: Scope): TrustParts {
  if (permissions.has('identities') && trust !== undefined) return trust;
  throw new BotError('PERMISSION_NEEDED', `the plugin ${plugin} may not touch identities`);
}

function appRow(text: string, payload: Uint8Array): { kind: 'app'; tag: string; content: Bytes } {
  const tag = parseTag(text);
  return { kind: 'app', tag, content: encodeApp(tag, payload) };
}

class MessageContext {
  readonly #writes: StagedTransaction;
  readonly #sender: ServiceId;
  readonly #call: Call;

  constructor(parts: ContextParts, scope: Scope, incoming: Incoming, call: Call) {
    this.#writes = new StagedTransaction(parts, scope, call.staging);
    this.#sender = incoming.sender.serviceId;
    this.#call = call;
  }

  get attempt(): number {
    return this.#call.attempt;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  get state(): State {
    return this.#writes.state;
  }

  get volatile(): State {
    return this.#writes.volatile;
  }

  get trust(): TrustTransaction {
    return this.#writes.trust;
  }

  reply(message: Outgoing, options?: SendOptions): number {
    return this.#writes.stage(this.#sender, message, options);
  }

  withdraw(recipient: ServiceId, timestamp: number): void {
    this.#writes.withdraw(recipient, timestamp);
  }

  send(recipient: ServiceId | 'self', message: Outgoing, options?: SendOptions): number {
    return recipient === this.#sender
      ? this.reply(message, options)
      : this.#writes.send(recipient, message, options);
  }
}

class StagedState implements State {
  readonly #store: Store;
  readonly #staging: Staging;
  readonly #plugin: string;
  readonly #table: typeof pluginState;
  /** What this call has written, for its scans. */
  readonly #written = new Map<string, Bytes | undefined>();

  constructor(store: Store, staging: Staging, plugin: string, table: typeof pluginState) {
    this.#store = store;
    this.#staging = staging;
    this.#plugin = plugin;
    this.#table = table;
  }

  async get(key: string): Promise<Bytes | undefined> {
    return this.#table.get(this.#staging, this.#plugin, key);
  }

  put(key: string, value: Uint8Array): void {
    const bytes = own(value);
    this.#table.put(this.#staging, this.#plugin, key, bytes);
    this.#written.set(key, bytes);
  }

  async getJson<T>(key: string, parser?: Parser<T>): Promise<T | undefined> {
    const bytes = await this.get(key);
    if (bytes === undefined) return undefined;
    const value: unknown = JSON.parse(toUtf8(bytes));
    return parser === undefined ? (value as T) : parser.parse(value);
  }

  putJson(key: string, value: unknown): void {
    this.put(key, fromUtf8(JSON.stringify(value)));
  }

  delete(key: string): void {
    this.#table.delete(this.#staging, this.#plugin, key);
    this.#written.set(key, undefined);
  }

  async *scan(prefix = ''): AsyncIterable<readonly [key: string, value: Bytes]> {
    const start = this.#table.key(this.#plugin, prefix);
    const mine = [...this.#written].filter(([key]) => key.startsWith(prefix)).sort(byKey);
    for await (const [full, stored] of this.#store.scan(start)) {
      const key = prefix + full.slice(start.length);
      while (mine[0] !== undefined && byKey(mine[0], [key]) < 0) yield* present(mine.shift());
      if (mine[0]?.[0] === key) yield* present(mine.shift());
      else yield [key, stored];
    }
    for (const row of mine) yield* present(row);
  }
}

type Written = readonly [key: string, value: Bytes | undefined];

function* present(row: Written | undefined): Iterable<readonly [string, Bytes]> {
  if (row?.[1] !== undefined) yield [row[0], row[1]];
}

/** The store's order. */
function byKey([a]: readonly [string, ...unknown[]], [b]: readonly [string, ...unknown[]]): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
