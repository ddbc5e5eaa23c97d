/**
 * Subcommands: what a plugin adds to the command line. It declares them in `subcommands`, the cli parses and runs them; a
 * plugin neither reads `process` nor knows the parser.
 *
 * The first word of a name is a word that the cli knows and loads the plugin for (`src/cli/plugin-commands.ts`).
 */
import type { Platform } from '../platform.ts';
import type { Store } from '../store/store.ts';

export interface Subcommand {
  /** The words behind `countersign`, such as `verify bare`; one word alone is the command itself. */
  readonly name: string;
  readonly description: string;
  /** Positional, in order, with a line of help each: `<contact>` has to be there, `[text]` may. */
  readonly arguments?: Readonly<Record<string, string>>;
  /** Flags with a line of help each: `--create`, or `--listen <address>` with a value. */
  readonly options?: Readonly<Record<string, string>>;
  /**
   * What it shares with other commands beside `--json` and `--verbose`: `data` is `--data` and what unlocks a store,
   * `account` is that and `--server`.
   */
  readonly shares?: 'data' | 'account';
  /** Lines of `--help`, without `countersign`. */
  readonly examples?: readonly string[];
  /**
   * Resolves when it is done (exit code 0).
   * @throws BotError printed as every failure is: exit code 2 for `USAGE`, else 1
   */
  run(call: SubcommandCall): Promise<void>;
}

export interface SubcommandCall {
  /** In the order of the declaration; undefined where an optional one was not given. */
  readonly arguments: readonly (string | undefined)[];
  /** By the flag's name in camel case: the value, `true` for a flag that takes none, undefined when not given. */
  readonly options: Readonly<Record<string, string | true | undefined>>;
  /** By the flag's name, for flags that may be given more than once: `--to <contact...>`. */
  readonly lists: Readonly<Record<string, readonly string[]>>;
  /** The real clock and random source, with logs on stderr. */
  readonly platform: Platform;
  /** Aborted by Ctrl-C or a signal that ends the process. */
  readonly signal: AbortSignal;
  /** Where relative file names begin. */
  readonly cwd: string;
  /** Not to be read before it is needed: a terminal that nobody reads keeps what is typed. */
  readonly stdin: NodeJS.ReadableStream;
  /**
   * The next line of stdin, as a terminal shows it while it is typed; undefined where stdin ends first.
   * @throws the signal's reason on abort
   */
  readLine(): Promise<string | undefined>;
  /** A person sits at both ends: questions on stderr are answered on stdin. */
  readonly canPrompt: boolean;
  /** The data directory, absolute; undefined when neither `--data` nor `COUNTERSIGN_DATA` is given. */
  readonly dataFolder: string | undefined;

  /** A result, or one event of a stream: JSON with `--json`, else `text`; undefined shows nothing. */
  print(value: object, text: () => string | undefined): void;
  /** What is printed is the answer, and it is no: the command ends with exit code 1. */
  fail(): void;
  /** For people only, on stderr: progress, hints, prompts. */
  note(text: string): void;
  /**
   * Takes stdout for bytes of its own: from here on results, and the failure if there is one, go to stderr.
   * @returns writes, and resolves when more can be taken
   */
  takeStdout(): (bytes: Uint8Array) => Promise<void>;
  /**
   * Asks the plugin of this command what it has registered as an act: through the bot that runs on the data directory,
   * or, where none does, by going online with this plugin alone until the answer is there and what it has left is sent.
   * @param onEvent told what the act tells meanwhile
   * @throws BotError `PLUGIN_NOT_LOADED` when the bot runs without the plugin, `RECIPIENT_UNKNOWN`, and what the act throws
   */
  act(
    name: string,
    about: {
      readonly contact?: string | undefined;
      /** Others, at most 100. */
      readonly contacts?: readonly string[];
      readonly input?: Readonly<Record<string, unknown>>;
      /**
       * The rows are enough: where no bot runs, the store is opened and no server asked, and the plugin is set up without its
       * work. What is left to be sent waits for the next run.
       */
      readonly offline?: boolean;
    },
    onEvent?: (event: object) => void,
  ): Promise<object>;
  /**
   * Opens the store of the data directory; whoever opens it closes it.
   * @throws BotError `NOT_LINKED`, `STORE_LOCKED`, `PASSPHRASE_NEEDED`, ...
   */
  openStore(): Promise<Store>;
}
