/**
 * Delete all: removes the rows below a prefix, in several commits where there are many.
 */
import type { Store } from './store.ts';

/** Rows that one commit deletes. */
const CHUNK = 200;

/**
 * What a crash leaves of them is removed by the next call.
 * @param keep keys that stay
 * @throws BotError `STORE_WRITE_FAILED`, `STORE_CONFLICT`
 */
export async function deleteAll(
  store: Store,
  prefix: string,
  keep: ReadonlySet<string> = new Set(),
): Promise<void> {
  let after: string | undefined;
  for (;;) {
    const keys: string[] = [];
    const options = after === undefined ? { limit: CHUNK } : { limit: CHUNK, after };
    for await (const [key] of store.scan(prefix, options)) keys.push(key);
    if (keys.length === 0) return;
    after = keys.at(-1);
    const batch = store.batch();
    for (const key of keys) if (!keep.has(key)) batch.delete(key);
    await batch.commit();
  }
}
