/**
 * Line: the server's end of the sockets, in the process and as cheap as it can be, so that what is measured is the
 * bot's work. Frames are the real ones; nothing is checked and nothing is relayed.
 */
import { EMPTY, fromUtf8, type Bytes } from '../../src/bytes.ts';
import { signal as proto } from '../../src/proto/messages.js';
import type { OpenSocket } from '../../src/transport/connection.ts';
import type { FrameId } from '../../src/transport/frame.ts';
import { Socket, type SocketOptions } from '../../src/transport/socket.ts';
import type { Wire } from '../../src/transport/wire.ts';

const { REQUEST, RESPONSE } = proto.WebSocketMessage.Type;
/** Frames that arrive in one turn of the event loop, as of one read of a network socket. */
const PER_TURN = 64;

export interface LineOptions {
  /** Base64: what GET /v1/certificate/delivery gives. */
  readonly certificate?: string;
}

/** The server of one account. */
export class Line {
  /** Deliveries answered with 200. */
  acked = 0;
  /** Deliveries answered with anything else. */
  refused = 0;
  /** PUT /v1/messages that came in. */
  puts = 0;
  /** Called at each change of the counters. */
  onChange: () => void = () => undefined;
  /** Called for each PUT /v1/messages. */
  onMessage: ((to: string, body: { readonly urgent: boolean }) => void) | undefined;
  #chat: End | undefined;
  readonly #certificate: string | undefined;

  constructor(options: LineOptions = {}) {
    this.#certificate = options.certificate;
  }

  readonly openSocket: OpenSocket = (options) => {
    const end = new End(this, options);
    if (options.credentials !== undefined) this.#chat = end;
    return Promise.resolve(end.socket);
  };

  get isOpen(): boolean {
    return this.#chat !== undefined;
  }

  /** Resolves once the bot has read all; waits while it does not read. */
  async deliver(frames: readonly Uint8Array[]): Promise<void> {
    const chat = this.#chat;
    if (chat === undefined) throw new Error('there is no socket');
    for (let i = 0; i < frames.length; i += PER_TURN) {
      await chat.reading;
      for (const frame of frames.slice(i, i + PER_TURN)) chat.socket.onFrame(frame);
      await turn();
    }
  }

  drained(): void {
    this.#chat?.socket.onFrame(requestFrame(0, '/api/v1/queue/empty', EMPTY));
  }

  /** Resolves when `done` holds; it is asked at each change of the counters. */
  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.onChange = () => {
        if (done()) resolve();
      };
      this.onChange();
    });
  }

  /** @returns status and body as JSON */
  answer(path: string, body: Uint8Array): { status: number; body: Bytes } {
    if (path.startsWith(MESSAGES)) {
      this.puts++;
      this.onMessage?.(path.slice(MESSAGES.length), parse(body));
      return ACCEPTED;
    }
    if (path.startsWith('/v2/keys?')) return COUNTS;
    if (path === '/v1/certificate/delivery?includeE164=false' || path === '/v1/certificate/delivery') {
      return json(200, { certificate: this.#certificate ?? '' });
    }
    return json(200, {});
  }
}

function parse(body: Uint8Array): { readonly urgent: boolean } {
  return JSON.parse(Buffer.from(body).toString()) as { urgent: boolean };
}

const MESSAGES = '/v1/messages/';
const ACCEPTED = json(200, { needsSync: false });
const COUNTS = json(200, { count: 100, pqCount: 100 });

class End implements Wire {
  readonly socket: Socket;
  readonly buffered = 0;
  /** Resolves when the bot reads. */
  reading: Promise<void> = Promise.resolve();
  #resume: () => void = () => undefined;
  readonly #line: Line;

  constructor(line: Line, options: SocketOptions) {
    this.#line = line;
    this.socket = new Socket(this, options);
  }

  send(frame: Uint8Array): void {
    const { request, response } = proto.WebSocketMessage.decode(frame);
    const line = this.#line;
    if (response) {
      if (idOf(response.id) > 0) {
        if (response.status === 200) line.acked++;
        else line.refused++;
      }
    } else if (request) {
      const answer = line.answer(request.path ?? '', request.body ?? EMPTY);
      const bytes = responseFrame(request.id ?? 0, answer);
      setImmediate(() => {
        this.socket.onFrame(bytes);
      });
    }
    line.onChange();
  }

  close(code: number): void {
    queueMicrotask(() => {
      this.socket.onEnd(code, '');
    });
  }

  terminate(): void {
    this.close(1006);
  }

  pause(): void {
    this.reading = new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#resume();
  }
}

/** A delivery as it comes out of the network. @param id above 0 */
export function deliveryFrame(id: number, envelope: Uint8Array): Uint8Array {
  return requestFrame(id, '/api/v1/message', envelope);
}

function requestFrame(id: number, path: string, body: Uint8Array): Uint8Array {
  const headers = ['X-Signal-Key:false', `X-Signal-Timestamp:${String(Date.now())}`];
  return proto.WebSocketMessage.encode({
    type: REQUEST,
    request: { id, verb: 'PUT', path, body, headers },
  }).finish();
}

function responseFrame(id: FrameId, { status, body }: { status: number; body: Bytes }): Uint8Array {
  const headers = [`X-Signal-Timestamp:${String(Date.now())}`, 'content-type:application/json'];
  return proto.WebSocketMessage.encode({
    type: RESPONSE,
    response: { id, status, message: 'OK', headers, body },
  }).finish();
}

function json(status: number, body: object): { status: number; body: Bytes } {
  return { status, body: fromUtf8(JSON.stringify(body)) };
}

function idOf(id: FrameId | null | undefined): number {
  return id === null || id === undefined ? 0 : Number(String(id));
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
