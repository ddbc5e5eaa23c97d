/**
 * Given: what the commands of `bls` read from their options, and the files that they read and write.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { BotError, isBotError, type SubcommandCall } from '../../src/index.ts';
import type { Handle } from './ceremonies.ts';
import { fromHex } from './key-share.ts';

/** A file that nobody else can read, and nobody has opened before. @throws BotError `USAGE` */
export async function newFile(path: string): Promise<FileHandle> {
  return open(path, 'wx', 0o600).catch((cause: unknown) => {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    throw new BotError('USAGE', `${path} ${isThere ? 'is there already' : 'cannot be made'}`, {
      cause,
      next: isThere
        ? 'Give another name; nothing is written over.'
        : 'Give a file in a folder that is there.',
    });
  });
}

/**
 * The same for what is not secret: an empty one of ours that is there is what a command that was killed has left; a link is
 * not followed.
 * @throws BotError `USAGE`
 */
export async function newOrLeftFile(path: string): Promise<FileHandle> {
  try {
    return await newFile(path);
  } catch (refused) {
    const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW).catch(() => undefined);
    if (file === undefined) throw refused;
    try {
      const left = await file.stat();
      if (!left.isFile() || left.size > 0 || left.uid !== userInfo().uid) throw refused;
      await file.chmod(0o600);
      return file;
    } catch {
      await file.close();
      throw refused; // a file of somebody else's cannot be made ours either
    }
  }
}

const handleSchema = z.object({ publicKey: z.string(), parties: z.number(), threshold: z.number() });

/** The handle that `--local-key` names. @throws BotError `USAGE` */
export async function localKey(call: SubcommandCall): Promise<Handle> {
  try {
    return handleSchema.parse(JSON.parse((await readNamed(call, 'localKey')).toString()));
  } catch (cause) {
    if (isBotError(cause)) throw cause;
    throw new BotError('USAGE', 'the local key is not what keygen writes', { cause });
  }
}

/** The file that an option names. @throws BotError `USAGE` */
export async function readNamed(call: SubcommandCall, option: string): Promise<Buffer> {
  const file = fileOf(call, option);
  return readFile(file).catch((cause: unknown) => {
    throw new BotError('USAGE', `${file} cannot be read`, { cause });
  });
}

/** Absolute. @throws BotError `USAGE` */
export function fileOf(call: SubcommandCall, option: string): string {
  return resolve(call.cwd, textOf(call, option));
}

/** A whole number above 0. @throws BotError `USAGE` */
export function numberOf(call: SubcommandCall, option: string): number {
  const value = Number(textOf(call, option));
  if (!Number.isInteger(value) || value <= 0)
    throw new BotError('USAGE', `--${option} takes a whole number above 0`);
  return value;
}

/** So many bytes, in hex. @throws BotError `USAGE` */
export function hexOf(call: SubcommandCall, option: string, size: number): ReturnType<typeof fromHex> {
  const text = textOf(call, option).toLowerCase();
  if (!/^([0-9a-f]{2})*$/.test(text) || text.length !== 2 * size)
    throw new BotError('USAGE', `${flagOf(option)} takes ${String(size)} bytes in hex`);
  return fromHex(text);
}

/** @throws BotError `USAGE` where it was not given */
export function textOf({ options }: SubcommandCall, option: string): string {
  const value = options[option];
  if (typeof value !== 'string') throw new BotError('USAGE', `${flagOf(option)} is missing`);
  return value;
}

function flagOf(option: string): string {
  return `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
