/**
 * Faults: errors that nothing has caught, which the code of a plugin brings into the process like any other.
 *
 * A rejected promise that nobody awaited is shown, and the process goes on. After any other error it is stopped as by a
 * signal, with `UNCAUGHT` as the reason and exit code 1; what does not stop within 10 s is cut off. A process that is
 * ended from within (`process.exit`) never says 0.
 */
import { writeSync } from 'node:fs';
import { BotError, describe } from '../errors.ts';
import { printable } from './io.ts';

/** What stopping gets, before the process is ended as it is. */
const STOP_MS = 10_000;
/** Stray rejections that are shown; a loop of them would fill a disk. */
const MAX_SHOWN = 100;
const STDERR = 2;

export class Faults {
  readonly #process: NodeJS.Process;
  readonly #stopping: AbortController;
  readonly #works = new Set<() => void>();
  #shown = 0;
  #failed = false;
  #done = false;

  constructor(process: NodeJS.Process, stopping: AbortController) {
    this.#process = process;
    this.#stopping = stopping;
  }

  watch(): void {
    this.#process
      .on('unhandledRejection', (reason) => {
        if (this.#shown++ < MAX_SHOWN) say('warning: a rejected promise that nobody awaited', reason);
      })
      .on('uncaughtException', (error) => {
        this.#onUncaught(error);
      })
      .on('exit', () => {
        if (this.#done) return;
        this.#process.exitCode = 1;
        for (const work of this.#works) work();
        write('error: the process was ended from within, as by process.exit in a plugin or a library\n');
      });
  }

  /** Has `work` done if the process ends from within. @returns takes it back */
  onExit(work: () => void): () => void {
    this.#works.add(work);
    return () => this.#works.delete(work);
  }

  /** The command is over. @param code what it ended with @returns the exit code */
  end(code: number): number {
    this.#done = true;
    return this.#failed ? 1 : code;
  }

  #onUncaught(error: unknown): void {
    if (this.#failed) return; // shown once: what follows may be the same one again and again
    this.#failed = true;
    say('error: nothing has caught an error', error);
    this.#stopping.abort(
      new BotError('UNCAUGHT', `nothing has caught an error: ${describe(error)}`, { cause: error }),
    );
    setTimeout(() => {
      this.#process.exit(this.end(1));
    }, STOP_MS).unref();
  }
}

function say(what: string, error: unknown): void {
  write(`${what}: ${error instanceof Error ? (error.stack ?? describe(error)) : describe(error)}\n`);
}

/** At once: the process may not live to write later. */
function write(text: string): void {
  try {
    writeSync(STDERR, printable(text));
  } catch {
    // nobody reads it
  }
}
