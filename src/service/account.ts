/**
 * Account: who the server says we are, and its signature under it (protocol brief, 4 and 5.6).
 */
import { z } from 'zod';
import type { Aci, Pni } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import type { Requester } from '../transport/request.ts';
import { aciSchema, base64, failure, isSuccess, maybe, pniSchema, readJson } from './answer.ts';

export interface WhoAmI {
  readonly aci: Aci;
  /** Accounts without a number have none on newer servers. */
  readonly pni: Pni | undefined;
  /** E.164 */
  readonly number: string | undefined;
}

const whoamiSchema = z.object({ uuid: aciSchema, pni: maybe(pniSchema), number: maybe(z.string().max(32)) });
const certificateSchema = z.object({ certificate: base64(1, 8192) });

/**
 * The cheapest test of the credentials.
 * @throws BotError `ANSWER_INVALID`, `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_REFUSED`
 */
export async function whoami(requester: Requester): Promise<WhoAmI | 'unauthorized'> {
  const response = await requester.request({ verb: 'GET', path: '/v1/accounts/whoami' });
  if (response.status === 401 || response.status === 403) return 'unauthorized';
  if (!isSuccess(response)) throw failure(response, 'whoami');
  const { uuid, pni, number } = readJson(whoamiSchema, response, 'whoami');
  return { aci: uuid, pni, number };
}

/**
 * A sender certificate (protobuf SenderCertificate) without the number. Whether it is good is for the caller to check.
 * @throws BotError as `whoami`, and `DEVICE_UNLINKED`
 */
export async function senderCertificate(requester: Requester): Promise<Bytes> {
  const path = '/v1/certificate/delivery?includeE164=false';
  const response = await requester.request({ verb: 'GET', path });
  if (!isSuccess(response)) throw failure(response, 'the sender certificate');
  return readJson(certificateSchema, response, 'the sender certificate').certificate;
}
