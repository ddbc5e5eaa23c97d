/**
 * Memory store: the store contract without a disk, for tests and for what need not survive.
 */
import { EMPTY, type Bytes } from '../bytes.ts';
import { compareKeys, type KeyRange } from './keys.ts';
import { OverlayStore, type Disk } from './overlay.ts';
import type { Pending, Row, RowCursor } from './scan.ts';
import type { Store } from './store.ts';

/** Rows in a map, their keys in an ordered list. */
export class MemoryDisk implements Disk {
  readonly #rows = new Map<string, Bytes>();
  readonly #keys: string[] = [];

  get(key: string): Bytes | undefined {
    return this.#rows.get(key);
  }

  write(rows: Pending): Promise<void> {
    for (const [key, value] of rows) {
      const known = this.#rows.has(key);
      if (value === null) {
        if (known) this.#keys.splice(this.#place(key), 1);
        this.#rows.delete(key);
      } else {
        if (!known) this.#keys.splice(this.#place(key), 0, key);
        this.#rows.set(key, value);
      }
    }
    return Promise.resolve();
  }

  rows(range: KeyRange, limit: number): RowCursor {
    let from = this.#place(range.from);
    if (range.exclusive && this.#keys[from] === range.from) from++;
    const to = range.below === undefined ? this.#keys.length : this.#place(range.below);
    const keys = this.#keys.slice(from, Math.min(to, from + limit));
    const rows = keys.map((key): Row => [key, this.#rows.get(key) ?? EMPTY]);
    let position = 0;
    return {
      next: (count) => {
        const page = rows.slice(position, position + count);
        position += page.length;
        return Promise.resolve(page);
      },
      close: () => Promise.resolve(),
    };
  }

  /** A map keeps nothing that was deleted. */
  compact(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The position of the first key that is not before `key`. */
  #place(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#keys[middle] ?? '', key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** An empty store. A closed one is gone, unless its disk is given again. */
export function openMemory(disk: MemoryDisk = new MemoryDisk()): Store {
  return new OverlayStore(disk, { cacheBytes: 0, pause: () => Promise.resolve() });
}
