/**
 * Registration: POST /v1/registration, which makes this device the primary one of an account (protocol brief, 14, step 5).
 */
import { z } from 'zod';
import type { Aci, Pni } from '../address.ts';
import { BotError } from '../errors.ts';
import type { Requester } from '../transport/request.ts';
import {
  aciSchema,
  basicHeader,
  isSuccess,
  maybe,
  newcomerOutcome,
  pniSchema,
  readJson,
  requestJson,
  tryJson,
} from './answer.ts';

export type RegistrationOutcome =
  | {
      readonly kind: 'registered';
      readonly aci: Aci;
      readonly pni: Pni | undefined;
      /** E.164; undefined where the server says none. */
      readonly number: string | undefined;
      /** The account existed: it has kept its ACI and lost its linked devices. */
      readonly reregistration: boolean;
    }
  /** The session is unknown, too old or not verified (401). */
  | { readonly kind: 'unverified' }
  /** The recovery password is wrong (403). */
  | { readonly kind: 'forbidden' }
  /** The number's account could be moved over from its phone (409); asked with `skipDeviceTransfer`, it is taken over. */
  | { readonly kind: 'transfer' }
  /** A registration lock is on the account (423); undefined where the server does not say how long. */
  | { readonly kind: 'locked'; readonly remainingMs: number | undefined }
  /** The account asks for a one-time password (441). */
  | { readonly kind: 'totp' }
  /** A capability that the server wants is not declared (499). */
  | { readonly kind: 'capability' }
  | { readonly kind: 'rate-limited'; readonly retryAfterMs: number }
  | { readonly kind: 'challenge' }
  | { readonly kind: 'invalid'; readonly status: number }
  | { readonly kind: 'unavailable'; readonly status: number };

const registeredSchema = z.object({
  uuid: aciSchema,
  pni: maybe(pniSchema),
  // What we asked for is as good as what cannot be a number.
  number: maybe(z.string().regex(/^\+[1-9]\d{1,19}$/)).catch(undefined),
  reregistration: maybe(z.boolean()),
});
const lockSchema = z.object({ timeRemaining: z.number().min(0) });

/**
 * Through an anonymous requester. Password and private keys must be durable before: after a lost answer the account may
 * exist, and the same request again makes sure of it.
 * @param registration.password without a colon
 * @throws BotError `ANSWER_INVALID` the account exists but the answer is not as specified, or is of another number; and
 *   as `Requester.request`
 */
export async function registerAccount(
  requester: Requester,
  registration: { readonly number: string; readonly password: string; readonly body: object },
): Promise<RegistrationOutcome> {
  const { number, password, body } = registration;
  const basic = basicHeader(number, password);
  const response = await requestJson(requester, 'POST', '/v1/registration', body, basic);
  const { status } = response;
  if (isSuccess(response)) {
    const answer = readJson(registeredSchema, response, 'the registration');
    if (answer.number !== undefined && answer.number !== number)
      throw new BotError('ANSWER_INVALID', `the server registered ${answer.number} in place of ${number}`);
    if (answer.pni === `PNI:${answer.uuid}`)
      throw new BotError('ANSWER_INVALID', 'the server gave one id for account and number');
    return {
      kind: 'registered',
      aci: answer.uuid,
      pni: answer.pni,
      number: answer.number,
      reregistration: answer.reregistration ?? false,
    };
  }
  switch (status) {
    case 401:
      return { kind: 'unverified' };
    case 403:
      return { kind: 'forbidden' };
    case 409:
      return { kind: 'transfer' };
    case 423:
      return { kind: 'locked', remainingMs: tryJson(lockSchema, response)?.timeRemaining };
    case 428:
      return { kind: 'challenge' };
    case 441:
      return { kind: 'totp' };
    case 499:
      return { kind: 'capability' };
  }
  return newcomerOutcome(response);
}
