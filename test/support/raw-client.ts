/**
 * A client socket that checks nothing and hides nothing: frames as they are, answers only when told. For tests of the
 * development server, which must not depend on the client that it is there to test.
 */
import { WebSocket } from 'ws';
import { decodeProto, EMPTY, fromBigInt, fromUtf8, toBigInt, type Bytes } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';

export interface RawResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Bytes;
  /** The body as JSON; undefined when it is empty. */
  readonly json: unknown;
}

/** A request of the server. */
export interface RawDelivery {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Bytes;
  readonly id: bigint;
  answer(status?: number): void;
}

export interface RawOptions {
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Answer deliveries with 200 at once; default true. */
  readonly autoAck?: boolean;
}

export class UpgradeRefused extends Error {
  readonly status: number;
  readonly retryAfter: string | undefined;
  constructor(status: number, retryAfter: string | undefined) {
    super(`upgrade refused with ${String(status)}`);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class RawSocket {
  readonly ws: WebSocket;
  readonly deliveries: RawDelivery[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  autoAck: boolean;
  readonly #waiting = new Map<bigint, (response: RawResponse) => void>();
  readonly #onDelivery = new Set<() => void>();
  #nextId = 0x4000_0000_0000_0001n; // above 2^53: must come back exactly

  private constructor(ws: WebSocket, autoAck: boolean) {
    this.ws = ws;
    this.autoAck = autoAck;
    this.closed = new Promise((resolve) => {
      ws.once('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
      });
    });
    ws.on('message', (data: Buffer) => {
      this.#take(data);
    });
    ws.on('error', () => undefined);
  }

  /** @throws UpgradeRefused */
  static open(origin: string, options: RawOptions = {}): Promise<RawSocket> {
    const { username, password } = options;
    const basic =
      username === undefined
        ? {}
        : { Authorization: `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}` };
    const url = origin.replace(/^http/, 'ws') + (options.path ?? '/v1/websocket/');
    const ws = new WebSocket(url, { headers: { ...basic, ...options.headers } });
    const socket = new RawSocket(ws, options.autoAck ?? true);
    return new Promise((resolve, reject) => {
      ws.once('open', () => {
        resolve(socket);
      });
      ws.once('error', reject);
      ws.once('unexpected-response', (_request, response) => {
        reject(new UpgradeRefused(response.statusCode ?? 0, response.headers['retry-after']));
        ws.terminate();
      });
    });
  }

  request(
    verb: string,
    path: string,
    options: { json?: unknown; body?: Bytes; headers?: readonly string[] } = {},
  ): Promise<RawResponse> {
    const id = this.#nextId++;
    const body = options.json === undefined ? options.body : fromUtf8(JSON.stringify(options.json));
    const type = options.json === undefined ? [] : ['content-type:application/json'];
    const answered = new Promise<RawResponse>((resolve) => this.#waiting.set(id, resolve));
    this.send({
      type: signal.WebSocketMessage.Type.REQUEST,
      request: {
        verb,
        path,
        id: long(id),
        headers: [...type, ...(options.headers ?? [])],
        body: body ?? EMPTY,
      },
    });
    return answered;
  }

  /** Asks and does not wait: the socket is about to close. */
  ask(verb: string, path: string): void {
    this.request(verb, path).catch(() => undefined);
  }

  send(message: signal.WebSocketMessage.$Properties): void {
    this.ws.send(signal.WebSocketMessage.encode(message).finish());
  }

  /** Waits for the delivery with this index among those with a path (default: envelopes). */
  async delivery(index: number, path = '/api/v1/message'): Promise<RawDelivery> {
    for (;;) {
      const found = this.deliveries.filter((each) => each.path === path)[index];
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#onDelivery.delete(wake);
          resolve();
        };
        this.#onDelivery.add(wake);
      });
    }
  }

  async envelope(index: number): Promise<signal.Envelope> {
    return decodeProto(signal.Envelope, (await this.delivery(index)).body, 'envelope');
  }

  count(path = '/api/v1/message'): number {
    return this.deliveries.filter((each) => each.path === path).length;
  }

  async close(): Promise<void> {
    this.ws.terminate();
    await this.closed;
  }

  #take(data: Buffer): void {
    const { request, response } = decodeProto(signal.WebSocketMessage, data, 'frame');
    if (response !== null) {
      const body = new Uint8Array(response.body ?? []);
      const headers = readHeaders(response.headers);
      const isJson = headers['content-type'] === 'application/json';
      this.#waiting.get(toBigInt(response.id ?? 0))?.({
        status: response.status ?? 0,
        headers,
        body,
        json: isJson ? (JSON.parse(Buffer.from(body).toString()) as unknown) : undefined,
      });
    }
    if (request === null) return;
    const id = request.id;
    const delivery: RawDelivery = {
      path: request.path ?? '',
      headers: readHeaders(request.headers),
      body: new Uint8Array(request.body ?? []),
      id: toBigInt(id ?? 0),
      answer: (status = 200) => {
        this.send({ type: signal.WebSocketMessage.Type.RESPONSE, response: { id, status, message: '' } });
      },
    };
    this.deliveries.push(delivery);
    if (this.autoAck) delivery.answer();
    for (const wake of [...this.#onDelivery]) wake();
  }
}

function readHeaders(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1)];
    }),
  );
}

function long(value: bigint): signal.WebSocketRequestMessage['id'] {
  return fromBigInt(value) as unknown as signal.WebSocketRequestMessage['id'];
}
