/**
 * What goes through a socket: requests with their responses, and deliveries (protocol brief, sections 1.4 and 1.6).
 */
import type { Bytes } from '../bytes.ts';

export interface Request {
  readonly verb: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** Percent-encoded by the caller; a path that is no URI costs the whole connection (1.4). */
  readonly path: string;
  /** Lower-case names; a value must not hold a colon, the server drops such a header. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Bytes;
}

export interface Response {
  readonly status: number;
  readonly message: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Bytes;
}

export interface RequestOptions {
  /** Default 30,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Something that answers requests: one socket, or a connection that keeps one open. */
export interface Requester {
  /**
   * @throws BotError `REQUEST_TIMEOUT` no answer in time; `SERVER_UNREACHABLE` the socket closed before the answer, or
   *   none is open; `DEVICE_UNLINKED`, `CONNECTED_ELSEWHERE` when the connection has stopped for good
   */
  request(request: Request, options?: RequestOptions): Promise<Response>;
}

/** An envelope that the server handed over and wants an answer for. */
export interface Delivery {
  /** Protobuf `Envelope`. */
  readonly body: Bytes;
  /** ms, from the request's X-Signal-Timestamp; the mock sends none. */
  readonly serverTime: number | undefined;
  /** Answers 200. Harmless when the socket has closed since: the server sends the envelope again. */
  ack(): void;
  /** The envelope cannot be acknowledged: closes its socket, so that the server sends it again on the next one (6.2). */
  abandon(): void;
}

/** What an authenticated chat socket hands over, in order. */
export type Incoming =
  { readonly kind: 'delivery'; readonly delivery: Delivery } | { readonly kind: 'drained' };

export type ConnectionState = 'connecting' | 'online' | 'waiting' | 'stopped';

/** Username and password of a device, for the upgrade. */
export interface Credentials {
  /** `aci.deviceId` */
  readonly username: string;
  readonly password: string;
}

/** Where to connect. */
export interface Endpoint {
  /** Origin: `https://host:port`, or `http://` on loopback. */
  readonly url: string;
  /** PEM; the system's roots if absent. */
  readonly ca?: string;
}
