/**
 * Value cache: opened values that were read lately, bounded by bytes.
 *
 * Two generations in place of a linked list: when the younger one holds half the bound it becomes the older one, and
 * what was not read since is forgotten with the next change of generation.
 */
import { copy, type Bytes } from '../bytes.ts';

/** Bytes that an entry costs beside its key and value. */
const ENTRY_COST = 96;

export class ValueCache {
  readonly #half: number;
  #young = new Map<string, Bytes>();
  #old = new Map<string, Bytes>();
  #youngBytes = 0;

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes: number) {
    this.#half = Math.floor(maxBytes / 2);
  }

  get(key: string): Bytes | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  has(key: string): boolean {
    return this.#young.has(key) || this.#old.has(key);
  }

  /** Values above a quarter of the bound are not kept. */
  set(key: string, value: Bytes): void {
    this.delete(key);
    const cost = costOf(key, value);
    if (cost > this.#half / 2) return;
    if (this.#youngBytes + cost > this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    // A view on a pool would keep all of the pool alive.
    this.#young.set(key, value.byteLength === value.buffer.byteLength ? value : copy(value));
    this.#youngBytes += cost;
  }

  delete(key: string): void {
    const young = this.#young.get(key);
    if (young !== undefined) {
      this.#youngBytes -= costOf(key, young);
      this.#young.delete(key);
    }
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
  }
}

function costOf(key: string, value: Bytes): number {
  return key.length + value.byteLength + ENTRY_COST;
}
