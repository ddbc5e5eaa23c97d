/**
 * A provisioning socket: what the mock asks goes on to the client, with an address of the kind that the Java servers give
 * (url-safe base64 with its `=`; the mock's is a bare UUID), and the socket ends as theirs do (1.5).
 */
import type { WebSocket } from 'ws';
import { uuidFromBytes, uuidToBytes } from '../address.ts';
import { decodeProto, EMPTY, type Bytes } from '../bytes.ts';
import { ClientSocket } from './client-socket.ts';
import type { RequestFrame } from './frames.ts';
import { serverHeaders } from './headers.ts';
import { signal } from '../proto/messages.js';
import type { ServerState } from './state.ts';
import type { Upstream, UpstreamSocket } from './upstream.ts';

const IDLE_MS = 60_000;
const LIFE_MS = 90_000;

export class ProvisioningRelay {
  readonly #state: ServerState;
  readonly #client: ClientSocket;
  #address: string | undefined;
  readonly closed: Promise<void>;

  constructor(ws: WebSocket, state: ServerState, upstream: Upstream) {
    this.#state = state;
    this.#client = new ClientSocket(ws, {
      clock: state.clock,
      random: state.random,
      idleMs: IDLE_MS,
      onRequest: (request) => {
        this.#answer(request);
      },
    });
    this.closed = this.#relay(upstream);
  }

  terminate(): void {
    this.#client.terminate();
  }

  async #relay(upstream: Upstream): Promise<void> {
    const { ended } = this.#client;
    let mock: UpstreamSocket | undefined;
    try {
      mock = await upstream.open({
        path: '/v1/websocket/provisioning/',
        onRequest: (request) => this.#pass(request),
        onClose: () => {
          this.#client.close(1000, 'Closed');
        },
      });
      await this.#state.clock.sleep(LIFE_MS, ended);
      this.#client.close(1000, 'Timeout');
    } catch {
      if (!ended.aborted) this.#client.close(1011, 'Server error');
    }
    if (this.#address !== undefined) this.#state.provisioning.delete(this.#address);
    mock?.close();
  }

  async #pass(request: Pick<RequestFrame, 'verb' | 'path' | 'body'>): Promise<number> {
    const state = this.#state;
    state.stats.countRequest(request.verb, request.path);
    const body = request.path === '/v1/address' ? this.#show(request.body) : request.body;
    const fault = state.faults.take({
      kind: 'delivery',
      verb: request.verb,
      path: request.path,
      aci: undefined,
    });
    if (fault !== undefined && 'close' in fault) this.#client.close(fault.close, '');
    if (fault !== undefined && 'delayMs' in fault) {
      await state.clock.sleep(fault.delayMs, this.#client.ended).catch(() => undefined);
    }
    if (fault !== undefined && 'drop' in fault) return 200;
    const status = await this.#client.request(request.verb, request.path, serverHeaders(state), body);
    if (request.path === '/v1/message' && status !== undefined) this.#client.close(1000, 'Closed');
    return status ?? 500;
  }

  /** A primary device that is no phone of ours reaches the client by its address. */
  #show(body: Bytes): Bytes {
    const address = javaAddress(body);
    this.#address = address;
    this.#state.provisioning.set(address, (envelope) => {
      const passed = this.#pass({ verb: 'PUT', path: '/v1/message', body: envelope });
      this.#state.inBackground(passed, 'an envelope was not delivered');
    });
    return signal.ProvisioningAddress.encode({ address }).finish() as Bytes;
  }

  #answer({ verb, path, id }: RequestFrame): void {
    this.#state.stats.countRequest(verb, path);
    if (id === undefined) return;
    const status = verb === 'GET' && path === '/v1/keepalive/provisioning' ? 200 : 404;
    this.#client.respond(id, status, serverHeaders(this.#state), EMPTY);
  }
}

function javaAddress(body: Bytes): string {
  const { address } = decodeProto(signal.ProvisioningAddress, body, 'a provisioning address');
  return javaId(address ?? '');
}

/** A UUID in the form that the Java servers give to ids of sixteen bytes. */
export function javaId(uuid: string): string {
  return `${Buffer.from(uuidToBytes(uuid)).toString('base64url')}==`;
}

/** The mock's id for the address in a link; undefined when it is none of ours. */
export function mockAddress(address: string): string | undefined {
  const bytes = Buffer.from(address, 'base64url');
  return bytes.length === 16 ? uuidFromBytes(bytes) : undefined;
}
