/**
 * Router: which handler takes a message. Filters look at a message and say what they found, which narrows the type of the
 * context. In each plugin the first handler whose filter matches takes the message; the plugins do not see each other.
 */
import { toHex, type Bytes } from './bytes.ts';
import { parseTag, type Tag } from './content/app-message.ts';
import type { AppContent, Content, TextContent } from './content/content.ts';
import {
  contextOf,
  incomingOf,
  type Context,
  type ContextParts,
  type Incoming,
  type Scope,
} from './context.ts';
import { describe } from './errors.ts';
import type { Message, Task } from './inbox/lane.ts';
import type { Log } from './platform.ts';
import { VERIFY_TAG } from './session/carrier.ts';
import type { Policy } from './store/identity-row.ts';
import { onceRead, type Reading } from './store/reading.ts';
import type { PolicyRule } from './trust.ts';

/** What a handler is interested in: undefined, or fields that are added to its context. Quick, and without effects. */
export type Filter<F extends object> = (incoming: Incoming) => F | undefined;

/** What it returns is awaited and not looked at. What it throws undoes what it staged, and it is called again later. */
export type Handler<F extends object = object> = (ctx: Context & F) => unknown;

export interface HandlerOptions<F extends object = object> {
  /**
   * Messages with the same key are handled one after the other, others side by side. Default: the conversation. The same
   * message must always give the same key.
   */
  readonly lane?: (incoming: Incoming & F) => string;
  /** Default 60,000. */
  readonly deadlineMs?: number;
  /** What is asked of who calls, and of who is written to from here. */
  readonly policy?: PolicyRule;
  /**
   * Messages that go for good when they have failed for the last time, and are not kept in `dead`: they hold what must not lie
   * around, and come again when it is asked for. Default: none.
   */
  readonly discards?: (incoming: Incoming & F) => boolean;
}

export interface TextFields {
  readonly content: TextContent;
  readonly text: string;
}

export interface MatchFields extends TextFields {
  readonly match: RegExpExecArray;
}

export interface CommandFields extends TextFields {
  /** In lower case, without the prefix. */
  readonly command: string;
  /** Words behind the command. */
  readonly args: readonly string[];
  /** All that follows the command and one space. */
  readonly rest: string;
}

export interface AppFields<T> {
  readonly content: AppContent;
  readonly value: T;
}

/** A tag with the form of its payload. */
export interface AppType<T> {
  readonly tag: Tag;
  /** Throws when the payload is not of this form; the message is dropped then, and counted. */
  readonly decode: (payload: Bytes) => T;
  readonly encode: (value: T) => Uint8Array;
  /** A message to be sent. */
  readonly of: (value: T) => { readonly tag: Tag; readonly payload: Uint8Array };
}

export interface Codec<T> {
  decode(payload: Bytes): T;
  encode(value: T): Uint8Array;
}

const PLAIN: Codec<Bytes> = { decode: (payload) => payload, encode: (value) => value };

/**
 * An app message type: a tag, and how its payload is read and written (bytes as they are, if unsaid).
 * @param tag `[a-z0-9@._/-]+` `/` decimal version, at most 64 bytes
 * @throws BotError `CONTENT_INVALID` when that is no tag
 */
export function appType(tag: string): AppType<Bytes>;
export function appType<T>(tag: string, codec: Codec<T>): AppType<T>;
export function appType<T>(text: string, codec?: Codec<T>): AppType<T> | AppType<Bytes> {
  const tag = parseTag(text);
  return codec === undefined ? typeOf(tag, PLAIN) : typeOf(tag, codec);
}

function typeOf<T>(tag: Tag, codec: Codec<T>): AppType<T> {
  return {
    tag,
    decode: (payload) => codec.decode(payload),
    encode: (value) => codec.encode(value),
    of: (value) => ({ tag, payload: codec.encode(value) }),
  };
}

/** Content of one kind. */
export function kind<K extends Content['kind']>(
  name: K,
): Filter<{ readonly content: Extract<Content, { kind: K }> }> {
  return ({ content }) =>
    content.kind === name ? { content: content as Extract<Content, { kind: K }> } : undefined;
}

/** Texts. */
export function text(): Filter<TextFields>;
/** Texts that match. */
export function text(pattern: RegExp): Filter<MatchFields>;
export function text(pattern?: RegExp): Filter<TextFields> {
  // Without memory: the flags g and y would make a match depend on the one before.
  const regex = pattern && new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
  return ({ content }) => {
    if (content.kind !== 'text') return undefined;
    const fields = { content, text: content.text };
    if (regex === undefined) return fields;
    const match = regex.exec(content.text);
    return match === null ? undefined : { ...fields, match };
  };
}

/** Texts such as `!name word word`; upper and lower case are the same in the name. */
export function command(name: string, prefix: string): Filter<CommandFields> {
  const start = (prefix + name).toLowerCase();
  return ({ content }) => {
    if (content.kind !== 'text') return undefined;
    const { text: all } = content;
    const rest = all.slice(start.length + 1);
    if (all.slice(0, start.length).toLowerCase() !== start || !/^(\s|$)/.test(all.slice(start.length)))
      return undefined;
    const args = rest.split(/\s+/).filter((word) => word !== '');
    return { content, text: all, command: name.toLowerCase(), args, rest };
  };
}

