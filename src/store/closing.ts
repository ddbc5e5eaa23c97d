/**
 * Closing: what a database leaves behind when it is closed, so that the next opening sees when something is missing.
 *
 *   DIR/db/closed.json      {"files": {NAME: bytes}, "check": CRC-32C of the files as JSON}
 *
 * It names the manifest and the logs, with the length that each must have at least. LevelDB begins a new manifest at
 * each opening, so one that names another manifest is of an earlier closing and says nothing; thus nothing has to be
 * removed when a store is opened, and whatever stops a process leaves a file that is right or out of date. A file that is
 * gone is therefore damage, once the header says that there was one (`closed`, set by the opening that first finds it).
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { crc32cOfText } from './crc32c.ts';
import { isMissing, replaceFile } from './files.ts';

export const CLOSED_FILE = 'closed.json';
/** A manifest or a log. */
const COUNTS = /^(MANIFEST-\d+|\d+\.log)$/;

const closing = z.strictObject({
  files: z.record(z.string().regex(COUNTS), z.int().min(0)),
  check: z.int().min(0),
});

/** Bytes of files by their name. */
export type Lengths = Readonly<Record<string, number>>;

/**
 * Notes how long the files are; the database is still open, so that no other process writes, and nothing is to be
 * committed any more. Compactions may still go on: what they add is listed by the manifest behind the length noted.
 */
export async function noteClosing(folder: string): Promise<void> {
  const files: Record<string, number> = {};
  for (const name of (await readdir(folder)).filter((each) => COUNTS.test(each))) {
    try {
      files[name] = (await stat(join(folder, name))).size;
    } catch (error) {
      if (!isMissing(error)) throw error; // a log that was not needed any more
    }
  }
  await replaceFile(join(folder, CLOSED_FILE), `${JSON.stringify({ files, check: checkOf(files) })}\n`);
}

/**
 * @param manifest the name of the one that counts
 * @returns nothing where the last opening was not followed by a closing; `missing` when there is no file; `damaged` when
 *   it is not what was written
 */
export async function readClosing(
  folder: string,
  manifest: string,
): Promise<Lengths | 'missing' | 'damaged'> {
  let text: string;
  try {
    text = await readFile(join(folder, CLOSED_FILE), 'utf8');
  } catch (error) {
    if (isMissing(error)) return 'missing';
    throw error;
  }
  const parsed = closing.safeParse(parse(text));
  if (!parsed.success || parsed.data.check !== checkOf(parsed.data.files)) return 'damaged';
  return parsed.data.files[manifest] === undefined ? {} : parsed.data.files;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checkOf(files: Lengths): number {
  return crc32cOfText(JSON.stringify(files));
}
