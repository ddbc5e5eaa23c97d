/**
 * Which secret opens a store: `--passphrase-file`, `COUNTERSIGN_PASSPHRASE`, `--key-file`, or a prompt on a terminal.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BotError } from '../errors.ts';
import { storeInfo, type Secret } from '../store/level.ts';
import type { Io } from './io.ts';
import { canPrompt, promptSecret } from './prompt.ts';

export interface UnlockingOptions {
  readonly passphraseFile?: string;
  readonly keyFile?: string;
  readonly insecurePlainStore?: boolean;
}

/**
 * The secret for the store in `folder`, as it is protected now; for a store that does not exist, the one to make it with.
 * @throws BotError `PASSPHRASE_NEEDED` when nothing was given and there is no terminal to ask on
 */
export async function secretFor(io: Io, folder: string, options: UnlockingOptions): Promise<Secret> {
  const info = await storeInfo(folder);
  if (info.exists && info.protection === 'plain') return { kind: 'plain' };
  const given = await givenSecret(io, options);
  if (given !== undefined) return given;
  if (!info.exists && options.insecurePlainStore === true) return { kind: 'plain' };
  if (canPrompt(io) && info.protection !== 'key-file') return askPassphrase(io, !info.exists);
  throw new BotError(
    'PASSPHRASE_NEEDED',
    info.exists ? 'the store is locked' : 'a new store needs a passphrase or a key file',
    info.exists
      ? {}
      : { next: 'Give --passphrase-file, COUNTERSIGN_PASSPHRASE, --key-file or --insecure-plain-store.' },
  );
}

/** What options and environment name; undefined when they name nothing. */
export async function givenSecret(io: Io, options: UnlockingOptions): Promise<Secret | undefined> {
  if (options.passphraseFile !== undefined) {
    const file = resolve(io.cwd, options.passphraseFile);
    return { kind: 'passphrase', passphrase: await readPassphrase(file, '--passphrase-file') };
  }
  const passphrase = io.env['COUNTERSIGN_PASSPHRASE'];
  if (options.keyFile !== undefined) return { kind: 'key-file', file: resolve(io.cwd, options.keyFile) };
  if (passphrase !== undefined && passphrase !== '') return { kind: 'passphrase', passphrase };
  return undefined;
}

/** @param twice for a new passphrase, which a slip of the finger would lose */
export async function askPassphrase(io: Io, twice: boolean): Promise<Secret> {
  const passphrase = await promptSecret(io, twice ? 'New passphrase: ' : 'Passphrase: ');
  if (passphrase === '') throw new BotError('PASSPHRASE_NEEDED', 'the passphrase is empty');
  if (twice && (await promptSecret(io, 'Again: ')) !== passphrase) {
    throw new BotError('PASSPHRASE_WRONG', 'the two passphrases differ');
  }
  return { kind: 'passphrase', passphrase };
}

/**
 * The first line of a file.
 * @param option that named it
 * @throws BotError `PASSPHRASE_NEEDED`
 */
export async function readPassphrase(file: string, option: string): Promise<string> {
  let text;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new BotError('PASSPHRASE_NEEDED', `the passphrase file ${file} cannot be read`, {
      cause,
      next: `Check the path given with ${option}.`,
    });
  }
  const line = text.split(/\r?\n/, 1)[0] ?? '';
  if (line === '') {
    throw new BotError('PASSPHRASE_NEEDED', `the passphrase file ${file} is empty`, {
      next: `Put the passphrase on the first line of the file given with ${option}.`,
    });
  }
  return line;
}
