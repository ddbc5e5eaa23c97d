/**
 * Attempt: one call of one handler. It goes open -> ended once: what is staged on it is committed with the row's
 * progress, or dropped. A handler that goes on after its end finds everything refused.
 */
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Batch, Staging } from '../store/store.ts';
import { outboxRows } from '../store/tables.ts';

/** What a task is told about the call besides the message. */
export interface Call {
  /** Writes of this call; committed when it returns. */
  readonly staging: Staging;
  /** 1 to 5. */
  readonly attempt: number;
  /** Aborted when the call's time is over or the bot stops. */
  readonly signal: AbortSignal;
}

const OUTBOX = outboxRows.key();

export class Attempt implements Call, Staging {
  readonly attempt: number;
  /** ms since 1970 */
  readonly deadline: number;
  readonly #batch: Batch;
  #controller: AbortController | undefined;
  #reason: BotError | undefined;
  #reject: ((reason: BotError) => void) | undefined;
  #open = true;
  #hasRead = false;
  readonly #outbox: string[] = [];

  constructor(batch: Batch, attempt: number, deadline: number) {
    this.#batch = batch;
    this.attempt = attempt;
    this.deadline = deadline;
  }

  get staging(): Staging {
    return this;
  }

  /** Made when first asked for: most handlers never do. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Whether it read anything, so that its commit can conflict. */
  get hasRead(): boolean {
    return this.#hasRead;
  }

  /** Keys of the outbox rows that it staged. */
  get outbox(): readonly string[] {
    return this.#outbox;
  }

  async get(key: string): Promise<Bytes | undefined> {
    this.#check();
    this.#hasRead = true;
    const value = await this.#batch.get(key);
    this.#check();
    return value;
  }

  put(key: string, value: Bytes): void {
    this.#check();
    if (key.startsWith(OUTBOX)) this.#outbox.push(key);
    this.#batch.put(key, value);
  }

  delete(key: string): void {
    this.#check();
    this.#batch.delete(key);
  }

  /** Calls the handler; settles as it does, or rejects when the attempt is abandoned before. At once where it is not async. */
  run(task: { run(call: Call): unknown }): Promise<void> | undefined {
    if (this.#reason !== undefined) return Promise.reject(this.#reason);
    const result = task.run(this);
    if (!isThenable(result)) return undefined;
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      result.then(() => {
        resolve();
      }, reject);
    });
  }

  /** Ends it well: the batch with all that was staged, for the dispatcher to add the row's progress and commit. */
  close(): Batch {
    this.#open = false;
    return this.#batch;
  }

  /** Ends it: what was staged is dropped, the handler's signal is aborted. The first reason stays. */
  abandon(reason: BotError): void {
    if (this.#reason !== undefined) return;
    this.#open = false;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#reject?.(reason);
  }

  #check(): void {
    if (this.#open) return;
    throw (
      this.#reason ??
      new BotError('PLUGIN_FAILED', 'the handler has returned; nothing can be staged any more')
    );
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
