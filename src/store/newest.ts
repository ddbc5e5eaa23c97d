/**
 * Newest: which rows of a table that only grows must go, so that it keeps within a number of rows and of bytes.
 */

export interface Bounds {
  readonly rows: number;
  readonly bytes: number;
}

/** Of the quarantine. An envelope has 4 MiB at most, so that there is always room for some. */
export const QUARANTINE: Bounds = { rows: 1000, bytes: 32 * 1024 * 1024 };

export class Newest<K> {
  readonly #bounds: Bounds;
  /** Oldest first. */
  readonly #kept: { readonly key: K; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  /** @returns what must go now that this row is there, oldest first; never this row */
  add(key: K, bytes: number): K[] {
    this.#kept.push({ key, bytes });
    this.#bytes += bytes;
    const gone: K[] = [];
    while (
      this.#kept.length > 1 &&
      (this.#kept.length > this.#bounds.rows || this.#bytes > this.#bounds.bytes)
    ) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) break;
      this.#bytes -= oldest.bytes;
      gone.push(oldest.key);
    }
    return gone;
  }
}
