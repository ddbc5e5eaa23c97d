/**
 * What a command may touch of the world, so that the command line is tested without a process: results go to
 * stdout, logs and prompts to stderr.
 */
import { BotError, isBotError } from '../errors.ts';
import type { startWatchdog } from './watchdog.ts';

/** A stream as far as a command reads it. */
export type Input = NodeJS.ReadableStream & { isTTY?: boolean; setRawMode?: (mode: boolean) => unknown };

export interface Sink {
  /** @param done called when more can be written */
  write(data: string | Uint8Array, done?: (error?: Error | null) => void): unknown;
  readonly isTTY?: boolean;
}

/**
 * What a command does at once when its process ends before it does; does not throw.
 * @param print writes a line to stdout
 * @returns `told` when the end was told already, under another code
 */
export type LastWork = (error: BotError, print: (line: string) => void) => 'told' | undefined;

export interface Io {
  readonly stdin: Input;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Told when a command uses stdout for its own bytes: that nobody reads them is its own affair from then on. */
  readonly onStdoutTaken?: () => void;
  /** Aborted by Ctrl-C or a signal that ends the process, and with `UNCAUGHT` by an error that nothing has caught. */
  readonly signal: AbortSignal;
  /** Has `work` done, at once, if the process ends before the command does. @returns takes it back */
  readonly onExit?: (work: LastWork) => () => void;
  /** Ends the process when nothing can run in it any more; absent where it is not ours to end. */
  readonly startWatchdog?: typeof startWatchdog;
}

/** Prints what a command has found: one JSON value per line with `--json`, else lines for people. */
export class Printer {
  readonly #io: Io;
  readonly #results: Sink;
  readonly json: boolean;

  /** @param results where they go, when not to stdout */
  constructor(io: Io, json: boolean, results = io.stdout) {
    this.#io = io;
    this.#results = results;
    this.json = json;
  }

  /** A result, or one event of a stream. `text` is made only where it is shown; undefined shows nothing. */
  print(value: object, text: () => string | undefined): void {
    const line = this.json ? JSON.stringify(value) : text();
    if (line !== undefined) this.#results.write(`${printable(line)}\n`); // in JSON an escape is the same value
  }

  /** For people only, beside the results: progress, hints. */
  note(text: string): void {
    this.#io.stderr.write(`${printable(text)}\n`);
  }
}

/**
 * Text in which a stranger may have had a hand, as a terminal may be given it: control characters, and those that turn the
 * direction of writing, stand as escapes (`\\u001b`). Line ends stay.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The same for what is only a part of a line: a name, a message. Its line ends would make lines that nobody printed. */
export function oneLine(text: string): string {
  return printable(text).replaceAll('\n', '\\n');
}

/** The `{"error"}` value of any failure. */
export interface Failure {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly next: string;
    /** ms since 1970 */
    readonly retryAt?: number;
  };
}

export function toFailure(error: unknown): Failure {
  const known = isBotError(error)
    ? error
    : new BotError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
  const { code, message, next, retryAt } = known;
  return { error: retryAt === undefined ? { code, message, next } : { code, message, next, retryAt } };
}

/** A failure in two lines for people. Its message may quote a stranger, such as why another party has ended a ceremony. */
export function failureText({ error }: Failure): string {
  const until = error.retryAt === undefined ? '' : ` (not before ${new Date(error.retryAt).toISOString()})`;
  return `${error.code}: ${oneLine(error.message)}\n${oneLine(error.next)}${until}`;
}

/** Rows as aligned columns under a heading, each on one line; `empty` where there is none. */
export function columns(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  empty: string,
): string {
  if (rows.length === 0) return empty;
  const all = [heading, ...rows.map((row) => row.map(oneLine))];
  const widths = heading.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A time for people; a dash for none. */
export function timeText(ms: number | undefined): string {
  return ms === undefined || ms === 0 ? '-' : new Date(ms).toISOString();
}
