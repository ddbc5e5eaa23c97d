/**
 * Sockets and pipes of Node as duplexes.
 */
import type { Readable, Writable } from 'node:stream';
import type { Socket } from 'node:net';
import type { Clock } from '../../../src/index.ts';
import type { Duplex } from './duplex.ts';

/** How long the other side may take to receive what was written before a close. */
const FLUSH_MS = 2_000;

export function overSocket(socket: Socket, clock: Clock): Duplex {
  socket.setNoDelay(true);
  // Who reads and who writes is told; with neither, a reset by the other side would end the process.
  socket.on('error', () => undefined);
  return { incoming: chunksOf(socket), write: writerTo(socket), close: () => closeSocket(socket, clock) };
}

/** @param write resolves when more can be taken */
export function overStdio(stdin: NodeJS.ReadableStream, write: (bytes: Uint8Array) => Promise<void>): Duplex {
  return {
    incoming: stdinChunks(stdin),
    write,
    close: () => {
      stdin.pause();
    },
  };
}

/** A stream's own iterator destroys it when its reader leaves, and with it the way back. */
async function* chunksOf(stream: Readable): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
}

/** Chunks of a stream that is nobody else's, and of which only what every stream can is known. */
async function* stdinChunks(stdin: NodeJS.ReadableStream): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of stdin) yield typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
}

function writerTo(stream: Writable): (bytes: Uint8Array) => Promise<void> {
  return (bytes) =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
}

async function closeSocket(socket: Socket, clock: Clock): Promise<void> {
  if (socket.destroyed) return;
  const over = new AbortController();
  const flushed = new Promise<void>((resolve) => {
    socket.once('close', resolve).end(() => {
      resolve();
    });
  });
  await Promise.race([flushed, clock.sleep(FLUSH_MS, over.signal).catch(() => undefined)]);
  over.abort();
  socket.destroySoon();
}
