/**
 * Frames of the chat sockets, the server's side (protocol brief, section 1.4).
 */
import { decodeProto, fromBigInt, toBigInt, type Bytes } from '../bytes.ts';
import { signal } from '../proto/messages.js';

/** A request as it stands in a frame; without an id it wants no answer. */
export interface RequestFrame {
  readonly verb: string;
  readonly path: string;
  /** `name:value` */
  readonly headers: readonly string[];
  readonly body: Bytes;
  readonly id: bigint | undefined;
}

export interface ResponseFrame {
  readonly id: bigint;
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Bytes;
}

export type Frame =
  | { readonly kind: 'request'; readonly request: RequestFrame }
  | { readonly kind: 'response'; readonly response: ResponseFrame }
  | { readonly kind: 'other' };

/** @throws BotError `CONTENT_INVALID` */
export function decodeFrame(bytes: Uint8Array): Frame {
  const { request, response } = decodeProto(signal.WebSocketMessage, bytes, 'a frame');
  if (request !== null) {
    return {
      kind: 'request',
      request: {
        verb: request.verb ?? '',
        path: request.path ?? '',
        headers: request.headers,
        body: new Uint8Array(request.body ?? []),
        id: request.id === null ? undefined : toBigInt(request.id),
      },
    };
  }
  if (response !== null) {
    return {
      kind: 'response',
      response: {
        id: toBigInt(response.id ?? 0),
        status: response.status ?? 0,
        headers: response.headers,
        body: new Uint8Array(response.body ?? []),
      },
    };
  }
  return { kind: 'other' };
}

export function encodeRequest(request: RequestFrame): Bytes {
  const { verb, path, headers, body, id } = request;
  return signal.WebSocketMessage.encode({
    type: signal.WebSocketMessage.Type.REQUEST,
    request: {
      verb,
      path,
      headers: [...headers],
      ...(body.length > 0 && { body }),
      ...(id !== undefined && { id: long(id) }),
    },
  }).finish() as Bytes;
}

/** @param message the status in words */
export function encodeResponse(response: ResponseFrame, message: string): Bytes {
  const { id, status, headers, body } = response;
  return signal.WebSocketMessage.encode({
    type: signal.WebSocketMessage.Type.RESPONSE,
    response: { id: long(id), status, message, headers: [...headers], ...(body.length > 0 && { body }) },
  }).finish() as Bytes;
}

/**
 * Reads headers as the Java servers do: one that does not have exactly one colon is dropped without a word.
 * @returns lower-case names
 */
export function readHeaders(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [name, value, ...more] = line.split(':');
    if (name === undefined || value === undefined || more.length > 0) continue;
    if (name.trim().toLowerCase() !== 'x-forwarded-for') headers[name.trim().toLowerCase()] = value.trim();
  }
  return headers;
}

function long(value: bigint): signal.WebSocketResponseMessage['id'] {
  return fromBigInt(value) as unknown as signal.WebSocketResponseMessage['id'];
}
