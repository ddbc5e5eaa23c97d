/**
 * Scan: the rows on disk and the ones on their way to it, merged in key order.
 */
import type { Bytes } from '../bytes.ts';
import { compareKeys, isInRange, type KeyRange } from './keys.ts';

export type Row = readonly [key: string, value: Bytes];

/** A write that is not on disk yet; null deletes. */
export type Pending = ReadonlyMap<string, Bytes | null>;

/** Rows of a disk as of the moment this was made. */
export interface RowCursor {
  /** The next rows, at most `count`; none at the end. */
  next(count: number): Promise<readonly Row[]>;
  close(): Promise<void>;
}

const PAGE = 256;

/** The writes of `layers` (older first) that lie in `range`, in key order. */
export function collect(
  layers: readonly Pending[],
  range: KeyRange,
): (readonly [key: string, value: Bytes | null])[] {
  const found = new Map<string, Bytes | null>();
  for (const layer of layers) {
    for (const [key, value] of layer) if (isInRange(key, range)) found.set(key, value);
  }
  return [...found].sort(([a], [b]) => compareKeys(a, b));
}

/** Rows of both, the pending ones in place of those on disk. The cursor is closed at the end, and on leaving early. */
export async function* merge(
  pending: readonly (readonly [key: string, value: Bytes | null])[],
  cursor: RowCursor,
  limit: number,
): AsyncGenerator<Row, void, undefined> {
  let page: readonly Row[] = [];
  let position = 0;
  let ended = false;
  let next = 0;
  let given = 0;
  try {
    while (given < limit) {
      if (position === page.length && !ended) {
        page = await cursor.next(Math.min(PAGE, limit - given + pending.length - next));
        position = 0;
        ended = page.length === 0;
      }
      const stored = page[position];
      const own = pending[next];
      if (stored !== undefined && (own === undefined || compareKeys(stored[0], own[0]) < 0)) {
        position++;
        given++;
        yield stored;
        continue;
      }
      if (own === undefined) return;
      next++;
      if (stored?.[0] === own[0]) position++; // overwritten
      if (own[1] === null) continue;
      given++;
      yield [own[0], own[1]];
    }
  } finally {
    await cursor.close();
  }
}
