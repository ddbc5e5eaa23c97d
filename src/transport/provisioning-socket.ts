/**
 * Provisioning socket: gets an address to be shown as a QR code, then what phones send to it (protocol brief, 2.1).
 *
 * The server ends it after 90 seconds whatever we do, so there is no reconnecting: the next code has a socket of its own.
 */
import type { Bytes } from '../bytes.ts';
import { decodeProto } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { signal as proto } from '../proto/messages.js';
import type { CloseInfo } from './close.ts';
import type { OpenSocket } from './connection.ts';
import type { Endpoint } from './request.ts';
import { Socket, type ServerRequest } from './socket.ts';

export interface ProvisioningSocket {
  /** Opaque, at most 200 characters. */
  readonly address: string;
  readonly closed: Promise<CloseInfo>;
  /**
   * Bodies of what was sent to the address, protobuf ProvisionEnvelope, each answered 200 when it is taken. Anybody with
   * an account can send one. Ends with the socket.
   */
  messages(): AsyncIterable<Bytes>;
  close(): void;
}

const PATH = '/v1/websocket/provisioning/';
const ADDRESS_MS = 20_000;
const KEEPALIVE_MS = 30_000; // the server closes after 60 s of silence
const MAX_MESSAGES = 16;
const MAX_ADDRESS = 200;

/**
 * Resolves when the server has given an address. An abort closes the socket, at any time.
 * @throws BotError as `Socket.open`; `REQUEST_TIMEOUT` no address came; `ANSWER_INVALID` it cannot be used
 */
export async function openProvisioningSocket(
  endpoint: Endpoint,
  platform: Platform,
  signal: AbortSignal,
  openSocket: OpenSocket = Socket.open.bind(Socket),
): Promise<ProvisioningSocket> {
  const inbox = new ProvisioningInbox();
  const onRequest = (request: ServerRequest): void => {
    inbox.take(request);
  };
  const socket = await openSocket({ endpoint, platform, path: PATH, onRequest }, signal);
  const onAbort = (): void => {
    socket.close();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const life = new AbortController();
  let care = Promise.resolve();
  const closed = socket.closed.then(async (info) => {
    life.abort();
    signal.removeEventListener('abort', onAbort);
    inbox.end();
    await care;
    return info;
  });
  platform.clock.sleep(ADDRESS_MS, life.signal).then(
    () => {
      inbox.fail(new BotError('REQUEST_TIMEOUT', 'the server gave no provisioning address'));
    },
    () => undefined, // it closed before
  );
  try {
    const address = await inbox.address;
    care = keepAlive(socket, platform, life.signal);
    return { address, closed, messages: () => inbox.messages(), close: onAbort };
  } catch (error) {
    socket.close();
    signal.throwIfAborted();
    throw error;
  }
}

/** Any traffic will do: some servers answer 404. */
async function keepAlive(socket: Socket, { clock }: Platform, life: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await clock.sleep(KEEPALIVE_MS, life);
      await socket.request({ verb: 'GET', path: '/v1/keepalive/provisioning' }, { timeoutMs: KEEPALIVE_MS });
    }
  } catch (error) {
    if (error instanceof BotError) socket.terminate(); // no answer; else the socket is over
  }
}

class ProvisioningInbox {
  readonly address: Promise<string>;
  #resolve!: (address: string) => void;
  #reject!: (error: BotError) => void;
  readonly #requests: ServerRequest[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

  constructor() {
    this.address = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  take(request: ServerRequest): void {
    if (request.verb === 'PUT' && request.path === '/v1/address') {
      this.#takeAddress(request);
    } else if (
      request.verb === 'PUT' &&
      request.path === '/v1/message' &&
      this.#requests.length < MAX_MESSAGES
    ) {
      this.#requests.push(request);
      this.#wake();
    } else {
      request.respond(404, 'Not Found');
    }
  }

  fail(error: BotError): void {
    this.#reject(error);
  }

  end(): void {
    this.#ended = true;
    this.#reject(new BotError('SERVER_UNREACHABLE', 'the server closed the provisioning socket'));
    this.#wake();
  }

  async *messages(): AsyncGenerator<Bytes> {
    for (;;) {
      const request = this.#requests.shift();
      if (request) {
        request.respond(200, 'OK');
        yield request.body;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #takeAddress(request: ServerRequest): void {
    let address: string | null | undefined;
    try {
      ({ address } = decodeProto(proto.ProvisioningAddress, request.body, 'the provisioning address'));
    } catch {
      address = undefined;
    }
    if (typeof address === 'string' && address !== '' && address.length <= MAX_ADDRESS) {
      request.respond(200, 'OK');
      this.#resolve(address);
    } else {
      request.respond(400, 'Bad Request');
      this.#reject(
        new BotError('ANSWER_INVALID', 'the server gave a provisioning address that cannot be used'),
      );
    }
  }
}
