/**
 * The way to the mock: one HTTP/2 session, and in it one extended CONNECT (RFC 8441) per client socket.
 *
 * The h2 stream is adopted by a `ws` client object that never dialled: a null address makes it, `_isServer = false` has
 * it mask its frames, `setSocket` gives it the stream. These are internals of ws 8.23, see test/devserver/upstream.test.ts.
 */
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { EMPTY, type Bytes } from '../bytes.ts';
import {
  decodeFrame,
  encodeRequest,
  encodeResponse,
  type RequestFrame,
  type ResponseFrame,
} from './frames.ts';

export interface UpstreamOptions {
  /** `/v1/websocket/` or `/v1/websocket/provisioning/` */
  readonly path: string;
  readonly authorization?: string | undefined;
  /** Answers the mock's own requests with a status. */
  readonly onRequest: (request: RequestFrame) => Promise<number>;
  readonly onClose: (code: number) => void;
}

/** A `ws` object as far as adopting a stream needs it. */
interface Adopter {
  _isServer: boolean;
  setSocket(
    stream: Duplex,
    head: Buffer,
    options: { maxPayload: number; allowSynchronousEvents: boolean },
  ): void;
}
type NullAddress = new (address: null, protocols: undefined, options: object) => WebSocket;

const MAX_PAYLOAD = 16 * 1024 * 1024;

export class Upstream {
  readonly #port: number;
  readonly #ca: string;
  #session: Promise<ClientHttp2Session> | undefined;

  constructor(port: number, ca: string) {
    this.#port = port;
    this.#ca = ca;
  }

  /** @throws Error when the mock does not take the socket */
  async open(options: UpstreamOptions): Promise<UpstreamSocket> {
    const session = await (this.#session ??= this.#connect());
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'CONNECT',
      ':protocol': 'websocket',
      [constants.HTTP2_HEADER_SCHEME]: 'https',
      [constants.HTTP2_HEADER_PATH]: options.path,
      [constants.HTTP2_HEADER_AUTHORITY]: `127.0.0.1:${String(this.#port)}`,
      ...(options.authorization !== undefined && { authorization: options.authorization }),
    });
    await new Promise<void>((resolve, reject) => {
      stream.once('error', reject);
      stream.once('response', (headers) => {
        const status = headers[':status'];
        if (status === 200) resolve();
        else reject(new Error(`the mock answered CONNECT with ${String(status)}`));
      });
    });
    return new UpstreamSocket(adopt(stream), options);
  }

  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined);
    session?.destroy();
  }

  #connect(): Promise<ClientHttp2Session> {
    return new Promise((resolve, reject) => {
      const session = connect(`https://127.0.0.1:${String(this.#port)}`, { ca: this.#ca });
      session.once('error', (error: Error) => {
        this.#session = undefined;
        reject(error);
      });
      session.once('close', () => {
        this.#session = undefined;
      });
      session.once('remoteSettings', () => {
        resolve(session);
      });
    });
  }
}

function adopt(stream: ClientHttp2Stream): WebSocket {
  const socket = new (WebSocket as unknown as NullAddress)(null, undefined, {});
  const adopter = socket as unknown as Adopter;
  adopter._isServer = false;
  adopter.setSocket(stream, Buffer.alloc(0), { maxPayload: MAX_PAYLOAD, allowSynchronousEvents: true });
  return socket;
}

/** One socket to the mock, with its requests paired to their answers. */
export class UpstreamSocket {
  readonly #ws: WebSocket;
  readonly #waiting = new Map<bigint, (response: ResponseFrame | undefined) => void>();
  #nextId = 1n;

  constructor(ws: WebSocket, options: UpstreamOptions) {
    this.#ws = ws;
    ws.on('error', () => {
      ws.terminate();
    });
    ws.on('close', (code) => {
      for (const settle of this.#waiting.values()) settle(undefined);
      this.#waiting.clear();
      options.onClose(code);
    });
    ws.on('message', (data: Buffer) => {
      const frame = decodeFrame(data);
      if (frame.kind === 'response') this.#settle(frame.response);
      if (frame.kind === 'request') {
        this.#answer(frame.request, options.onRequest).catch(() => {
          ws.terminate();
        });
      }
    });
  }

  /** @returns undefined when the socket closed before the answer */
  request(
    verb: string,
    path: string,
    headers: readonly string[],
    body: Bytes,
  ): Promise<ResponseFrame | undefined> {
    if (this.#ws.readyState !== WebSocket.OPEN) return Promise.resolve(undefined);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#ws.send(encodeRequest({ verb, path, headers, body, id }));
    });
  }

  close(): void {
    this.#ws.terminate();
  }

  #settle(response: ResponseFrame): void {
    this.#waiting.get(response.id)?.(response);
    this.#waiting.delete(response.id);
  }

  async #answer(request: RequestFrame, onRequest: UpstreamOptions['onRequest']): Promise<void> {
    const status = await onRequest(request);
    if (request.id === undefined || this.#ws.readyState !== WebSocket.OPEN) return;
    this.#ws.send(encodeResponse({ id: request.id, status, headers: [], body: EMPTY }, ''));
  }
}
