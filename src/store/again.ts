/**
 * Again: a change that is made anew when another commit came between its reading and its writing.
 */
import { isBotError } from '../errors.ts';
import type { Batch, Store } from './store.ts';

const MAX_CONFLICTS = 5;

/**
 * Commits a change, and makes it anew where another commit came between.
 * @throws BotError `STORE_CONFLICT` five times in a row; `STORE_WRITE_FAILED`
 */
export async function writeAgainOnConflict<T>(
  store: Store,
  change: (batch: Batch) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const batch = store.batch();
    const result = await change(batch);
    try {
      await batch.commit();
      return result;
    } catch (error) {
      if (!isBotError(error, 'STORE_CONFLICT') || attempt >= MAX_CONFLICTS) throw error;
    }
  }
}
