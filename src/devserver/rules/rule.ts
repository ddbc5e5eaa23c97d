/**
 * Rules: one row per endpoint that the front checks, answers or alters before the mock sees it. What has no row goes to the
 * mock as it is.
 */
import type { z } from 'zod';
import { fromUtf8, toUtf8, type Bytes } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';

export interface Answer {
  readonly status: number;
  /** A value to be written as JSON, bytes as they are, or nothing. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request on a chat socket. */
export interface Call {
  readonly verb: string;
  /** Without the query. */
  readonly path: string;
  /** Decoded parts of the path that the row names with a colon, in order. */
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Bytes;
  /** Who the socket was opened by; undefined on an anonymous one. */
  readonly device: Device | undefined;
  readonly state: ServerState;
  /** Aborted once the socket has closed: nobody waits for the answer. */
  readonly ended: AbortSignal;
  /** Asks the mock, with what is changed. JSON answers come back as values. */
  forward(change?: { path?: string; body?: unknown; authorization?: string }): Promise<Answer>;
}

export interface Rule {
  readonly verb: string;
  /** `/v2/keys/:id/:device`: a part with a colon matches anything but a slash. */
  readonly path: string;
  /** Answers 401 on an anonymous socket. */
  readonly auth: 'device' | 'any';
  /** @returns undefined when no answer is sent @throws Refusal */
  readonly handle: (call: Call) => Promise<Answer | undefined> | Answer;
}

/** Thrown by a rule and turned into its answer in one place, the router. */
export class Refusal extends Error {
  readonly answer: Answer;

  constructor(status: number, body?: unknown, headers?: Readonly<Record<string, string>>) {
    super(`refused with ${String(status)}`);
    this.answer = { status, ...(body !== undefined && { body }), ...(headers !== undefined && { headers }) };
  }
}

/**
 * Reads a JSON body.
 * @throws Refusal 415 without the content type, 400 when it is not JSON, 422 when a value is wrong
 */
export function readJson<T>(call: Call, shape: z.ZodType<T>): T {
  const type = call.headers['content-type'] ?? '';
  if (!type.toLowerCase().startsWith('application/json')) throw new Refusal(415);
  const parsed = shape.safeParse(parseJson(call.body));
  if (!parsed.success) {
    throw new Refusal(422, {
      errors: parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`),
    });
  }
  return parsed.data;
}

/** @throws Refusal 400 */
function parseJson(body: Bytes): unknown {
  try {
    return JSON.parse(toUtf8(body)) as unknown;
  } catch {
    throw new Refusal(400, { code: 400, message: 'Unable to process JSON' });
  }
}

export function writeBody(body: unknown): Bytes {
  if (body === undefined) return new Uint8Array(0);
  return body instanceof Uint8Array ? new Uint8Array(body) : fromUtf8(JSON.stringify(body));
}

/** The device of an authenticated socket. @throws Refusal 401 */
export function requireDevice(call: Call): Device {
  if (call.device === undefined) throw new Refusal(401);
  return call.device;
}
