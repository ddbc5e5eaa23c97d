/**
 * Frames: one binary websocket message holds one protobuf WebSocketMessage (protocol brief, 1.4).
 */
import type { Bytes } from '../bytes.ts';
import { EMPTY, toBigInt } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { signal } from '../proto/messages.js';
import type { Request } from './request.ts';

/** A request's id: the server's are random 63-bit values, or count from 0 (mock); they go back exactly as they came. */
export type FrameId = NonNullable<signal.WebSocketRequestMessage.$Properties['id']>;

/** What a frame holds, as far as we understand it. */
export type Frame =
  | {
      readonly kind: 'request';
      /** Absent: the other side wants no answer. */
      readonly id: FrameId | undefined;
      readonly verb: string;
      readonly path: string;
      readonly headers: readonly string[];
      /** A view on the frame. */
      readonly body: Bytes;
    }
  | {
      readonly kind: 'response';
      readonly id: FrameId | undefined;
      readonly status: number;
      readonly message: string;
      readonly headers: readonly string[];
      readonly body: Bytes;
    }
  | { readonly kind: 'unknown' };

const { REQUEST, RESPONSE } = signal.WebSocketMessage.Type;
/** An absolute path with query, as far as every server's URI parser takes it. */
const PATH = /^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*$/;
const HEADER_NAME = /^[a-z0-9-]+$/;
const HEADER_VALUE = /^[\x20-\x39\x3b-\x7e]*$/; // printable ASCII without the colon
const UNKNOWN: Frame = { kind: 'unknown' };

/**
 * The body is a view on the frame, not a copy.
 * @throws BotError `CONTENT_INVALID` when the bytes are not the protobuf they should be
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  let message: signal.WebSocketMessage;
  try {
    message = signal.WebSocketMessage.decode(bytes);
  } catch (cause) {
    throw new BotError('CONTENT_INVALID', 'a websocket frame is not well-formed', { cause });
  }
  const { request, response } = message;
  if (message.type === REQUEST && request) {
    const { verb, path } = request;
    const id = request.id ?? undefined;
    return {
      kind: 'request',
      id,
      verb: verb ?? '',
      path: path ?? '',
      headers: request.headers,
      body: view(request.body),
    };
  }
  if (message.type === RESPONSE && response) {
    const { status, message: text } = response;
    const id = response.id ?? undefined;
    return {
      kind: 'response',
      id,
      status: status ?? 0,
      message: text ?? '',
      headers: response.headers,
      body: view(response.body),
    };
  }
  return UNKNOWN;
}

/**
 * @throws BotError `REQUEST_REFUSED` for a header that servers would drop, or a path over which they would close the
 *   whole connection (1.4): a mistake of the calling code
 */
export function encodeRequest(id: number, request: Request): Uint8Array {
  if (!PATH.test(request.path)) throw mistake('the path of a request is not a percent-encoded URI path');
  const headers: string[] = [];
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    if (!HEADER_NAME.test(name)) throw mistake('a header name has characters other than a-z, 0-9 and "-"');
    if (!HEADER_VALUE.test(value))
      throw mistake(`the value of header ${name} holds a colon or is not printable ASCII`);
    headers.push(`${name}:${value}`);
  }
  const { verb, path, body } = request;
  const inner = body === undefined ? { id, verb, path, headers } : { id, verb, path, headers, body };
  return signal.WebSocketMessage.encode({ type: REQUEST, request: inner }).finish();
}

export function encodeResponse(id: FrameId, status: number, message: string): Uint8Array {
  return signal.WebSocketMessage.encode({ type: RESPONSE, response: { id, status, message } }).finish();
}

/** The id of a response as a number; ids that no request of ours can have become NaN. */
export function ownId(id: FrameId): number {
  if (typeof id === 'number') return id;
  const value = toBigInt(id);
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : Number.NaN;
}

/**
 * Header lines by lower-case name; the last of a name wins, lines without a colon are left out.
 * The result has no prototype, so that no name means more than its text.
 */
export function parseHeaders(lines: readonly string[]): Record<string, string> {
  const headers = Object.create(null) as Record<string, string>;
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  return headers;
}

/** ms since 1970 of X-Signal-Timestamp; undefined without one (the mock's deliveries have none). */
export function serverTime(lines: readonly string[]): number | undefined {
  for (const line of lines) {
    if (line.length <= 40 && /^x-signal-timestamp:/i.test(line)) {
      const time = Number(line.slice(19));
      return Number.isSafeInteger(time) && time > 0 && time <= 8_640_000_000_000_000 ? time : undefined;
    }
  }
  return undefined;
}

function view(body: Uint8Array | null | undefined): Bytes {
  // A plain view: a Buffer's slice() shares where everybody expects a copy.
  return body ? new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength) : EMPTY;
}

function mistake(what: string): BotError {
  return new BotError('REQUEST_REFUSED', `not sent: ${what}`, {
    next: 'Report this: it is a mistake in the program.',
  });
}
