/**
 * Plugins: what a plugin declares, what it is handed, and the runtime that installs and runs them.
 *
 * A plugin goes declared -> installed (its configuration checked, its handlers registered by `setup`) -> running -> stopped.
 * A fault before running is the operator's to correct and stops the start; a fault while running stays with the plugin.
 */
import { restoredAt } from './backup/fresh-start.ts';
import { noteVolatileTags } from './backup/volatile-tags.ts';
import { BotError, describe, isBotError } from './errors.ts';
import {
  StagedTransaction,
  type ContextParts,
  type Permission,
  type Scope,
  type Transaction,
} from './context.ts';
import type { Tag } from './content/app-message.ts';
import { Attempt } from './inbox/attempt.ts';
import { aborted, type Clock, type Log, type Platform } from './platform.ts';
import type { Subcommand } from './plugin/subcommand.ts';
import {
  app,
  command,
  kind,
  Router,
  text,
  type AppFields,
  type AppType,
  type CommandFields,
  type Filter,
  type Handler,
  type HandlerOptions,
  type MatchFields,
  type TextFields,
} from './router.ts';
import { Acts, type Act } from './plugin/acts.ts';
import { checkDefinition, checkHandlerOptions } from './plugin/check-options.ts';
import { inTime } from './plugin/in-time.ts';
import { trustHost } from './plugin/trust-host.ts';
import { VERIFY_TAG } from './session/carrier.ts';
import type { Policy } from './store/identity-row.ts';
import type { PolicyRule, TrustHost } from './trust.ts';
import type { OtherContent, ReceiptContent, Sync, TypingContent } from './content/content.ts';

/** Checks a configuration: a zod schema, or anything of the same shape. */
export interface ConfigSchema<Config> {
  safeParse(
    value: unknown,
  ):
    | { readonly success: true; readonly data: Config }
    | { readonly success: false; readonly error: { readonly issues: readonly ConfigIssue[] } };
}

export interface ConfigIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

export interface Plugin<Config = unknown> {
  /** `[a-z0-9-]+`; names its state, so it must stay. */
  readonly name: string;
  readonly version: string;
  /** App message types that it handles. What is declared is all that `setup` may register, and must; else what it registers. */
  readonly tags?: readonly { readonly tag: Tag }[];
  /** Those of them whose messages must not outlive this store: no backup has one, whether it waits, was sent or has died. */
  readonly volatile?: readonly { readonly tag: Tag }[];
  /** Names of its commands, each with a line of help. Declared or not as with `tags`. */
  readonly commands?: Readonly<Record<string, string>>;
  /** Absent: it takes no configuration. A missing configuration is checked as `{}`. */
  readonly config?: ConfigSchema<Config>;
  readonly permissions?: readonly Permission[];
  /** What is asked of contacts, where a handler says nothing else (V-32). */
  readonly policy?: PolicyRule;
  /** Commands of the command line, when the plugin is a built-in one that the cli has words for. */
  readonly subcommands?: readonly Subcommand[];
  /** Registers handlers on the host. What it throws is `PLUGIN_INVALID`. */
  setup(host: Host<Config>): void | Promise<void>;
}

/** A plugin, or what makes one. */
export type PluginSource = Plugin | (() => Plugin | Promise<Plugin>);

export interface Handlers {
  text(handler: Handler<TextFields>, options?: HandlerOptions<TextFields>): void;
  text(pattern: RegExp, handler: Handler<MatchFields>, options?: HandlerOptions<MatchFields>): void;
  /** `!name …`; the prefix is the bot's. */
  command(name: string, handler: Handler<CommandFields>, options?: HandlerOptions<CommandFields>): void;
  app<T>(type: AppType<T>, handler: Handler<AppFields<T>>, options?: HandlerOptions<AppFields<T>>): void;
  receipt(handler: Handler<{ readonly content: ReceiptContent }>): void;
  typing(handler: Handler<{ readonly content: TypingContent }>): void;
  /** What our other devices tell each other, with the permission `sync`. */
  sync(handler: Handler<{ readonly content: { readonly kind: 'sync'; readonly sync: Sync } }>): void;
  /** Content that has no type of its own yet, whole: reactions, edits, calls, … */
  other(handler: Handler<{ readonly content: OtherContent }>): void;
  on<F extends object>(filter: Filter<F>, handler: Handler<F>, options?: HandlerOptions<F>): void;
}

