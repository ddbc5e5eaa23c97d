/**
 * A chat socket: requests through faults and rules to the mock, deliveries from the device's queue
 * (protocol brief, sections 1.3 to 1.5, 1.8 and 6.2).
 */
import type { WebSocket } from 'ws';
import { EMPTY, type Bytes } from '../bytes.ts';
import { ClientSocket } from './client-socket.ts';
import { faultBody, type FaultAction } from './faults.ts';
import { readHeaders, type RequestFrame } from './frames.ts';
import { deliveryHeaders, serverHeaders } from './headers.ts';
import type { Device } from './mock.ts';
import { writeBody, type Answer, type Call } from './rules/rule.ts';
import { answer } from './rules/table.ts';
import type { ServerState } from './state.ts';
import type { Upstream, UpstreamSocket } from './upstream.ts';

const IDLE_MS = 90_000;
/** Up to this age of a socket a keepalive finds it not yet registered (1.5). */
const EARLY_MS = 50;
/** What a Java server takes for a URI; a path that is none costs the whole connection (1.4). */
const URI = /^\/(?:[A-Za-z0-9\-._~:/?#@!$&'()*+,;=]|%[0-9a-fA-F]{2})*$/;

export interface ChatSocketParts {
  readonly ws: WebSocket;
  readonly state: ServerState;
  readonly upstream: Upstream;
  /** Undefined: anonymous. */
  readonly device: Device | undefined;
  readonly authorization: string | undefined;
  readonly wantsStories: boolean;
  readonly replaces: boolean;
  /** Closes the sockets that this one takes the place of; resolves when they are gone. */
  readonly older: () => Promise<void>;
}

export class ChatSocket {
  readonly #parts: ChatSocketParts;
  readonly #client: ClientSocket;
  readonly #mock: Promise<UpstreamSocket>;
  /** Requests that the fault `reorder` holds until the next one is done. */
  #held: (() => void)[] = [];
  #isDeaf = false;
  readonly closed: Promise<void>;

  constructor(parts: ChatSocketParts) {
    this.#parts = parts;
    const { state, upstream } = parts;
    this.#client = new ClientSocket(parts.ws, {
      clock: state.clock,
      random: state.random,
      idleMs: IDLE_MS,
      onRequest: (request) => {
        const held = this.#held;
        this.#held = [];
        this.#take(request)
          .catch((error: unknown) => {
            // Where the server or the client has gone meanwhile there is nothing left to be answered.
            if (state.ended.aborted || this.#client.ended.aborted) return;
            state.log.warn({ error: String(error), path: request.path }, 'a request failed');
            this.#respond(request, { status: 500 });
          })
          .finally(() => {
            for (const release of held) release();
          })
          .catch(() => undefined); // neither of the two can fail
      },
    });
    this.#mock = upstream.open({
      path: '/v1/websocket/',
      authorization: parts.authorization,
      onRequest: () => Promise.resolve(200), // its own "queue empty"; ours comes from the device's queue
      onClose: (code) => {
        this.#client.close(
          code === 4409 ? 4409 : 1011,
          code === 4409 ? 'Connected elsewhere' : 'Server error',
        );
      },
    });
    this.closed = this.#live();
  }

  get device(): Device | undefined {
    return this.#parts.device;
  }

  close(code: number, reason: string): void {
    this.#client.close(code, reason);
  }

  terminate(): void {
    this.#client.terminate();
  }

  async #live(): Promise<void> {
    const { device, older, replaces, state } = this.#parts;
    const ended = new Promise<void>((resolve) => {
      this.#client.ended.addEventListener('abort', () => {
        resolve();
      });
    });
    this.#mock.catch(() => {
      this.#client.close(1011, 'Server error');
    });
    await older();
    if (device !== undefined) {
      const socket = {
        ended: this.#client.ended,
        wantsStories: this.#parts.wantsStories,
        deliver: (envelope: Bytes) =>
          this.#client.request('PUT', '/api/v1/message', deliveryHeaders(state), envelope),
        sayEmpty: () => {
          // Whether and how it is answered changes nothing.
          this.#client
            .request('PUT', '/api/v1/queue/empty', serverHeaders(state), EMPTY)
            .catch(() => undefined);
          this.#isDeaf = replaces && state.dialect.deafAfterReplacing;
        },
        close: (code: number, reason: string) => {
          this.#client.close(code, reason);
        },
      };
      state.inBackground(
        state.queueOf(device).serve(socket, () => this.#isDeaf),
        'serving a queue failed',
      );
    }
    await ended;
    (await this.#mock.catch(() => undefined))?.close();
  }

  async #take(request: RequestFrame): Promise<void> {
    const { state, device } = this.#parts;
    const { verb, path } = request;
    state.stats.countRequest(verb, path);
    if (!URI.test(path)) {
      this.#client.close(1011, 'Server error');
      return;
    }
    const fault = state.faults.take({ kind: 'request', verb, path, aci: device?.aci });
    if (fault !== undefined && (await this.#inject(fault, request)) === 'done') return;
    if (path.startsWith('/v1/keepalive') && this.#isKeepaliveClosing()) {
      this.#client.close(1000, 'OK');
      return;
    }
    const result = await this.#carryOut(request);
    if (result === undefined || (fault !== undefined && 'drop' in fault)) return;
    this.#respond(request, result);
  }

  /** A socket that the server no longer counts as present hears 1000 in place of an answer (1.5, 1.8). */
  #isKeepaliveClosing(): boolean {
    const { state, device } = this.#parts;
    if (device === undefined) return false;
    const isEarly = state.clock.now() - this.#client.openedAt < EARLY_MS;
    return this.#isDeaf || (isEarly && state.dialect.earlyKeepaliveCloses);
  }

  async #inject(fault: FaultAction, request: RequestFrame): Promise<'done' | 'go on'> {
    const { state } = this.#parts;
    if ('status' in fault) {
      const headers = fault.retryAfter === undefined ? {} : { 'Retry-After': String(fault.retryAfter) };
      this.#respond(request, { status: fault.status, body: faultBody(fault), headers });
      return 'done';
    }
    if ('close' in fault) {
      this.#client.close(fault.close, '');
      return 'done';
    }
    if ('delayMs' in fault) await state.clock.sleep(fault.delayMs, this.#client.ended);
    if ('duplicate' in fault) await this.#carryOut(request);
    if ('reorder' in fault) {
      await new Promise<void>((resolve) => {
        this.#held.push(resolve);
      });
    }
    return 'go on';
  }

  async #carryOut(request: RequestFrame): Promise<Answer | undefined> {
    const { state, device } = this.#parts;
    const { verb, body } = request;
    const url = new URL(request.path, 'http://front');
    if (verb === 'GET' && url.pathname === '/v1/keepalive') return { status: 200 };
    const headers = readHeaders(request.headers);
    const mock = await this.#mock;
    const call: Omit<Call, 'params'> = {
      verb,
      path: url.pathname,
      query: url.searchParams,
      headers,
      body,
      device,
      state,
      ended: this.#client.ended,
      forward: async (change = {}) => {
        // Identity is fixed by the upgrade: an inner Authorization goes no further unless a rule says so (1.3).
        const passed = { ...headers, authorization: change.authorization };
        const lines = Object.entries(passed).flatMap(([name, value]) =>
          value === undefined ? [] : [`${name}:${value}`],
        );
        const changed = change.body === undefined ? body : writeBody(change.body);
        const response = await mock.request(verb, change.path ?? request.path, lines, changed);
        if (response === undefined) return { status: 500 };
        const { status } = response;
        const given = readAnswer(readHeaders(response.headers), response.body);
        // The mock says why in words of its own, where the Java servers say nothing.
        return { status, ...given, ...(isReason(given.body) && { body: undefined }) };
      },
    };
    return answer(call);
  }

  #respond(request: RequestFrame, result: Answer): void {
    if (request.id === undefined) return;
    const body = writeBody(result.body);
    this.#parts.state.stats.countAnswer(request.verb, request.path, result.status);
    const isJson = body.length > 0 && !(result.body instanceof Uint8Array);
    const type = isJson ? { 'Content-Type': 'application/json' } : {};
    const headers = serverHeaders(this.#parts.state, { ...type, ...result.headers });
    this.#client.respond(request.id, result.status, headers, body);
  }
}

function isReason(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'error' in body && Object.keys(body).length === 1;
}

function readAnswer(headers: Readonly<Record<string, string>>, body: Uint8Array): Partial<Answer> {
  const type = headers['content-type'];
  const ours = ['content-type', 'x-signal-timestamp']; // written anew
  const rest = Object.fromEntries(Object.entries(headers).filter(([name]) => !ours.includes(name)));
  if (body.length === 0) return { headers: rest };
  if (type !== 'application/json')
    return { body, headers: { ...rest, ...(type !== undefined && { 'Content-Type': type }) } };
  return { body: JSON.parse(Buffer.from(body).toString()) as unknown, headers: rest };
}
