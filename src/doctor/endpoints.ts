/**
 * Endpoints that so far only the doctor asks (protocol brief, 4, 8.2 and 9). Authenticated; none takes anything away.
 */
import { z } from 'zod';
import { aciSchema, base64, failure, isSuccess, maybe, pniSchema, readJson } from '../service/answer.ts';
import type { Aci, Pni } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import type { Requester, Response } from '../transport/request.ts';

export interface Self {
  readonly aci: Aci;
  readonly pni: Pni | undefined;
  /** Only servers from August 2026 on name it at all. */
  readonly namesSalt: boolean;
}

export interface GroupCredential {
  readonly credential: Bytes;
  /** s since 1970, a multiple of 86,400 */
  readonly redemptionTime: number;
}

const DAY_S = 86_400;
const selfSchema = z.object({
  uuid: aciSchema,
  pni: maybe(pniSchema),
  authCredentialSalt: z.unknown().optional(),
});
const groupSchema = z.object({
  credentials: z
    .array(z.object({ credential: base64(1, 4096), redemptionTime: z.number().int().min(0) }))
    .min(1)
    .max(32),
});
const loginSchema = z.object({ username: z.string().max(256), password: z.string().max(1024) });

/** @throws BotError `DEVICE_UNLINKED`, `ANSWER_INVALID`, `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_REFUSED` */
export async function fetchSelf(requester: Requester, signal: AbortSignal): Promise<Self> {
  const response = await get(requester, '/v1/accounts/whoami', signal);
  if (!isSuccess(response)) throw failure(response, 'whoami');
  const { uuid, pni, ...rest } = readJson(selfSchema, response, 'whoami');
  return { aci: uuid, pni, namesSalt: rest.authCredentialSalt !== undefined };
}

/**
 * Credentials for today and the six days after it: the span that every generation gives.
 * @param now ms
 * @throws BotError as `fetchSelf`
 */
export async function fetchGroupCredentials(
  requester: Requester,
  now: number,
  signal: AbortSignal,
): Promise<readonly GroupCredential[] | 'not-offered'> {
  const today = Math.floor(now / 1000 / DAY_S) * DAY_S;
  const span = `redemptionStartSeconds=${String(today)}&redemptionEndSeconds=${String(today + 6 * DAY_S)}`;
  const response = await get(requester, `/v1/certificate/auth/group?${span}`, signal);
  if (response.status === 404) return 'not-offered';
  if (!isSuccess(response)) throw failure(response, 'the group credentials');
  return readJson(groupSchema, response, 'the group credentials').credentials;
}

/**
 * The login at the storage service, valid for a day.
 * @throws BotError as `fetchSelf`
 */
export async function fetchStorageLogin(
  requester: Requester,
  signal: AbortSignal,
): Promise<{ username: string; password: string } | 'not-offered'> {
  const response = await get(requester, '/v1/storage/auth', signal);
  if (response.status === 404) return 'not-offered';
  if (!isSuccess(response)) throw failure(response, 'the storage login');
  return readJson(loginSchema, response, 'the storage login');
}

function get(requester: Requester, path: string, signal: AbortSignal): Promise<Response> {
  return requester.request({ verb: 'GET', path }, { signal });
}
