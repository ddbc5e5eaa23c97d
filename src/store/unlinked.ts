/**
 * Unlinked: the mark that the server has removed this device. What is stored is kept.
 */
import { writeAgainOnConflict } from './again.ts';
import type { Store } from './store.ts';
import type { Account } from './rows.ts';
import { account } from './tables.ts';

/** @param now ms; the first mark stays @throws BotError those of the store */
export async function noteUnlinked(store: Store, now: number): Promise<void> {
  await writeAgainOnConflict(store, async (batch) => {
    const row = await account.get(batch);
    if (row?.unlinkedAt === null) account.put(batch, { ...row, unlinkedAt: now });
  });
}

/** The server has taken this device's password after all. @returns the account, if there is one */
export async function noteLinked(store: Store): Promise<Account | undefined> {
  return writeAgainOnConflict(store, async (batch) => {
    const row = await account.get(batch);
    if (row === undefined || row.unlinkedAt === null) return row;
    const linked: Account = { ...row, unlinkedAt: null };
    account.put(batch, linked);
    return linked;
  });
}
