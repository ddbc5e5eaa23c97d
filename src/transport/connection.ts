/**
 * Connection: keeps one chat socket open, and gives requests and deliveries a place that outlives single sockets.
 *
 * connecting -> online -> waiting -> connecting ..., and stopped at the end. What the end of a socket means is decided
 * in close.ts. Without credentials the connection is anonymous: it carries sealed sends and fetches, and no deliveries.
 * Spec: protocol brief, 1.5 (keepalive), 1.6 (server requests), 1.8 (close codes), 6.2 (a delivery without an answer).
 */
import { BotError, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { backoffMs, retryMs, shortDelayMs } from './backoff.ts';
import { judge, type Circumstance, type Ending, type Verdict } from './close.ts';
import { IncomingQueue } from './incoming.ts';
import type {
  ConnectionState, Credentials, Delivery, Endpoint, Incoming, Request, Requester, RequestOptions, Response,
} from './request.ts'; // prettier-ignore
import { Socket, type ServerRequest, type SocketOptions } from './socket.ts';
import { Turnstile } from './turnstile.ts';

/** Opens a socket; tests put their own in place. */
export type OpenSocket = (options: SocketOptions, signal: AbortSignal) => Promise<Socket>;

export interface ConnectionParts {
  readonly endpoint: Endpoint;
  /** Absent: anonymous. */
  readonly credentials?: Credentials;
  readonly platform: Platform;
  /** At each change; with the reason where there is one. Returns at once and does not throw. */
  readonly onState?: (state: ConnectionState, error?: BotError) => void;
  /** The server's clock minus ours in ms, once per socket and only when they are more than twelve hours apart. */
  readonly onSkew?: (ms: number) => void;
  /** How long an anonymous socket is used, in ms; default 300,000. An authenticated one is kept. */
  readonly recycleMs?: number;
  /** Default: over the network. */
  readonly openSocket?: OpenSocket;
}

const KEEPALIVE: Request = { verb: 'GET', path: '/v1/keepalive' };
const FIRST_KEEPALIVE_MS = 3000; // earlier, newer servers sometimes answer it by closing (1.5)
const KEEPALIVE_MS = 30_000;
const RECYCLE_MS = 5 * 60_000;
const IDLE_CHECK_MS = 250;
/** Online for so long, the next failure counts as the first. */
const SETTLED_MS = 60_000;
const SKEW_MS = 12 * 60 * 60_000;
const DEFAULT_TIMEOUT_MS = 30_000;

export class Connection implements Requester {
  readonly #parts: ConnectionParts;
  readonly #turnstile: Turnstile<Socket>;
  readonly #queue = new IncomingQueue((high) => {
    if (high) this.#socket?.pause();
    else this.#socket?.resume();
  });
  #state: ConnectionState = 'connecting';
  #socket: Socket | undefined;
  /** What we know about the end of the socket in hand, beside its close code. */
  #circumstance: Circumstance = 'none';
  #suspected = false;
  /** Attempts that did not lead to a lasting connection, since the last that did. */
  #failures = 0;
  /** Ends the wait before the next attempt. */
  #wait = new AbortController();

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.#turnstile = new Turnstile(parts.platform.clock);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /**
   * Connects and stays connected; resolves after an abort, when the socket has closed. Once only.
   * @throws BotError `CONNECTED_ELSEWHERE`, `DEVICE_UNLINKED`, `CLIENT_OUTDATED`, `TLS_UNTRUSTED`, `PROFILE_INVALID`,
   *   `REQUEST_REFUSED` (a close code that needs a human)
   */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => {
      this.#socket?.close();
      this.#wait.abort();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const ending = await this.#attempt(signal);
        if (!ending) break;
        const { verdict, suspected } = judge(ending, this.#suspected, this.#parts.credentials !== undefined);
        this.#suspected = suspected;
        if (verdict.kind === 'stop') {
          this.#stop(verdict.error, verdict.error);
          throw verdict.error;
        }
        await this.#delay(verdict);
      }
      this.#stop(new BotError('SERVER_UNREACHABLE', 'the connection was ended'));
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Waits for a socket where none is open. What was under way when a socket closes is rejected, never repeated.
   * @throws BotError `REQUEST_TIMEOUT`, `SERVER_UNREACHABLE` and the rest of `Socket.request`; after the end, why it ended
   */
  async request(request: Request, options: RequestOptions = {}): Promise<Response> {
    if (this.#socket) return await this.#socket.request(request, options);
    const { clock } = this.#parts.platform;
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    const deadline = clock.elapsed() + timeoutMs;
    const socket = await this.#turnstile.enter(timeoutMs, signal);
    return await socket.request(request, { ...options, timeoutMs: Math.max(1, deadline - clock.elapsed()) });
  }

  /**
   * Deliveries in the server's order, and `drained` when it says that its queue is empty. For one consumer; ends when
   * `run` ends. What a socket brought and nobody had taken when it closed is left out: the server sends it again.
   */
  incoming(): AsyncIterable<Incoming> {
    return this.#queue;
  }

  /** Closes the socket, if there is one, and opens another now. */
  restart(): void {
    if (this.#socket) this.#close(this.#socket, 'replaced');
    this.#wait.abort();
  }

  /** From connecting to the end of the socket; undefined when that was our own wish to stop. */
  async #attempt(signal: AbortSignal): Promise<Ending | undefined> {
    const { platform, endpoint, credentials, openSocket = Socket.open.bind(Socket) } = this.#parts;
    this.#enter('connecting');
    this.#circumstance = 'none';
    const options: SocketOptions = {
      endpoint,
      platform,
      ...(credentials && { credentials }),
      onRequest: (request) => {
        this.#onRequest(request);
      },
      onServerTime: this.#skewCheck(),
    };
    let socket: Socket;
    try {
      socket = await openSocket(options, signal);
    } catch (cause) {
      if (signal.aborted) return undefined;
      const error = isBotError(cause)
        ? cause
        : new BotError('SERVER_UNREACHABLE', 'no connection', { cause });
      return { kind: 'not-opened', error };
    }
    return await this.#serve(socket, signal);
  }

  async #serve(socket: Socket, signal: AbortSignal): Promise<Ending | undefined> {
    const { clock } = this.#parts.platform;
    const since = clock.elapsed();
    const life = new AbortController();
    this.#socket = socket;
    if (signal.aborted) socket.close();
    if (this.#queue.high) socket.pause();
    const care = [this.#keepAlive(socket, life.signal)];
    if (!this.#parts.credentials) care.push(this.#recycle(socket, life.signal));
    this.#enter('online');
    this.#turnstile.open(socket);

    const close = await socket.closed;
    life.abort();
    this.#detach(socket);
    this.#queue.clear();
    await Promise.all(care); // so that it is known whether a keepalive was out
    if (clock.elapsed() - since >= SETTLED_MS) this.#failures = 0;
    return signal.aborted ? undefined : { kind: 'closed', close, circumstance: this.#circumstance };
  }

  /** Only the inner keepalive proves that a socket is alive and heard. Returns when the socket is over. */
  async #keepAlive(socket: Socket, life: AbortSignal): Promise<void> {
    const { clock } = this.#parts.platform;
    let wait = FIRST_KEEPALIVE_MS;
    for (;;) {
      if (!(await slept(clock.sleep(wait, life)))) return;
      wait = KEEPALIVE_MS;
      const stops = this.#queue.stops;
      try {
        const { status } = await socket.request(KEEPALIVE, { timeoutMs: KEEPALIVE_MS });
        if (status < 300) this.#suspected = false;
      } catch (error) {
        if (!isBotError(error, 'REQUEST_TIMEOUT')) {
          if (this.#circumstance === 'none') this.#circumstance = 'keepalive-pending';
          return;
        }
        if (this.#queue.high || this.#queue.stops !== stops) continue; // we did not read, so nothing is proven
        this.#circumstance = 'dead';
        this.#detach(socket);
        socket.terminate();
        return;
      }
    }
  }

  async #recycle(socket: Socket, life: AbortSignal): Promise<void> {
    const { clock } = this.#parts.platform;
    let wait = this.#parts.recycleMs ?? RECYCLE_MS;
    do {
      if (!(await slept(clock.sleep(wait, life)))) return;
      wait = IDLE_CHECK_MS;
    } while (socket.pending > 0);
    this.#close(socket, 'replaced');
  }

  async #delay(verdict: Verdict): Promise<void> {
    if (verdict.kind === 'at-once' || verdict.kind === 'stop') return;
    const { clock, random, log } = this.#parts.platform;
    const error = verdict.kind === 'backoff' ? verdict.error : undefined;
    let ms = error || this.#failures > 0 ? backoffMs(this.#failures, random) : shortDelayMs(random);
    if (verdict.kind === 'soon') ms = Math.max(ms, verdict.leastMs ?? 0);
    if (error?.retryAt !== undefined) ms = Math.max(ms, retryMs(error.retryAt - clock.now(), random));
    this.#failures += 1;
    if (error) {
      log.info({ code: error.code, reason: error.message, retryMs: ms }, 'not connected; trying again');
      this.#turnstile.blame(error);
    }
    this.#wait = new AbortController();
    const wait = this.#wait.signal;
    this.#enter('waiting', error);
    await slept(clock.sleep(ms, wait));
  }

  #onRequest(request: ServerRequest): void {
    const known = request.verb === 'PUT' && this.#parts.credentials !== undefined;
    if (known && request.path === '/api/v1/message') {
      const abandon = (): void => {
        this.#close(request.socket, 'abandoned');
      };
      const delivery = new SocketDelivery(request, abandon);
      this.#queue.push({ kind: 'delivery', delivery }, request.body.length);
    } else if (known && request.path === '/api/v1/queue/empty') {
      request.respond(200, 'OK');
      this.#queue.push({ kind: 'drained' }, 0);
    } else {
      this.#parts.platform.log.debug({ verb: request.verb.slice(0, 10) }, 'an unknown request of the server');
      request.respond(404, 'Not Found');
    }
  }

  #skewCheck(): (time: number) => void {
    const { platform, onSkew } = this.#parts;
    let checked = false;
    return (time) => {
      if (checked) return;
      checked = true;
      const skewMs = time - platform.clock.now();
      if (Math.abs(skewMs) <= SKEW_MS) return;
      platform.log.warn(
        { skewMs },
        'the clocks of the server and of this machine differ; certificates may seem expired',
      );
      onSkew?.(skewMs);
    };
  }

  #close(socket: Socket, circumstance: Circumstance): void {
    if (this.#socket === socket) this.#circumstance = circumstance;
    this.#detach(socket);
    socket.close();
  }

  /** From here on requests wait for the next socket. */
  #detach(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#turnstile.shut();
  }

  #enter(state: ConnectionState, error?: BotError): void {
    this.#state = state;
    this.#parts.onState?.(state, error);
  }

  #stop(reason: BotError, error?: BotError): void {
    this.#turnstile.stop(reason);
    this.#queue.end();
    this.#enter('stopped', error);
  }
}

class SocketDelivery implements Delivery {
  readonly abandon: () => void;
  readonly #request: ServerRequest;

  constructor(request: ServerRequest, abandon: () => void) {
    this.#request = request;
    this.abandon = abandon;
  }

  get body(): Delivery['body'] {
    return this.#request.body;
  }

  get serverTime(): number | undefined {
    return this.#request.serverTime;
  }

  ack(): void {
    this.#request.respond(200, 'OK');
  }
}

/** False when the sleep was ended by its signal. */
async function slept(sleep: Promise<void>): Promise<boolean> {
  try {
    await sleep;
    return true;
  } catch {
    return false;
  }
}