/**
 * What `setup` is handed. Handlers are tried in the order in which they were registered; the first that matches takes the
 * message. Handlers, acts and work are registered in `setup` alone: later it is `PLUGIN_INVALID`.
 */
export interface Host<Config = unknown> extends Handlers {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  /** Our own key, and what is known of contacts. Its use is `PERMISSION_NEEDED` without the permission `identities`. */
  readonly trust: TrustHost<Transaction>;
  /**
   * When the store was made from a backup, ms; undefined where it never was. Then `state` is as it was at the backup, the
   * `volatile` of that time is gone, and the old process may have gone on from it: what `state` says was under way is
   * dead, and must not be taken up. To act once for each restore, keep the time in `state` and compare.
   */
  readonly restoredAt: number | undefined;
  /**
   * Writes outside of a message: all that `work` stages is committed together. It is called again when something that it
   * read was changed meanwhile.
   * @throws what `work` throws (nothing is written then), BotError `STORE_WRITE_FAILED`
   */
  update<T>(work: (transaction: Transaction) => T | Promise<T>): Promise<T>;
  /** What the plugin's commands ask for, by name. */
  act(name: string, act: Act): void;
  /** A line for the operator: printed where the bot runs. */
  notify(message: string): void;
  /** Work that goes on as long as the bot runs; the abort of its signal asks it to end. A failure is logged. */
  run(work: (signal: AbortSignal) => Promise<void>): void;
}

/** Gives a plugin its type; the same object comes back. */
export function definePlugin<Config = undefined>(plugin: Plugin<Config>): Plugin<Config> {
  return plugin;
}

/** An installed plugin, to be shown. */
export interface PluginInfo {
  readonly name: string;
  readonly version: string;
  readonly tags: readonly Tag[];
  readonly commands: readonly string[];
  readonly permissions: readonly Permission[];
}

export interface PluginsParts extends ContextParts {
  readonly platform: Platform;
  /** Called when outbox rows were added outside of a message. Returns at once and does not throw. */
  readonly onRow: (keys: readonly string[]) => void;
  /** In front of commands; default `!`. */
  readonly prefix?: string;
  /** A line for the operator. Returns at once and does not throw. */
  readonly onNotice?: (plugin: string, message: string) => void;
}

const NAME = /^[a-z0-9][a-z0-9-]*$/;
export const PERMISSIONS: readonly Permission[] = ['send', 'sync', 'identities'];
/** Conflicts of one update in a row; more of them are a fault of the plugin. */
const MAX_CONFLICTS = 100;

export class Plugins {
  readonly router: Router;
  readonly acts = new Acts();
  readonly #parts: PluginsParts;
  readonly #installed = new Map<string, PluginInfo>();
  readonly #works: { readonly plugin: string; readonly work: (signal: AbortSignal) => Promise<void> }[] = [];

  constructor(parts: PluginsParts) {
    this.#parts = parts;
    this.router = new Router({ ...parts, log: parts.platform.log });
  }

