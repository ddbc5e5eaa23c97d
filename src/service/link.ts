/**
 * Link: PUT /v1/devices/link, which makes this device a part of the account (protocol brief, 2.5).
 */
import { z } from 'zod';
import type { Aci, DeviceId, Pni } from '../address.ts';
import { BotError } from '../errors.ts';
import type { Requester } from '../transport/request.ts';
import {
  aciSchema,
  basicHeader,
  deviceIdSchema,
  isSuccess,
  maybe,
  newcomerOutcome,
  pniSchema,
  readJson,
  readLimit,
  requestJson,
} from './answer.ts';

export type LinkOutcome =
  | { readonly kind: 'linked'; readonly aci: Aci; readonly pni: Pni | undefined; readonly deviceId: DeviceId }
  /** The code is too old, used, or not of this server. */
  | { readonly kind: 'expired' }
  /** The server wants a capability that was not declared; it does not say which. */
  | { readonly kind: 'capability' }
  /** Devices of the account with the primary; undefined where the server does not say. */
  | { readonly kind: 'limit'; readonly current: number | undefined; readonly max: number | undefined }
  | { readonly kind: 'rate-limited'; readonly retryAfterMs: number }
  | { readonly kind: 'invalid'; readonly status: number }
  | { readonly kind: 'unavailable'; readonly status: number };

const linkedSchema = z.object({ uuid: aciSchema, pni: maybe(pniSchema), deviceId: deviceIdSchema });

/**
 * Through an anonymous requester. Password and private keys must be durable before: after a lost answer the device may
 * exist.
 * @param link.password without a colon
 * @param link.body as in 2.5
 * @throws BotError `ANSWER_INVALID` the device exists but the answer is not as specified; and as `Requester.request`
 */
export async function linkDevice(
  requester: Requester,
  link: { readonly aci: Aci; readonly password: string; readonly body: object },
): Promise<LinkOutcome> {
  const { aci, password, body } = link;
  const basic = basicHeader(aci, password); // the bare ACI: the mock takes nothing else
  const response = await requestJson(requester, 'PUT', '/v1/devices/link', body, basic);
  const { status } = response;
  if (isSuccess(response)) {
    const { uuid, pni, deviceId } = readJson(linkedSchema, response, 'linking');
    if (uuid !== aci)
      throw new BotError('ANSWER_INVALID', 'the server linked this device to another account');
    return { kind: 'linked', aci: uuid, pni, deviceId };
  }
  if (status === 403) return { kind: 'expired' };
  if (status === 409) return { kind: 'capability' };
  if (status === 411) return readLimit(response);
  return newcomerOutcome(response);
}
