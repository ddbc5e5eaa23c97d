/**
 * Prompts: ask on stderr and read from a terminal; a passphrase is not shown while it is typed.
 */
import { createInterface } from 'node:readline';
import { BotError } from '../errors.ts';
import type { Io } from './io.ts';

const ENTER = new Set(['\r', '\n', '\u0004']);
const BACKSPACE = new Set(['\u007f', '\b']);
const INTERRUPT = '\u0003';

export function canPrompt(io: Io): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true && io.stdin.setRawMode !== undefined;
}

/**
 * One line, not echoed.
 * @throws BotError `PASSPHRASE_NEEDED` on Ctrl-C, or when the terminal closes first; the signal's reason on abort
 */
export async function promptSecret(io: Io, question: string): Promise<string> {
  io.signal.throwIfAborted();
  io.stderr.write(question);
  io.stdin.setRawMode?.(true);
  try {
    return await readHidden(io);
  } finally {
    io.stdin.setRawMode?.(false);
    io.stdin.pause();
    io.stderr.write('\n');
  }
}

function readHidden(io: Io): Promise<string> {
  const { stdin, signal } = io;
  return new Promise((resolve, reject) => {
    let typed: string[] = [];
    const end = (finish: () => void): void => {
      stdin.off('data', onData).off('end', onEnd);
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    const refuse = (): void => {
      end(() => {
        reject(new BotError('PASSPHRASE_NEEDED', 'no passphrase was given'));
      });
    };
    const onData = (chunk: Buffer | string): void => {
      for (const character of chunk.toString()) {
        if (ENTER.has(character)) {
          end(() => {
            resolve(typed.join(''));
          });
          return;
        }
        if (character === INTERRUPT) {
          refuse();
          return;
        }
        if (BACKSPACE.has(character)) typed = typed.slice(0, -1);
        else typed.push(character);
      }
    };
    const onEnd = (): void => {
      refuse();
    };
    const onAbort = (): void => {
      end(() => {
        reject(signal.reason as Error);
      });
    };
    stdin.on('data', onData).on('end', onEnd);
    signal.addEventListener('abort', onAbort, { once: true });
    stdin.resume();
  });
}

/**
 * One line, as the terminal shows it.
 * @throws BotError `INTERRUPTED` when the terminal closes first; the signal's reason on abort
 */
export async function promptLine(io: Io, question: string): Promise<string> {
  io.signal.throwIfAborted();
  io.stderr.write(question);
  const line = await readLine(io);
  if (line === undefined) throw new BotError('INTERRUPTED', 'nothing was entered');
  return line;
}

/**
 * One line of stdin, as the terminal shows it; what comes behind it may be lost.
 * @returns undefined where stdin ends first @throws the signal's reason on abort
 */
export async function readLine({ stdin, signal }: Pick<Io, 'stdin' | 'signal'>): Promise<string | undefined> {
  signal.throwIfAborted();
  const lines = createInterface({ input: stdin, terminal: false });
  let onAbort = (): void => undefined;
  try {
    return await new Promise<string | undefined>((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('close', () => {
        resolve(undefined);
      });
      onAbort = () => {
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    lines.close();
    stdin.pause();
  }
}
