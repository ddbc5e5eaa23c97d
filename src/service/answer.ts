/**
 * Answers: what the endpoint functions share. Bodies are JSON, checked before use, unknown fields ignored; a body is
 * only read where the protocol brief gives its shape (1.9).
 */
import { z } from 'zod';
import type { Aci, Pni } from '../address.ts';
import { isAci, parsePni } from '../address.ts';
import { fromUtf8, toBase64, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Request, Requester, RequestOptions, Response } from '../transport/request.ts';
import { parseRetryAfter } from '../transport/retry-after.ts';

/** Outcomes that any endpoint can have. */
export type CommonOutcome =
  | { readonly kind: 'unauthorized' }
  | { readonly kind: 'rate-limited'; readonly retryAfterMs: number }
  /** The server's trouble: worth trying again later. */
  | { readonly kind: 'unavailable'; readonly status: number; readonly retryAfterMs: number | undefined }
  /** Not worth trying again as it is. */
  | { readonly kind: 'refused'; readonly status: number };

const UTF8 = new TextDecoder('utf-8', { fatal: true });
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
/** Where a 429 does not say how long. */
const DEFAULT_RETRY_MS = 30_000;

/** Sends JSON; the path comes percent-encoded. */
export function requestJson(
  requester: Requester,
  verb: Request['verb'],
  path: string,
  body: object,
  headers: Readonly<Record<string, string>> = {},
  options?: RequestOptions,
): Promise<Response> {
  const request: Request = {
    verb,
    path,
    headers: { ...headers, 'content-type': 'application/json' },
    body: fromUtf8(JSON.stringify(body)),
  };
  return requester.request(request, options);
}

/** The body as the schema says; undefined when it is anything else. */
export function tryJson<T>(schema: z.ZodType<T>, response: Response): T | undefined {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(response.body));
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/**
 * The body as the schema says.
 * @param what names the call in the error
 * @throws BotError `ANSWER_INVALID`
 */
export function readJson<T>(schema: z.ZodType<T>, response: Response, what: string): T {
  const value = tryJson(schema, response);
  if (value === undefined)
    throw new BotError('ANSWER_INVALID', `the server's answer to ${what} is not as specified`);
  return value;
}

export function isSuccess({ status }: Response): boolean {
  return status >= 200 && status < 300;
}

/** The outcome of a status that the endpoint itself gives no meaning. 508 asks not to be tried again. */
export function commonOutcome(response: Response): CommonOutcome {
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.headers['retry-after']);
  if (status === 401) return { kind: 'unauthorized' };
  if (status === 429) return { kind: 'rate-limited', retryAfterMs: retryAfterMs ?? DEFAULT_RETRY_MS };
  if (status >= 500 && status !== 508) return { kind: 'unavailable', status, retryAfterMs };
  return { kind: 'refused', status };
}

/** The same for calls that show credentials which the server does not know yet: 401 is a refusal like others. */
export function newcomerOutcome(
  response: Response,
):
  | { readonly kind: 'rate-limited'; readonly retryAfterMs: number }
  | { readonly kind: 'unavailable' | 'invalid'; readonly status: number } {
  const outcome = commonOutcome(response);
  if (outcome.kind === 'rate-limited') return outcome;
  return { kind: outcome.kind === 'unavailable' ? 'unavailable' : 'invalid', status: response.status };
}

/** The header of a device that is to be. @param password without a colon */
export function basicHeader(username: string, password: string): { authorization: string } {
  return { authorization: `Basic ${toBase64(fromUtf8(`${username}:${password}`))}` };
}

const limitSchema = z.object({ current: z.number().int(), max: z.number().int() });

/** Devices of the account with the primary, out of a 411; undefined where the server does not say. */
export function readLimit(response: Response): {
  readonly kind: 'limit';
  readonly current: number | undefined;
  readonly max: number | undefined;
} {
  const limit = tryJson(limitSchema, response);
  return { kind: 'limit', current: limit?.current, max: limit?.max };
}

/**
 * For calls whose failures nobody tells apart: the error of a status that is no success.
 * @param what names the call
 */
export function failure(response: Response, what: string): BotError {
  const outcome = commonOutcome(response);
  const message = `the server answered ${String(response.status)} to ${what}`;
  switch (outcome.kind) {
    case 'unauthorized':
      return new BotError('DEVICE_UNLINKED', message);
    case 'rate-limited': {
      const next = `Wait ${String(Math.ceil(outcome.retryAfterMs / 1000))} s, then try again.`;
      return new BotError('RATE_LIMITED', message, { next });
    }
    case 'unavailable':
      return new BotError('SERVER_UNREACHABLE', message);
    case 'refused':
      return new BotError('REQUEST_REFUSED', message);
  }
}

/** Standard base64, padding optional, of `length` bytes, or of `min` to `max`. */
export function base64(min: number, max = min, message = 'not base64 of the right length'): z.ZodType<Bytes> {
  return z
    .string(message)
    .max(Math.ceil(max / 3) * 4, message)
    .regex(BASE64, message)
    .transform((text) => new Uint8Array(Buffer.from(text, 'base64')))
    .refine((bytes) => bytes.length >= min && bytes.length <= max, message);
}

/** 1..127 */
export const deviceIdSchema = z.number().int().min(1).max(127);
/** 1..16383 */
export const registrationIdSchema = z.number().int().min(1).max(16_383);
/** A bare UUID. */
export const aciSchema: z.ZodType<Aci> = z.string().toLowerCase().refine(isAci, 'not an ACI');
/** With or without `PNI:` in front. */
export const pniSchema: z.ZodType<Pni> = z
  .string()
  .max(40)
  .transform((text, context) => {
    try {
      return parsePni(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'not a PNI' });
      return z.NEVER;
    }
  });

/** Absent, null or a value; absent and null alike are undefined. */
export function maybe<T>(schema: z.ZodType<T>): z.ZodType<T | undefined> {
  return schema.nullish().transform((value) => value ?? undefined);
}
