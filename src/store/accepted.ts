/**
 * Accepted: whether a commit that has begun was taken, long before it is on disk.
 */
import { isBotError } from '../errors.ts';

/**
 * Waits the one turn of the event loop in which a store refuses a commit, so that what is built upon it need not be undone.
 * @param durable what `commit()` gave; its later failure is left to who awaits the disk
 * @returns false when the commit was refused with `STORE_CONFLICT`
 */
export async function isAccepted(durable: Promise<void>): Promise<boolean> {
  let isRefused = false;
  durable.catch((error: unknown) => {
    isRefused = isBotError(error, 'STORE_CONFLICT');
  });
  await nextTurn();
  return !isRefused;
}

let coming: Promise<void> | undefined;

/** All that wait in one turn wait for the same one. */
function nextTurn(): Promise<void> {
  return (coming ??= new Promise((resolve) => {
    setImmediate(() => {
      coming = undefined;
      resolve();
    });
  }));
}
