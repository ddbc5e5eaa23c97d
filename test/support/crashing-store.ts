/** A store whose process dies at a given commit: before it is written, or right after, unknown to the caller. */
import { BotError } from '../../src/errors.ts';
import type { Batch, ScanOptions, Store } from '../../src/store/store.ts';

export interface Crash {
  /** 1 for the first commit. */
  readonly at: number;
  readonly when: 'before' | 'after';
}

export class CrashingStore implements Store {
  readonly #inner: Store;
  readonly #crash: Crash | undefined;
  commits = 0;
  dead = false;

  constructor(inner: Store, crash?: Crash) {
    this.#inner = inner;
    this.#crash = crash;
  }

  batch(): Batch {
    const batch = this.#inner.batch();
    return {
      get: (key) => batch.get(key),
      put: (key, value) => {
        batch.put(key, value);
      },
      delete: (key) => {
        batch.delete(key);
      },
      commit: async () => {
        this.commits += 1;
        if (this.dead) throw died();
        if (this.commits !== this.#crash?.at) {
          await batch.commit();
          return;
        }
        this.dead = true;
        if (this.#crash.when === 'after') await batch.commit();
        throw died();
      },
    };
  }

  scan(prefix: string, options?: ScanOptions): AsyncIterable<readonly [string, Uint8Array<ArrayBuffer>]> {
    return this.#inner.scan(prefix, options);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

function died(): BotError {
  return new BotError('STORE_WRITE_FAILED', 'the process died here');
}
