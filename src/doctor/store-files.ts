/**
 * Store files: the line about the database's tables, read through with every check sum. No key is needed for it, and a
 * bot that runs is not disturbed.
 */
import { isBotError } from '../errors.ts';
import { checkTables, examined } from '../store/db-check.ts';
import { readHeader } from '../store/header.ts';
import { failureOf, ok, skip, warn, type Finding } from './check.ts';

const MIB = 1024 * 1024;

/** Throws nothing. */
export async function checkStoreFiles(folder: string): Promise<Finding> {
  try {
    const header = await readHeader(folder);
    if (header === undefined) return skip('there is no store');
    const { tables, bytes, unread } = await checkTables(examined(folder, header));
    const text = `${String(tables)} tables, ${(bytes / MIB).toFixed(1)} MiB, are as they were written`;
    return ok(unread === 0 ? text : `${text}; ${String(unread)} could be read in part only`);
  } catch (error) {
    if (isBotError(error, 'STORE_LOCKED'))
      return warn('the bot that runs changed its files while they were read', 'Try again.');
    return failureOf(error);
  }
}