  get list(): readonly PluginInfo[] {
    return [...this.#installed.values()];
  }

  /** All tags that are handled, sorted. */
  get tags(): readonly Tag[] {
    return [...new Set(this.list.flatMap((info) => info.tags))].sort();
  }

  /**
   * @param signal ends the wait for a plugin that is not ready
   * @param onCall told when its setup begins (1) and ends (-1)
   * @throws BotError `PLUGIN_INVALID` with the plugin's name and what is wrong; the signal's reason
   */
  async install(
    source: PluginSource,
    config?: unknown,
    signal?: AbortSignal,
    onCall?: (plugin: string, change: 1 | -1) => void,
  ): Promise<void> {
    const { clock } = this.#parts.platform;
    const plugin = checkPlugin(
      typeof source === 'function' ? await inTime(makePlugin(source), 'a plugin', clock, signal) : source,
    );
    const { name, version, permissions = [], policy } = plugin;
    if (this.#installed.has(name)) throw invalid(name, 'is there twice');
    const registered: Registered = { tags: new Set(), commands: new Set(), isOver: false };
    const outbound = (): Policy =>
      this.#parts.trust?.policies.of('outbound', name, undefined, policy) ?? 'tofu';
    const scope: Scope = { plugin: name, permissions: new Set(permissions), outbound };
    const restored = await restoredAt(this.#parts.store);
    const host = this.#host(scope, policy, readConfig(plugin, config), registered, restored);
    onCall?.(name, 1);
    try {
      await inTime(Promise.resolve(plugin.setup(host)), `the plugin ${name}`, clock, signal);
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw isBotError(error, 'PLUGIN_INVALID')
        ? error
        : invalid(name, `could not be set up: ${describe(error)}`, error);
    } finally {
      registered.isOver = true;
      onCall?.(name, -1);
    }
    compare(
      name,
      'tag',
      plugin.tags?.map(({ tag }) => tag),
      registered.tags,
    );
    compare(name, 'command', plugin.commands && Object.keys(plugin.commands), registered.commands);
    await noteVolatileTags(this.#parts.store, plugin.volatile?.map(({ tag }) => tag) ?? []);
    const tags = [...registered.tags].sort();
    const commands = [...registered.commands].sort();
    this.#installed.set(name, { name, version, tags, commands, permissions });
  }

  /** Runs what plugins do of their own accord, until the abort and until all of it has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#parts.platform;
    const running = this.#works.map(async ({ plugin, work }) => {
      try {
        await work(signal);
      } catch (error) {
        if (!signal.aborted) log.error({ plugin, error: describe(error) }, 'the work of a plugin has failed');
      }
    });
    await Promise.all([...running, aborted(signal)]);
  }

  #host<Config>(
    scope: Scope,
    rule: PolicyRule | undefined,
    config: Config,
    registered: Registered,
    restored: number | undefined,
  ): Host<Config> {
    const { router } = this;
    const { platform, prefix = '!', onNotice } = this.#parts;
    const inSetup = (what: string): void => {
      if (registered.isOver) throw invalid(scope.plugin, `registers ${what} when its setup is over`);
    };
    const add = <F extends object>(
      filter: Filter<F>,
      handler: Handler<F>,
      options?: HandlerOptions<F>,
      name?: string,
    ): void => {
      inSetup('a handler');
      checkHandlerOptions(scope.plugin, options);
      router.add(scope, filter, handler, options, { rule, ...(name === undefined ? {} : { command: name }) });
    };
    const update: Host['update'] = (work) => this.#update(scope, work);
    return {
      config,
      clock: platform.clock,
      log: platform.log,
      restoredAt: restored,
      text: (...args: TextArguments) => {
        if (args[0] instanceof RegExp) add(text(args[0]), ...(args.slice(1) as [Handler<MatchFields>]));
        else add(text(), ...(args as [Handler<TextFields>]));
      },
      command: (name, handler, options) => {
        if (!/^\S+$/.test(name)) throw invalid(scope.plugin, `registers a command with a space: "${name}"`);
        registered.commands.add(name);
        add(command(name, prefix), handler, options, name);
      },
      app: (type, handler, options) => {
        if (type.tag === VERIFY_TAG && !scope.permissions.has('identities'))
          throw invalid(scope.plugin, 'handles verification frames without the permission "identities"');
        registered.tags.add(type.tag);
        add(app(type), handler, options);
      },
      receipt: (handler) => {
        add(kind('receipt'), handler);
      },
      typing: (handler) => {
        add(kind('typing'), handler);
      },
      sync: (handler) => {
        if (!scope.permissions.has('sync'))
          throw invalid(scope.plugin, 'handles sync messages without the permission "sync"');
        add(kind('sync'), handler);
      },
      other: (handler) => {
        add(kind('other'), handler);
      },
      on: (filter, handler, options) => {
        add(filter, handler, options);
      },
      trust: trustHost(this.#parts, scope, update),
      update,
      act: (name, act) => {
        inSetup('an act');
        this.acts.add(scope.plugin, name, act);
      },
      notify: (message) => {
        onNotice?.(scope.plugin, message);
      },
      run: (work) => {
        inSetup('work');
        this.#works.push({ plugin: scope.plugin, work });
      },
    };
  }

  async #update<T>(scope: Scope, work: (transaction: Transaction) => T | Promise<T>): Promise<T> {
    const { store, onRow, trust } = this.#parts;
    for (let conflicts = 0; ; conflicts++) {
      const attempt = new Attempt(store.batch(), 1, Infinity);
      try {
        const result = await work(new StagedTransaction(this.#parts, scope, attempt));
        await attempt.close().commit();
        if (attempt.outbox.length > 0) onRow(attempt.outbox);
        trust?.desk.committed(attempt);
        return result;
      } catch (error) {
        attempt.abandon(
          new BotError('PLUGIN_FAILED', 'the update has ended; nothing can be staged any more'),
        );
        if (!isBotError(error, 'STORE_CONFLICT') || conflicts === MAX_CONFLICTS) throw error;
      }
    }
  }
}

export type TextArguments =
  | [handler: Handler<TextFields>, options?: HandlerOptions<TextFields> | undefined]
  | [pattern: RegExp, handler: Handler<MatchFields>, options?: HandlerOptions<MatchFields> | undefined];

interface Registered {
  readonly tags: Set<Tag>;
  readonly commands: Set<string>;
  /** Setup has ended: what comes now would be heard by nobody. */
  isOver: boolean;
}

/**
 * Whatever a module has exported, as a plugin.
 * @throws BotError `PLUGIN_INVALID`
 */
export function checkPlugin(value: unknown): Plugin {
  const plugin = (typeof value === 'object' ? value : null) as Partial<Plugin> | null;
  const name = plugin?.name;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new BotError('PLUGIN_INVALID', 'a plugin needs a name of a-z, 0-9 and -');
  }
  if (typeof plugin?.version !== 'string') throw invalid(name, 'needs a version');
  if (typeof plugin.setup !== 'function') throw invalid(name, 'needs a function setup');
  const unknown = plugin.permissions?.find((permission) => !PERMISSIONS.includes(permission));
  if (unknown !== undefined) throw invalid(name, `asks for an unknown permission: ${unknown}`);
  checkDefinition(name, plugin);
  return plugin as Plugin;
}

async function makePlugin(source: () => Plugin | Promise<Plugin>): Promise<Plugin> {
  try {
    return await source();
  } catch (error) {
    throw new BotError('PLUGIN_INVALID', `a plugin could not be made: ${describe(error)}`, { cause: error });
  }
}

function readConfig(plugin: Plugin, config: unknown): unknown {
  const { name, config: schema } = plugin;
  if (schema === undefined) {
    if (config === undefined) return undefined;
    throw invalid(name, 'takes no configuration');
  }
  const result = schema.safeParse(config ?? {});
  if (result.success) return result.data;
  const issues = result.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.') || 'all of it'}: ${message}`,
  );
  throw invalid(name, `has a configuration that does not fit: ${issues.join('; ')}`);
}

/** What is declared and what is registered have to be the same. */
function compare(
  name: string,
  what: string,
  declared: readonly string[] | undefined,
  registered: ReadonlySet<string>,
): void {
  if (declared === undefined) return;
  const undeclared = [...registered].find((item) => !declared.includes(item));
  if (undeclared !== undefined)
    throw invalid(name, `handles a ${what} that it does not declare: ${undeclared}`);
  const unhandled = declared.find((item) => !registered.has(item));
  if (unhandled !== undefined)
    throw invalid(name, `declares a ${what} that it does not handle: ${unhandled}`);
}

function invalid(name: string, what: string, cause?: unknown): BotError {
  return new BotError('PLUGIN_INVALID', `the plugin ${name} ${what}`, { cause });
}
