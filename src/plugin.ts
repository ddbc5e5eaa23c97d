/**
 * Plugins: the runtime that installs and runs them. What a plugin declares and is handed is in `plugin/contract.ts`.
 *
 * A plugin goes declared -> installed (its configuration checked, its handlers registered by `setup`) -> running -> stopped.
 * A fault before running is the operator's to correct and stops the start; a fault while running stays with the plugin.
 */
import { restoredAt } from './backup/fresh-start.ts';
import { noteVolatileTags } from './backup/volatile-tags.ts';
import { BotError, describe, isBotError } from './errors.ts';
import { StagedTransaction, type ContextParts, type Scope, type Transaction } from './context.ts';
import type { Tag } from './content/app-message.ts';
import { Attempt } from './inbox/attempt.ts';
import { aborted, type Platform } from './platform.ts';
import {
  app,
  command,
  kind,
  Router,
  text,
  type Filter,
  type Handler,
  type HandlerOptions,
  type MatchFields,
  type TextFields,
} from './router.ts';
import { Acts } from './plugin/acts.ts';
import { checkHandlerOptions } from './plugin/check-options.ts';
import { checkDeclared, checkPlugin, invalid, readConfig } from './plugin/check-plugin.ts';
import type { Host, Plugin, PluginInfo, PluginSource, TextArguments } from './plugin/contract.ts';
import { inTime } from './plugin/in-time.ts';
import { trustHost } from './plugin/trust-host.ts';
import { VERIFY_TAG } from './session/carrier.ts';
import type { Policy } from './store/identity-row.ts';
import type { PolicyRule } from './trust.ts';

export interface PluginsParts extends ContextParts {
  readonly platform: Platform;
  /** Called when outbox rows were added outside of a message. Returns at once and does not throw. */
  readonly onRow: (keys: readonly string[]) => void;
  /** In front of commands; default `!`. */
  readonly prefix?: string;
  /** A line for the operator. Returns at once and does not throw. */
  readonly onNotice?: (plugin: string, message: string) => void;
}

/** Conflicts of one update in a row; more of them are a fault of the plugin. */
const MAX_CONFLICTS = 100;

export class Plugins {
  readonly router: Router;
  readonly acts = new Acts((plugin) => this.#installed.has(plugin));
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
    checkDeclared(
      name,
      'tag',
      plugin.tags?.map(({ tag }) => tag),
      registered.tags,
    );
    checkDeclared(name, 'command', plugin.commands && Object.keys(plugin.commands), registered.commands);
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

interface Registered {
  readonly tags: Set<Tag>;
  readonly commands: Set<string>;
  /** Setup has ended: what comes now would be heard by nobody. */
  isOver: boolean;
}

async function makePlugin(source: () => Plugin | Promise<Plugin>): Promise<Plugin> {
  try {
    return await source();
  } catch (error) {
    throw new BotError('PLUGIN_INVALID', `a plugin could not be made: ${describe(error)}`, { cause: error });
  }
}
