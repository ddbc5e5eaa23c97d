/** A store that lets somebody stand around each commit that writes something. */
import type { Batch, ScanOptions, Store } from '../../src/store/store.ts';

export class WatchedStore implements Store {
  readonly #inner: Store;
  readonly #around: (commit: () => Promise<void>) => Promise<void>;

  constructor(inner: Store, around: (commit: () => Promise<void>) => Promise<void>) {
    this.#inner = inner;
    this.#around = around;
  }

  batch(): Batch {
    const inner = this.#inner.batch();
    let writes = 0;
    return {
      get: (key) => inner.get(key),
      put: (key, value) => {
        writes++;
        inner.put(key, value);
      },
      delete: (key) => {
        writes++;
        inner.delete(key);
      },
      commit: () => (writes === 0 ? inner.commit() : this.#around(() => inner.commit())),
    };
  }

  scan(prefix: string, options?: ScanOptions): ReturnType<Store['scan']> {
    return this.#inner.scan(prefix, options);
  }

  compact(prefix: string, from?: string): Promise<string | undefined> {
    return this.#inner.compact(prefix, from);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
