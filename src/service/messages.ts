/**
 * Messages: PUT /v1/messages/{serviceId}, one send to all devices of an account (protocol brief, 5.1 and 5.4).
 */
import { z } from 'zod';
import type { DeviceId, ServiceId } from '../address.ts';
import { toBase64, type Bytes } from '../bytes.ts';
import type { Requester, RequestOptions, Response } from '../transport/request.ts';
import { commonOutcome, isSuccess, requestJson, tryJson, type CommonOutcome } from './answer.ts';

/** One device's ciphertext. */
export interface OutgoingMessage {
  /** As on the wire: 1 ratchet, 3 prekey, 6 sealed, 8 plaintext (libsignal's numbers differ, 5.2). */
  readonly type: 1 | 3 | 6 | 8;
  readonly deviceId: DeviceId;
  readonly registrationId: number;
  /** At least one byte. */
  readonly content: Bytes;
}

export interface Outgoing {
  readonly recipient: ServiceId;
  /** Every device of the recipient; of our own account, all but this one. */
  readonly messages: readonly OutgoingMessage[];
  /** ms since 1970; the same as inside the content. */
  readonly timestamp: number;
  /** For connected devices only. */
  readonly online?: boolean;
  /** False: no push that wakes a phone. */
  readonly urgent: boolean;
  /** 16 bytes: sealed; only through an anonymous requester, else it is not sealed. */
  readonly accessKey?: Bytes;
}

export type SendOutcome =
  /** `needsSync`: we have other devices, which want the transcript. */
  | { readonly kind: 'accepted'; readonly needsSync: boolean }
  | { readonly kind: 'mismatched'; readonly missing: number[]; readonly extra: number[] }
  | { readonly kind: 'stale'; readonly stale: number[] }
  | CommonOutcome
  | { readonly kind: 'forbidden' }
  | { readonly kind: 'unregistered' }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'challenge'; readonly token: string; readonly options: string[] };

// Ids outside 1..127 are echoes of a request gone wrong, such as -56 for 200: none of ours.
const deviceIds = z
  .array(z.number())
  .max(256)
  .nullish()
  .transform((ids) => [...new Set(ids ?? [])].filter((id) => Number.isInteger(id) && id >= 1 && id <= 127));
const sentSchema = z.object({ needsSync: z.boolean().nullish() });
const mismatchedSchema = z.object({ missingDevices: deviceIds, extraDevices: deviceIds });
const staleSchema = z.object({ staleDevices: deviceIds });
const challengeSchema = z.object({
  token: z.string().min(1).max(4096),
  options: z.array(z.string().max(100)).max(16).nullish(),
});

/**
 * The ratchet steps behind the ciphertexts must be durable before (5.4).
 * @throws BotError as `Requester.request`: then nobody knows whether it was sent, and a repeat with the same timestamp
 *   and fresh ciphertexts is safe
 */
export async function sendMessages(
  requester: Requester,
  outgoing: Outgoing,
  options?: RequestOptions,
): Promise<SendOutcome> {
  const body = {
    messages: outgoing.messages.map(({ type, deviceId, registrationId, content }) => ({
      type,
      destinationDeviceId: deviceId,
      destinationRegistrationId: registrationId,
      content: toBase64(content),
    })),
    online: outgoing.online ?? false,
    urgent: outgoing.urgent,
    timestamp: outgoing.timestamp,
  };
  const headers = accessHeader(outgoing.accessKey);
  const path = `/v1/messages/${outgoing.recipient}`;
  return readOutcome(await requestJson(requester, 'PUT', path, body, headers, options));
}

/** The header of anonymous calls; none without a key. */
export function accessHeader(accessKey: Bytes | undefined): Record<string, string> {
  return accessKey ? { 'unidentified-access-key': toBase64(accessKey) } : {};
}

function readOutcome(response: Response): SendOutcome {
  const { status } = response;
  if (isSuccess(response)) {
    // A linked device always has its phone beside it, so a server that does not say (the mock) means yes.
    return { kind: 'accepted', needsSync: tryJson(sentSchema, response)?.needsSync ?? true };
  }
  switch (status) {
    case 403:
      return { kind: 'forbidden' };
    case 404:
      return { kind: 'unregistered' };
    case 409: {
      const body = tryJson(mismatchedSchema, response);
      if (!body || body.missingDevices.length + body.extraDevices.length === 0)
        return { kind: 'refused', status };
      return { kind: 'mismatched', missing: body.missingDevices, extra: body.extraDevices };
    }
    case 410: {
      const body = tryJson(staleSchema, response);
      if (!body || body.staleDevices.length === 0) return { kind: 'refused', status };
      return { kind: 'stale', stale: body.staleDevices };
    }
    case 413:
      return { kind: 'too-large' };
    case 428: {
      const body = tryJson(challengeSchema, response);
      if (!body) return { kind: 'refused', status };
      return { kind: 'challenge', token: body.token, options: body.options ?? [] };
    }
    default:
      return commonOutcome(response);
  }
}
