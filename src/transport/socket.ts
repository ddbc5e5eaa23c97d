/**
 * Socket: requests and responses in both directions over one open websocket (protocol brief, 1.4 to 1.6).
 *
 * Open, then closing, then closed. Answers are paired with requests by id, in any order; what is out when the socket
 * closes is rejected, since nobody can know whether the server took it.
 */
import type { Bytes } from '../bytes.ts';
import { BotError, describe } from '../errors.ts';
import type { CloseInfo } from './close.ts';
import {
  decodeFrame, encodeRequest, encodeResponse, ownId, parseHeaders, serverTime, type Frame, type FrameId,
} from './frame.ts'; // prettier-ignore
import type { Request, Requester, RequestOptions, Response } from './request.ts';
import { PendingRequests } from './pending.ts';
import { openWire, type Wire, type WireEvents, type WireOptions } from './wire.ts';

export interface SocketOptions extends Omit<WireOptions, 'path'> {
  /** Default: the chat socket's. */
  readonly path?: string;
  /** Requests of the server, in order. Returns at once and does not throw. Without it each is answered 404. */
  readonly onRequest?: (request: ServerRequest) => void;
  /** The server's clock as each response states it, ms since 1970. */
  readonly onServerTime?: (time: number) => void;
}

/** What a socket has ignored, for tests and logs. */
export interface SocketCounts {
  /** Responses to nothing that is out: late ones, and inventions. */
  strayResponses: number;
  textFrames: number;
  unknownFrames: number;
}

const CHAT_PATH = '/v1/websocket/';
const MAX_PENDING = 1024;
/** Bytes that may wait for the network; beyond it the other side does not read. */
const MAX_BUFFERED = 16 * 1024 * 1024;
/** What every server takes in one message unless its operator set it otherwise (1.5). */
const SERVER_FRAME_BYTES = 512 * 1024;

export class Socket implements Requester, WireEvents {
  readonly closed: Promise<CloseInfo>;
  readonly counts: SocketCounts = { strayResponses: 0, textFrames: 0, unknownFrames: 0 };
  readonly #wire: Wire;
  readonly #options: SocketOptions;
  readonly #pending: PendingRequests;
  #nextId = 1;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #onClosed!: (info: CloseInfo) => void;

  /** Only for a wire that is open; `open` is the ordinary way. */
  constructor(wire: Wire, options: SocketOptions) {
    this.#wire = wire;
    this.#options = options;
    this.#pending = new PendingRequests(options.platform.clock);
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
  }

  /**
   * Opens a socket over the network. The signal covers the opening only.
   * @throws BotError `SERVER_UNREACHABLE` no connection, or another answer than a websocket (with `retryAt` where the
   *   server said so); `TLS_UNTRUSTED`; `DEVICE_UNLINKED` the credentials were refused (403); `CLIENT_OUTDATED` (499);
   *   `RATE_LIMITED` (429); `REQUEST_REFUSED` (508); `PROFILE_INVALID` the address cannot be used
   */
  static async open(options: SocketOptions, signal: AbortSignal): Promise<Socket> {
    return await openWire<Socket>(
      { path: CHAT_PATH, ...options },
      signal,
      (wire) => new Socket(wire, options),
    );
  }

  /** Requests that wait for their answer. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * @throws BotError `REQUEST_TIMEOUT`, `SERVER_UNREACHABLE`; `PAYLOAD_TOO_LARGE` the server closed the connection over
   *   the size of this request; `REQUEST_REFUSED` a path or header that must not be sent. An abort rejects with its reason
   */
  async request(request: Request, options: RequestOptions = {}): Promise<Response> {
    options.signal?.throwIfAborted();
    if (this.#state !== 'open') throw new BotError('SERVER_UNREACHABLE', 'the connection is closed');
    if (this.#pending.size >= MAX_PENDING || this.#wire.buffered > MAX_BUFFERED) {
      throw new BotError('SERVER_UNREACHABLE', 'too many requests wait for the server');
    }
    const id = this.#nextId;
    const frame = encodeRequest(id, request);
    this.#nextId += 1;
    const answer = this.#pending.add(id, frame.length, options);
    this.#wire.send(frame);
    return await answer;
  }

  /** Closes with a handshake; `closed` resolves within two seconds. */
  close(code = 1000): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#wire.close(code);
  }

