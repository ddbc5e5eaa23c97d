/**
 * Fakes below and beside the socket, so that tests need no port: a requester with scripted answers, and the server's
 * end of a `Connection` behind its `openSocket`. Frames, pairing and deliveries are the real ones.
 */
import { EMPTY, fromUtf8, type Bytes } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { signal as proto } from '../../src/proto/messages.js';
import type { OpenSocket } from '../../src/transport/connection.ts';
import { parseHeaders, type FrameId } from '../../src/transport/frame.ts';
import type { Request, Requester, RequestOptions, Response } from '../../src/transport/request.ts';
import { Socket, type SocketOptions } from '../../src/transport/socket.ts';
import type { Wire } from '../../src/transport/wire.ts';

/** What a scripted server says to one request. */
export interface Answer {
  readonly status: number;
  /** Bytes as they are, anything else as JSON. */
  readonly body?: Uint8Array | object;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Script = (request: Request) => Answer | 'silence';

const { REQUEST, RESPONSE } = proto.WebSocketMessage.Type;

function bodyOf(answer: Answer): Bytes {
  if (answer.body === undefined) return EMPTY;
  return answer.body instanceof Uint8Array
    ? new Uint8Array(answer.body)
    : fromUtf8(JSON.stringify(answer.body));
}

/** The JSON body of a request that was recorded. */
export function jsonOf(request: Request | undefined): unknown {
  return JSON.parse(Buffer.from(request?.body ?? EMPTY).toString('utf8'));
}

/** Answers by a script and remembers what was asked. `silence` is a timeout at once. */
export class FakeRequester implements Requester {
  readonly requests: Request[] = [];
  script: Script;

  constructor(script: Script | Answer) {
    this.script = typeof script === 'function' ? script : () => script;
  }

  async request(request: Request, options: RequestOptions = {}): Promise<Response> {
    options.signal?.throwIfAborted();
    this.requests.push(request);
    await Promise.resolve();
    const answer = this.script(request);
    if (answer === 'silence') throw new BotError('REQUEST_TIMEOUT', 'no answer');
    return { status: answer.status, message: '', headers: answer.headers ?? {}, body: bodyOf(answer) };
  }
}

/** The server's end of one socket. */
export class FakePeer implements Wire {
  readonly socket: Socket;
  readonly options: SocketOptions;
  /** Frames of ours, decoded. */
  readonly requests: Request[] = [];
  /** Ids of our requests, beside `requests`. */
  readonly ids: number[] = [];
  /** Statuses that deliveries and other server requests were answered with, in the order of the answers. */
  readonly answers: { readonly id: bigint; readonly status: number }[] = [];
  /** Code of our close; 1006 for terminate. */
  closedWith: number | undefined;
  paused = false;
  buffered = 0;
  /** Whether our close is answered. */
  answersClose = true;
  readonly #script: Script;
  #nextId = 0n;
  #ended = false;

  constructor(options: SocketOptions, script: Script) {
    this.options = options;
    this.#script = script;
    this.socket = new Socket(this, options);
  }

  send(bytes: Uint8Array): void {
    if (this.#ended) return;
    const { request, response } = proto.WebSocketMessage.decode(bytes);
    if (response) this.answers.push({ id: bigId(response.id), status: response.status ?? 0 });
    if (!request) return;
    const body = request.body ? new Uint8Array(request.body) : undefined;
    const verb = request.verb as Request['verb'];
    const headers = parseHeaders(request.headers);
    const asked: Request = { verb, path: request.path ?? '', headers, ...(body && { body }) };
    const id = Number(bigId(request.id));
    this.requests.push(asked);
    this.ids.push(id);
    const answer = this.#script(asked);
    if (answer !== 'silence') {
      queueMicrotask(() => {
        this.answer(id, answer);
      });
    }
  }

  close(code: number): void {
    this.closedWith = code;
    if (this.answersClose) {
      queueMicrotask(() => {
        this.hangUp(code);
      });
    }
  }

  terminate(): void {
    this.closedWith = 1006;
    queueMicrotask(() => {
      this.hangUp(1006);
    });
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  /** The socket ends with this code. */
  hangUp(code: number, reason = ''): void {
    if (this.#ended) return;
    this.#ended = true;
    this.socket.onEnd(code, reason);
  }

  /** Answers a request of ours. */
  answer(id: number | bigint, answer: Answer): void {
    const headers = Object.entries(answer.headers ?? {}).map(([name, value]) => `${name}:${value}`);
    const response = {
      id: longId(BigInt(id)),
      status: answer.status,
      message: 'OK',
      headers,
      body: bodyOf(answer),
    };
    this.frame(proto.WebSocketMessage.encode({ type: RESPONSE, response }).finish());
  }

  /** A request of the server; ids count from 0, as the mock's do. @returns its id */
  ask(
    verb: string,
    path: string,
    body: Uint8Array = EMPTY,
    headers: string[] = [],
    id = this.#nextId++,
  ): bigint {
    const request = { id: longId(id), verb, path, body, headers };
    this.frame(proto.WebSocketMessage.encode({ type: REQUEST, request }).finish());
    return id;
  }

  deliver(body: Uint8Array, headers: string[] = []): bigint {
    return this.ask('PUT', '/api/v1/message', body, headers);
  }

  drained(): bigint {
    return this.ask('PUT', '/api/v1/queue/empty');
  }

  /** Any bytes. */
  frame(bytes: Uint8Array): void {
    if (!this.#ended) this.socket.onFrame(bytes);
  }

  statusOf(id: bigint): number | undefined {
    return this.answers.find((answer) => answer.id === id)?.status;
  }
}

/** The server behind `openSocket`: each opening gives a new peer, unless a refusal was put in line. */
export class FakeServer {
  readonly peers: FakePeer[] = [];
  readonly refusals: BotError[] = [];
  script: Script;

  constructor(script: Script = () => ({ status: 200 })) {
    this.script = script;
  }

  get peer(): FakePeer {
    const peer = this.peers.at(-1);
    if (!peer) throw new Error('no socket was opened');
    return peer;
  }

  readonly openSocket: OpenSocket = async (options, signal) => {
    await Promise.resolve();
    signal.throwIfAborted();
    const refusal = this.refusals.shift();
    if (refusal) throw refusal;
    const peer = new FakePeer(options, (request) => this.script(request));
    this.peers.push(peer);
    return peer.socket;
  };
}

function bigId(id: FrameId | null | undefined): bigint {
  return id === null || id === undefined ? -1n : BigInt(String(id));
}

function longId(id: bigint): FrameId {
  const low = Number(BigInt.asIntN(32, id));
  const high = Number(BigInt.asIntN(32, id >> 32n));
  return { low, high, unsigned: true } as FrameId;
}
