/**
 * Output files: that one can be written is made sure of before anything else is done for it, a store or a server made.
 */
import { open, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BotError, describe } from '../errors.ts';
import { isMissing } from '../store/files.ts';

/**
 * Tries to open `file` for writing. What is in it stays; where there was none, there is none afterwards.
 * @param file taken from `folder`
 * @param what of the message: "the QR code"
 * @returns its absolute path
 * @throws BotError `USAGE`
 */
export async function outputFile(folder: string, file: string, what: string): Promise<string> {
  const path = resolve(folder, file);
  try {
    await tryOpening(path);
  } catch (cause) {
    throw new BotError('USAGE', `${what} cannot be written: ${describe(cause)}`, {
      cause,
      next: 'Give a file that can be written, in a folder that exists.',
    });
  }
  return path;
}

async function tryOpening(path: string): Promise<void> {
  try {
    await (await open(path, 'r+')).close();
  } catch (error) {
    if (!isMissing(error)) throw error;
    await (await open(path, 'wx', 0o600)).close();
    await rm(path);
  }
}
