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
  const turn = new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  try {
    await Promise.race([durable, turn]);
    return true;
  } catch (error) {
    return !isBotError(error, 'STORE_CONFLICT');
  }
}
