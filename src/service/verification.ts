/**
 * Verification: the session in which a server makes sure that a number is its owner's (protocol brief, 14, steps 1 to 4).
 */
import { z } from 'zod';
import type { Requester, Response } from '../transport/request.ts';
import {
  commonOutcome,
  isSuccess,
  maybe,
  readJson,
  requestJson,
  tryJson,
  type CommonOutcome,
} from './answer.ts';

/** How far a number has come. */
export interface VerificationSession {
  /** Url-safe base64 with padding: opaque. */
  readonly id: string;
  readonly allowedToRequestCode: boolean;
  /** What the server asks for before it sends a code: `captcha`, `pushChallenge`. */
  readonly requestedInformation: readonly string[];
  readonly verified: boolean;
}

export type VerificationOutcome =
  | { readonly kind: 'session'; readonly session: VerificationSession }
  /** The server knows no such session, or not any more. */
  | { readonly kind: 'unknown' }
  /** Not in this order: no captcha yet, no code asked for yet, or already verified. The session where the server says. */
  | { readonly kind: 'conflict'; readonly session: VerificationSession | undefined }
  /** A value is wrong: the number (422), the captcha (400, 403). */
  | { readonly kind: 'invalid'; readonly status: number }
  | CommonOutcome;

const sessionSchema = z.object({
  id: z.string().min(1).max(1024),
  allowedToRequestCode: z.boolean(),
  requestedInformation: maybe(z.array(z.string().max(64)).max(16)),
  verified: z.boolean(),
});

/** @param number E.164 @throws BotError `ANSWER_INVALID`, and as `Requester.request`; so the others */
export async function openVerification(requester: Requester, number: string): Promise<VerificationOutcome> {
  return outcomeOf(await requestJson(requester, 'POST', '/v1/verification/session', { number }));
}

/** How the session stands. */
export async function readVerification(requester: Requester, id: string): Promise<VerificationOutcome> {
  return outcomeOf(await requester.request({ verb: 'GET', path: pathOf(id) }));
}

/** @param captcha `prefix.sitekey.action.token` */
export async function giveCaptcha(
  requester: Requester,
  id: string,
  captcha: string,
): Promise<VerificationOutcome> {
  return outcomeOf(await requestJson(requester, 'PATCH', pathOf(id), { captcha }));
}

/** Has the server send a code to the number. */
export async function requestCode(
  requester: Requester,
  id: string,
  transport: 'sms' | 'voice',
): Promise<VerificationOutcome> {
  const body = { transport, client: 'desktop' };
  return outcomeOf(await requestJson(requester, 'POST', `${pathOf(id)}/code`, body));
}

/** A wrong code is no error: the session then is not verified. */
export async function submitCode(
  requester: Requester,
  id: string,
  code: string,
): Promise<VerificationOutcome> {
  return outcomeOf(await requestJson(requester, 'PUT', `${pathOf(id)}/code`, { code }));
}

function pathOf(id: string): string {
  return `/v1/verification/session/${encodeURIComponent(id)}`;
}

function outcomeOf(response: Response): VerificationOutcome {
  const { status } = response;
  if (isSuccess(response)) {
    return { kind: 'session', session: toSession(readJson(sessionSchema, response, 'the verification')) };
  }
  if (status === 404) return { kind: 'unknown' };
  if (status === 409) {
    const session = tryJson(sessionSchema, response);
    return { kind: 'conflict', session: session && toSession(session) };
  }
  if (status === 400 || status === 403 || status === 422) return { kind: 'invalid', status };
  return commonOutcome(response);
}

function toSession(json: z.output<typeof sessionSchema>): VerificationSession {
  return { ...json, requestedInformation: json.requestedInformation ?? [] };
}
