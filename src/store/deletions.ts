/**
 * Deletions: a store that tells which rows of some tables are gone, for who sees to it that they leave the disk.
 */
import type { Batch, ScanOptions, Store } from './store.ts';

/** A store as it is seen through `tellDeletions`. */
class ToldStore implements Store {
  readonly #inner: Store;
  readonly #prefixes: readonly string[];
  readonly #onDeleted: (keys: readonly string[]) => void;

  constructor(inner: Store, prefixes: readonly string[], onDeleted: (keys: readonly string[]) => void) {
    this.#inner = inner;
    this.#prefixes = prefixes;
    this.#onDeleted = onDeleted;
  }

  batch(): Batch {
    const inner = this.#inner.batch();
    const deleted: string[] = [];
    return {
      get: (key) => inner.get(key),
      put: (key, value) => {
        inner.put(key, value);
      },
      delete: (key) => {
        inner.delete(key);
        if (this.#prefixes.some((prefix) => key.startsWith(prefix))) deleted.push(key);
      },
      commit: () => {
        const durable = inner.commit();
        return deleted.length === 0 ? durable : this.#tell(durable, deleted);
      },
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

  async #tell(durable: Promise<void>, deleted: readonly string[]): Promise<void> {
    await durable;
    this.#onDeleted(deleted);
  }
}

/**
 * @param prefixes of keys
 * @param onDeleted told of the keys of a batch once it is durable, whether there were such rows or not. Returns at once and does
 *   not throw
 */
export function tellDeletions(
  store: Store,
  prefixes: readonly string[],
  onDeleted: (keys: readonly string[]) => void,
): Store {
  return new ToldStore(store, prefixes, onDeleted);
}
