/**
 * Control socket, the side of a command: asks the running bot that holds the store.
 */
import { readFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { BotError, describe, NEXT, type ErrorCode } from '../errors.ts';
import type { Call } from './calls.ts';
import { MAX_LINE_CHARACTERS, pointerPath, socketPath } from './control-server.ts';

/** ms in which a bot that is not stuck takes a connection. */
const SILENT_MS = 10_000;

const replySchema = z.union([
  z.object({ event: z.record(z.string(), z.unknown()) }),
  z.object({ result: z.record(z.string(), z.unknown()) }),
  z.object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      next: z.string(),
      retryAt: z.number().optional(),
    }),
  }),
]);

/**
 * @param onEvent told what happens before the answer
 * @returns undefined when no bot serves this data directory
 * @throws BotError what the running bot answered; `INTERRUPTED` when it ended before it did; `REQUEST_TIMEOUT` when it
 *   does not even take the connection, as one does in which a handler never pauses
 */
export async function askRunning(
  folder: string,
  call: Call,
  signal: AbortSignal,
  onEvent: (event: object) => void = () => undefined,
  silentMs = SILENT_MS,
): Promise<object | undefined> {
  const socket = await connect(folder);
  if (socket === undefined) return undefined;
  const onAbort = (): void => void socket.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const line = JSON.stringify(call);
    if (line.length > MAX_LINE_CHARACTERS) {
      throw new BotError('PAYLOAD_TOO_LARGE', 'the message is larger than any server takes');
    }
    socket.write(`${line}\n`);
    return await answerOf(socket, onEvent, silentMs);
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
    signal.throwIfAborted();
  }
}

async function connect(folder: string): Promise<Socket | undefined> {
  const pointed = await readFile(pointerPath(folder), 'utf8').catch(() => undefined);
  return new Promise((resolve) => {
    const socket = createConnection(pointed ?? socketPath(folder));
    socket.once('connect', () => {
      resolve(socket);
    });
    socket.on('error', () => {
      resolve(undefined);
    });
  });
}

function answerOf(socket: Socket, onEvent: (event: object) => void, silentMs: number): Promise<object> {
  return new Promise((resolve, reject) => {
    const silence = setTimeout(() => {
      reject(
        new BotError('REQUEST_TIMEOUT', 'the running bot does not answer', {
          next: 'It may be stuck in a plugin: it ends itself then, within a minute or so. Try again, or end it.',
        }),
      );
    }, silentMs);
    const lines = createInterface({ input: socket });
    // The interface passes the socket's error on; 'close' follows it, and says what happened.
    lines.on('error', () => undefined);
    lines.on('line', (line) => {
      clearTimeout(silence);
      if (line === '') return; // it has taken the connection
      try {
        const reply = readReply(line);
        if ('event' in reply) onEvent(reply.event);
        else resolve(reply.result);
      } catch (error) {
        reject(error instanceof Error ? error : new BotError('INTERNAL', describe(error)));
      }
    });
    socket.once('close', () => {
      clearTimeout(silence);
      reject(new BotError('INTERRUPTED', 'the running bot ended before it answered'));
    });
  });
}

/** @throws BotError what the running bot answered */
function readReply(line: string): { readonly event: object } | { readonly result: object } {
  const reply = replySchema.parse(JSON.parse(line));
  if (!('error' in reply)) return reply;
  const { code, message, next, retryAt } = reply.error;
  throw new BotError(
    isCode(code) ? code : 'INTERNAL',
    message,
    retryAt === undefined ? { next } : { next, retryAt },
  );
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(NEXT, code);
}