  /** Ends it at once, for a peer that is gone. */
  terminate(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closing';
    this.#wire.terminate();
  }

  /** Stops reading until `resume`: no deliveries and no answers either. */
  pause(): void {
    if (this.#state === 'open') this.#wire.pause();
  }

  resume(): void {
    if (this.#state === 'open') this.#wire.resume();
  }

  /** For the wire. */
  onFrame(bytes: Uint8Array): void {
    let frame: Frame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      this.#options.platform.log.warn(
        { error: describe(error), bytes: bytes.length },
        'closing: a malformed frame',
      );
      this.close(1007);
      return;
    }
    if (frame.kind === 'response') this.#onResponse(frame);
    else if (frame.kind === 'request') this.#onServerRequest(frame);
    else this.counts.unknownFrames += 1;
  }

  /** For the wire. */
  onText(): void {
    this.counts.textFrames += 1;
  }

  /** For the wire. */
  onEnd(code: number, reason: string): void {
    if (this.#state === 'closed') return;
    const by = this.#state === 'closing' ? 'us' : 'them';
    this.#state = 'closed';
    this.#pending.failAll((bytes) => tooLarge(code, bytes) ?? lost(code));
    this.#onClosed({ code, reason, by });
  }

  /** For `ServerRequest`. */
  respond(id: FrameId, status: number, message: string): void {
    if (this.#state !== 'open') return;
    this.#wire.send(encodeResponse(id, status, message));
    if (this.#wire.buffered > MAX_BUFFERED) {
      this.#options.platform.log.warn({}, 'the server sends requests but does not read the answers');
      this.terminate();
    }
  }

  #onResponse({ id, status, message, headers, body }: Frame & { kind: 'response' }): void {
    const time = serverTime(headers);
    if (time !== undefined) this.#options.onServerTime?.(time);
    const taken =
      id !== undefined &&
      this.#pending.answer(ownId(id), () => ({ status, message, headers: parseHeaders(headers), body }));
    if (!taken) this.counts.strayResponses += 1;
  }

  #onServerRequest(frame: Frame & { kind: 'request' }): void {
    if (this.#state !== 'open') return; // it will come again on the next one
    const request = new ServerRequest(this, frame);
    if (this.#options.onRequest) this.#options.onRequest(request);
    else request.respond(404, 'Not Found');
  }
}

/** A request of the server. */
export class ServerRequest {
  readonly socket: Socket;
  readonly verb: string;
  readonly path: string;
  /** A view on the frame that it came in. */
  readonly body: Bytes;
  readonly #id: FrameId | undefined;
  readonly #headers: readonly string[];

  constructor(socket: Socket, frame: Frame & { kind: 'request' }) {
    this.socket = socket;
    this.verb = frame.verb;
    this.path = frame.path;
    this.body = frame.body;
    this.#id = frame.id;
    this.#headers = frame.headers;
  }

  /** ms since 1970 by the server's clock, if it says so. */
  get serverTime(): number | undefined {
    return serverTime(this.#headers);
  }

  /** Harmless when the socket has closed since, or when the server wants no answer. */
  respond(status: number, message: string): void {
    if (this.#id !== undefined) this.socket.respond(this.#id, status, message);
  }
}

/** 1009, or the 1006 that a peer may see in its place when the server cuts off an over-long message (1.5). */
function tooLarge(code: number, bytes: number): BotError | undefined {
  if ((code !== 1009 && code !== 1006) || bytes <= SERVER_FRAME_BYTES) return undefined;
  return new BotError(
    'PAYLOAD_TOO_LARGE',
    `the server closed the connection over a request of ${String(bytes)} bytes`,
  );
}

function lost(code: number): BotError {
  return new BotError('SERVER_UNREACHABLE', `the connection closed (code ${String(code)}) before the answer`);
}
