/**
 * Contract: what a plugin declares, and what it is handed (`plugin.ts` installs and runs it).
 */
import type { OtherContent, ReceiptContent, Sync, TypingContent } from '../content/content.ts';
import type { Tag } from '../content/app-message.ts';
import type { Permission, Transaction } from '../context.ts';
import type { Clock, Log } from '../platform.ts';
import type {
  AppFields,
  AppType,
  CommandFields,
  Filter,
  Handler,
  HandlerOptions,
  MatchFields,
  TextFields,
} from '../router.ts';
import type { PolicyRule, TrustHost } from '../trust.ts';
import type { Act } from './acts.ts';
import type { Subcommand } from './subcommand.ts';

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

export type TextArguments =
  | [handler: Handler<TextFields>, options?: HandlerOptions<TextFields> | undefined]
  | [pattern: RegExp, handler: Handler<MatchFields>, options?: HandlerOptions<MatchFields> | undefined];

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
