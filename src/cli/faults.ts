/**
 * Faults: errors that nothing has caught, which the code of a plugin brings into the process like any other.
 *
 * A rejected promise that nobody awaited is shown, and the process goes on. After any other error it is stopped as by a
 * signal, with `UNCAUGHT` as the reason and exit code 1; what does not stop within 10 s is cut off. A process that is
 * ended from within (`process.exit`) never says 0; its reason is `EXITED`.
 */
import { writeSync } from 'node:fs';
import { BotError, describe } from '../errors.ts';
import { failureText, printable, toFailure, type LastWork } from './io.ts';

/** What stopping gets, before the process is ended as it is. */
const STOP_MS = 10_000;
/** Stray rejections that are shown; a loop of them would fill a disk. */
const MAX_SHOWN = 100;
const STDOUT = 1;
const STDERR = 2;
/** Tries to write where the reader of a pipe is behind. */
const WRITES = 100;
const WAIT_MS = 10;

export class Faults {
  readonly #process: NodeJS.Process;
  readonly #stopping: AbortController;
  readonly #works = new Set<LastWork>();
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
        const error = new BotError(
          'EXITED',
          'the process was ended from within, as by process.exit in a plugin or a library',
        );
        if (!this.#cutOff(error)) write(STDERR, `${failureText(toFailure(error))}\n`);
      });
  }

  /** Has `work` done if the process ends before its command. @returns takes it back */
  onExit(work: LastWork): () => void {
    this.#works.add(work);
    return () => this.#works.delete(work);
  }

  /** The command is over. @param code what it ended with @returns the exit code */
  end(code: number): number {
    this.#done = true;
    return this.#failed ? 1 : code;
  }

  #onUncaught(cause: unknown): void {
    if (this.#failed) return; // shown once: what follows may be the same one again and again
    this.#failed = true;
    say('error: nothing has caught an error', cause);
    const error = new BotError('UNCAUGHT', `nothing has caught an error: ${describe(cause)}`, { cause });
    this.#stopping.abort(error);
    setTimeout(() => {
      this.#cutOff(error);
      this.#process.exit(this.end(1));
    }, STOP_MS).unref();
  }

  /** @returns whether the end was told already */
  #cutOff(error: BotError): boolean {
    const print = (line: string): void => {
      write(STDOUT, `${line}\n`);
    };
    return [...this.#works].map((work) => work(error, print)).includes('told');
  }
}

function say(what: string, error: unknown): void {
  write(STDERR, `${what}: ${error instanceof Error ? (error.stack ?? describe(error)) : describe(error)}\n`);
}

/** At once: the process may not live to write later. */
function write(file: number, text: string): void {
  let rest = Buffer.from(printable(text));
  for (let i = 0; i < WRITES && rest.length > 0; i++) {
    try {
      rest = rest.subarray(writeSync(file, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return; // nobody reads it
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
}
