/**
 * One client's socket: frames in and out, our requests paired with its answers, and the deadlines that a real server has
 * (protocol brief, sections 1.4, 1.5 and 1.8).
 */
import { STATUS_CODES } from 'node:http';
import { WebSocket } from 'ws';
import { toBigInt, type Bytes } from '../bytes.ts';
import type { Random } from '../platform.ts';
import type { ServerClock } from './clock.ts';
import { decodeFrame, encodeRequest, encodeResponse, type Frame, type RequestFrame } from './frames.ts';

export interface ClientSocketOptions {
  readonly clock: ServerClock;
  readonly random: Random;
  /** Without a frame from the client for this long: close 1001. */
  readonly idleMs: number;
  readonly onRequest: (request: RequestFrame, socket: ClientSocket) => void;
}

export class ClientSocket {
  readonly #ws: WebSocket;
  readonly #options: ClientSocketOptions;
  readonly #waiting = new Map<bigint, (status: number | undefined) => void>();
  readonly #ended = new AbortController();
  #lastFrame: number;
  readonly openedAt: number;

  constructor(ws: WebSocket, options: ClientSocketOptions) {
    this.#ws = ws;
    this.#options = options;
    this.openedAt = options.clock.now();
    this.#lastFrame = this.openedAt;
    ws.on('error', () => undefined); // a bad frame; ws closes with its code by itself
    ws.on('close', () => {
      this.#end();
    });
    ws.on('ping', () => {
      this.#lastFrame = options.clock.now();
    });
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.#take(data);
    });
    this.#watchIdle().catch(() => undefined); // ends when the socket has closed
  }

  /** Aborted once the socket has closed. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** @returns the status of the answer, undefined when the socket closed without one */
  request(verb: string, path: string, headers: readonly string[], body: Bytes): Promise<number | undefined> {
    if (this.#ws.readyState !== WebSocket.OPEN) return Promise.resolve(undefined);
    const bytes = this.#options.random.bytes(8);
    const id = toBigInt({ low: view(bytes, 0), high: view(bytes, 4) & 0x7fff_ffff });
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#ws.send(encodeRequest({ verb, path, headers, body, id }));
    });
  }

  respond(id: bigint, status: number, headers: readonly string[], body: Bytes): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    this.#ws.send(encodeResponse({ id, status, headers, body }, STATUS_CODES[status] ?? ''));
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
    this.#end(); // from here on nothing the peer still sends counts
  }

  terminate(): void {
    this.#ws.terminate();
    this.#end();
  }

  #take(data: Buffer): void {
    if (this.#ended.signal.aborted) return;
    this.#lastFrame = this.#options.clock.now();
    let frame: Frame;
    try {
      frame = decodeFrame(data);
    } catch {
      this.close(1007, 'Badly formatted');
      return;
    }
    if (frame.kind === 'request') this.#options.onRequest(frame.request, this);
    if (frame.kind === 'response') {
      this.#waiting.get(frame.response.id)?.(frame.response.status);
      this.#waiting.delete(frame.response.id);
    }
  }

  #end(): void {
    if (this.#ended.signal.aborted) return;
    for (const settle of this.#waiting.values()) settle(undefined);
    this.#waiting.clear();
    this.#ended.abort();
  }

  async #watchIdle(): Promise<void> {
    const { clock, idleMs } = this.#options;
    for (;;) {
      const left = this.#lastFrame + idleMs - clock.now();
      if (left <= 0) break;
      await clock.sleep(left, this.#ended.signal);
    }
    this.close(1001, 'Connection Idle Timeout');
  }
}

function view(bytes: Bytes, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset);
}
