/**
 * Control socket, the side of a running bot: other commands of the same user reach the open store through it.
 * Lines of JSON, after an empty one that says that somebody is there: one call in; out any number of `{"event"}`, then
 * `{"result"}` or `{"error"}`. The socket is in the data directory (0600); where that path is too long for one, in a 0700
 * folder under the temp directory that `control.path` names.
 */
import { rmSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { BotError } from '../errors.ts';
import { toFailure } from './io.ts';
import { callSchema, type Call } from './calls.ts';

/** The smallest limit among the systems we run on is 104 with the closing zero. */
const MAX_SOCKET_PATH_BYTES = 100;
/** A payload at the largest server's limit, in base64. */
export const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;
const MAX_CONNECTIONS = 64;
const FOLDER_PREFIX = 'countersign-';
/** What calls under way get to end in when the bot stops. */
const GRACE_MS = 1_000;

/** Answers one call. @param tell says to who asked what happens before the answer */
export type Handle = (call: Call, signal: AbortSignal, tell: (event: object) => void) => Promise<object>;

export function socketPath(folder: string): string {
  return join(folder, 'control.sock');
}

/** Names the socket when it is not in the data directory. */
export function pointerPath(folder: string): string {
  return join(folder, 'control.path');
}

export class ControlServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #replies = new Set<Promise<unknown>>();
  readonly #stopping = new AbortController();
  readonly #leftovers: readonly string[];

  private constructor(server: Server, leftovers: readonly string[]) {
    this.#server = server;
    this.#leftovers = leftovers;
  }

  /** Only for who holds the lock of the store in `folder`: sockets that a crash left behind are replaced. */
  static async open(folder: string, handle: Handle): Promise<ControlServer> {
    let path = socketPath(folder);
    const pointer = pointerPath(folder);
    await rm(path, { force: true });
    await removePointed(pointer);
    const leftovers = [path];
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      path = join(await mkdtemp(join(tmpdir(), FOLDER_PREFIX)), 'control.sock');
      await writeFile(pointer, path, { mode: 0o600 });
      leftovers.push(pointer, dirname(path));
    }
    const server = createServer();
    const control = new ControlServer(server, leftovers);
    server.maxConnections = MAX_CONNECTIONS;
    server.on('connection', (socket) => {
      control.#serve(socket, handle);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(path, resolve);
    });
    await chmod(path, 0o600);
    return control;
  }

  /** Takes the socket away at once, for a process that is ending; does not throw. */
  abandon(): void {
    try {
      for (const path of this.#leftovers) rmSync(path, { force: true, recursive: true });
    } catch {
      // the next bot removes it
    }
  }

  /** Ends calls under way; resolves when the socket is gone. */
  async close(): Promise<void> {
    this.#stopping.abort(new BotError('INTERRUPTED', 'the running bot is stopping'));
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
    await Promise.race([Promise.allSettled(this.#replies), sleep(GRACE_MS, undefined, { ref: false })]);
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
    for (const path of this.#leftovers) await rm(path, { force: true, recursive: true });
  }

  #own(work: Promise<unknown>): void {
    this.#replies.add(work);
    work.finally(() => this.#replies.delete(work)).catch(() => undefined);
  }

  #serve(socket: Socket, handle: Handle): void {
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      gone.abort(new BotError('INTERRUPTED', 'the command that asked has gone'));
    });
    socket.write('\n');
    let pending = 0;
    socket.on('data', (chunk) => {
      pending = chunk.includes(10) ? 0 : pending + chunk.length;
      if (pending > MAX_LINE_CHARACTERS) socket.destroy();
    });
    // The interface passes the socket's error on: a command that went away takes nothing with it.
    const lines = createInterface({ input: socket }).on('error', () => undefined);
    const write = (text: string): void => {
      if (socket.writable) socket.write(`${text}\n`);
    };
    lines.on('line', (line) => {
      this.#own(
        reply(line, handle, signal, write).then((text) => {
          write(text);
        }),
      );
    });
  }
}

/** The pointer, and the private folder that a process which was killed has left. */
async function removePointed(pointer: string): Promise<void> {
  const pointed = await readFile(pointer, 'utf8').catch(() => undefined);
  const folder = pointed === undefined ? undefined : dirname(pointed);
  if (folder !== undefined && dirname(folder) === tmpdir() && basename(folder).startsWith(FOLDER_PREFIX)) {
    await rm(folder, { force: true, recursive: true });
  }
  await rm(pointer, { force: true });
}

/** Never rejects. */
async function reply(
  line: string,
  handle: Handle,
  signal: AbortSignal,
  write: (text: string) => void,
): Promise<string> {
  const tell = (event: object): void => {
    write(JSON.stringify({ event }));
  };
  try {
    return JSON.stringify({ result: await handle(readCall(line), signal, tell) });
  } catch (error) {
    return JSON.stringify(toFailure(error));
  }
}

function readCall(line: string): Call {
  try {
    return callSchema.parse(JSON.parse(line));
  } catch (cause) {
    throw new BotError('USAGE', 'the running bot does not know this call', {
      cause,
      next: 'Use the same version of Countersign for both.',
    });
  }
}
