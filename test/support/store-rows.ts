/** Rows of a store as text: what tests of stores write and read. */
import { fromUtf8, toUtf8, type Bytes } from '../../src/bytes.ts';
import type { Store } from '../../src/store/store.ts';

export function value(text: string): Bytes {
  return fromUtf8(text);
}

/** The rows of a scan as text. */
export async function rowsOf(
  rows: AsyncIterable<readonly [key: string, value: Bytes]>,
): Promise<(readonly [string, string])[]> {
  const found: (readonly [string, string])[] = [];
  for await (const [key, bytes] of rows) found.push([key, toUtf8(bytes)]);
  return found;
}

export async function keysOf(rows: AsyncIterable<readonly [key: string, value: Bytes]>): Promise<string[]> {
  return (await rowsOf(rows)).map(([key]) => key);
}

/** Commits `rows`; null deletes. */
export function write(store: Store, rows: Readonly<Record<string, string | null>>): Promise<void> {
  const batch = store.batch();
  for (const [key, text] of Object.entries(rows)) {
    if (text === null) batch.delete(key);
    else batch.put(key, value(text));
  }
  return batch.commit();
}

export async function read(store: Store, key: string): Promise<string | undefined> {
  const bytes = await store.batch().get(key);
  return bytes === undefined ? undefined : toUtf8(bytes);
}
