/**
 * Files: writes that survive a power cut, and modes that keep others out whatever the process's umask is.
 */
import { chmodSync } from 'node:fs';
import { chmod, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BotError } from '../errors.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const NOT_OURS_TO_READ: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM']);
/** What file systems say that have no hard links. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']);

/** Makes a folder, and those above it, and shuts it to others. */
export async function makeFolder(folder: string): Promise<void> {
  await makeSteps(folder);
  await chmod(folder, FOLDER_MODE);
}

/** Shuts a folder to others, and one file in it; the modes may have been changed since they were made. */
export async function shut(folder: string, file: string): Promise<void> {
  await chmod(folder, FOLDER_MODE);
  await chmod(join(folder, file), FILE_MODE);
}

/**
 * Makes a folder, and those above it, step by step: where nothing can be made at all (/proc), Node's own recursion goes on
 * for ever.
 * @returns the first that was not there; undefined when all were
 */
export async function makeSteps(folder: string): Promise<string | undefined> {
  const above = dirname(folder);
  try {
    return (await makeOne(folder)) ? folder : undefined;
  } catch (error) {
    if (!isMissing(error) || above === folder) throw error;
  }
  const first = await makeSteps(above);
  const made = (await makeOne(folder)) ? folder : undefined;
  return first ?? made;
}

/** @returns false when something of that name is there */
async function makeOne(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { mode: FOLDER_MODE });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Puts `text` in place of `file` in one step: afterwards there is the old file or the new one, whole. */
export async function replaceFile(file: string, text: string): Promise<void> {
  await rename(await writeDraft(file, text), file);
  await syncFolder(dirname(file));
}

/**
 * Puts `text` into a file that is not there yet, in one step.
 * @returns false, and nothing is changed, when there is one
 */
export async function addFile(file: string, text: string): Promise<boolean> {
  const draft = await writeDraft(file, text);
  try {
    await addName(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(dirname(file));
  return true;
}

/** Renames, but not onto something; where the file system knows no second names, two at the same moment are not told apart. */
async function addName(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!NO_LINKS.has(code)) throw error;
    if (existsSync(to)) throw Object.assign(new Error('the file exists'), { code: 'EEXIST' });
    await rename(from, to);
  }
}

/** @returns the draft's name; it is on the medium */
async function writeDraft(file: string, text: string): Promise<string> {
  const draft = `${file}.new`;
  await rm(draft, { force: true });
  const handle = await open(draft, 'wx', FILE_MODE);
  try {
    await handle.chmod(FILE_MODE);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return draft;
}

/** Renames a folder within its parent, durably. */
export async function moveFolder(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** Makes the entries of a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** True for "no such file or folder". */
export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/** An error that has no code yet is one of the file system, met while writing. */
export function asWriteFailure(cause: unknown, message: string): BotError {
  return cause instanceof BotError ? cause : new BotError('STORE_WRITE_FAILED', message, { cause });
}

/** As a coded error; what this process may not read is not damaged. */
export function asReadFailure(cause: unknown): BotError {
  if (cause instanceof BotError) return cause;
  const message = 'the files of the database cannot be read';
  if (!NOT_OURS_TO_READ.has((cause as NodeJS.ErrnoException).code ?? ''))
    return new BotError('STORE_DAMAGED', message, { cause });
  return new BotError('STORE_WRITE_FAILED', message, {
    cause,
    next: 'Check who owns them, and how many files this process may open.',
  });
}

/** Keeps the files of one folder readable by the owner alone, as new ones come. */
export class FolderGuard {
  readonly #folder: string;
  #known = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Sets the mode of the files that came since the last call. */
  async protect(): Promise<void> {
    await chmod(this.#folder, FOLDER_MODE);
    const names = await readdir(this.#folder);
    const fresh = names.filter((name) => !this.#known.has(name));
    for (const name of fresh) this.#protectFile(name);
    this.#known = new Set(names);
  }

  /** A large store has a hundred files, and a thread's turn for each would cost more than the rest of opening it. */
  #protectFile(name: string): void {
    try {
      chmodSync(join(this.#folder, name), FILE_MODE);
    } catch (error) {
      if (!isMissing(error)) throw error; // LevelDB removes files when it likes
    }
  }
}