/** App messages of one type, decoded. */
export function app<T>(type: AppType<T>): Filter<AppFields<T>> {
  return ({ content }) => {
    if (content.kind !== 'app' || content.tag !== type.tag) return undefined;
    return { content, value: type.decode(content.payload) };
  };
}

export interface RouterParts extends ContextParts {
  readonly log: Log;
}

interface Route {
  readonly scope: Scope;
  /** What is asked of who calls; undefined: nothing, not even that the key is trusted. */
  readonly inbound: (() => Policy) | undefined;
  readonly filter: Filter<object>;
  readonly handler: Handler;
  readonly options: HandlerOptions;
}

export class Router {
  readonly #parts: RouterParts;
  readonly #plugins = new Map<string, Route[]>();
  /** Messages that a filter threw at: payloads that are not of their tag's form. */
  invalid = 0;
  /** Messages of senders who do not meet the policy of the handler. */
  refused = 0;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  /**
   * Adds a handler behind the others of its plugin.
   * @param place the command that it is for, and its plugin's rule
   */
  add<F extends object>(
    of: Scope,
    filter: Filter<F>,
    handler: Handler<F>,
    options: HandlerOptions<F> = {},
    { command: name, rule }: { readonly command?: string; readonly rule?: PolicyRule | undefined } = {},
  ): void {
    const { trust } = this.#parts;
    const policyOf = (direction: 'inbound' | 'outbound') => (): Policy =>
      trust?.policies.of(direction, of.plugin, name, options.policy, rule) ?? 'tofu';
    const scope: Scope = { ...of, outbound: policyOf('outbound') };
    const inbound = trust === undefined ? undefined : policyOf('inbound');
    const route = { scope, inbound, filter, handler: handler as Handler, options: options as HandlerOptions };
    const routes = this.#plugins.get(scope.plugin);
    if (routes === undefined) this.#plugins.set(scope.plugin, [route]);
    else routes.push(route);
  }

  /** One task for each plugin that takes the message. Does not throw. */
  route(message: Message): readonly Task[] {
    const incoming = incomingOf(message, this.#parts.self);
    const tasks: Task[] = [];
    for (const routes of this.#plugins.values()) {
      const task = this.#taskOf(routes, incoming);
      if (task !== undefined) tasks.push(task);
    }
    return tasks;
  }

  #taskOf(routes: readonly Route[], incoming: Incoming): Task | undefined {
    for (const { scope, inbound, filter, handler, options } of routes) {
      if (incoming.content.kind === 'sync' && !scope.permissions.has('sync')) return undefined;
      try {
        const fields = filter(incoming);
        if (fields === undefined) continue;
        const key = options.lane?.({ ...incoming, ...fields });
        const discards = options.discards?.({ ...incoming, ...fields }) === true;
        return {
          plugin: scope.plugin,
          lane: key === undefined ? conversationOf(incoming) : `key ${key}`,
          ...(options.deadlineMs === undefined ? {} : { deadlineMs: options.deadlineMs }),
          ...(discards ? { discards } : {}),
          run: (call) => {
            const policy = isFrame(incoming) ? undefined : inbound?.();
            const meets = policy === undefined || this.#meets(incoming, policy, scope.plugin);
            return onceRead(meets, (may) =>
              may ? handler(contextOf(this.#parts, scope, incoming, fields, call)) : undefined,
            );
          },
        };
      } catch (error) {
        this.invalid++;
        this.#parts.log.warn(
          { plugin: scope.plugin, from: incoming.sender.serviceId },
          'a filter threw at a message',
        );
        this.#parts.log.debug({ error: describe(error) }, 'what the filter threw');
      }
    }
    return undefined;
  }

  /**
   * Whether the key that a message was opened under is trusted as far as the policy asks (V-32). Read beside the call's
   * batch: it guards no write.
   */
  #meets({ sender, identityKey }: Incoming, policy: Policy, plugin: string): Reading<boolean> {
    const { trust, store, log } = this.#parts;
    if (trust === undefined) return true;
    const reading = trust.identities.meets(store.batch(), sender.serviceId, policy, identityKey);
    return onceRead(reading, (meets) => {
      if (meets) return true;
      this.refused++;
      log.warn(
        { plugin, from: sender.serviceId, policy },
        'a message was left unhandled: its sender, or the key that it came under, is not trusted so far',
      );
      return false;
    });
  }
}

/** Frames of a run come from whom nothing else is taken from. */
function isFrame({ content }: Incoming): boolean {
  return content.kind === 'app' && content.tag === VERIFY_TAG;
}

/** The group, or who wrote. */
function conversationOf({ sender, content }: Incoming): string {
  const group = content.kind === 'text' ? content.group : undefined;
  return group === undefined ? sender.serviceId : `group ${toHex(group.masterKey)}`;
}
