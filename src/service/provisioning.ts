/**
 * Provisioning: how a primary device gets another one linked (protocol brief, 2.8).
 */
import { z } from 'zod';
import { toBase64, type Bytes } from '../bytes.ts';
import type { Requester } from '../transport/request.ts';
import {
  commonOutcome,
  isSuccess,
  readJson,
  readLimit,
  requestJson,
  tryJson,
  type CommonOutcome,
} from './answer.ts';

/** What a new device shows to the server in place of the account's password; single use, good for ten minutes. */
export interface LinkToken {
  readonly code: string;
  /** Names the token to `waitForLinkedDevice`; undefined on older servers. */
  readonly identifier: string | undefined;
}

export type LinkTokenOutcome =
  | { readonly kind: 'token'; readonly token: LinkToken }
  /** Devices of the account with the primary; undefined where the server does not say. */
  | { readonly kind: 'limit'; readonly current: number | undefined; readonly max: number | undefined }
  | { readonly kind: 'not-offered' }
  /** `unauthorized` where another device than the primary asks. */
  | CommonOutcome;

const tokenSchema = z.object({
  verificationCode: z.string().min(1).max(1024),
  tokenIdentifier: z.string().min(1).max(256).nullish(),
});

/** @throws BotError `ANSWER_INVALID`, and as `Requester.request` */
export async function fetchLinkToken(requester: Requester): Promise<LinkTokenOutcome> {
  const response = await requester.request({ verb: 'GET', path: '/v1/devices/provisioning/code' });
  if (isSuccess(response)) {
    const { verificationCode, tokenIdentifier } = readJson(tokenSchema, response, 'the link token');
    return { kind: 'token', token: { code: verificationCode, identifier: tokenIdentifier ?? undefined } };
  }
  if (response.status === 404) return { kind: 'not-offered' };
  if (response.status === 411) return readLimit(response);
  return commonOutcome(response);
}

/** `gone`: nobody waits at this address any more. */
export type ProvisionOutcome =
  { readonly kind: 'sent' } | { readonly kind: 'gone' } | { readonly kind: 'too-large' } | CommonOutcome;

/**
 * @param address of the provisioning socket, as the link names it
 * @param envelope serialized ProvisionEnvelope
 * @throws BotError as `Requester.request`
 */
export async function sendProvision(
  requester: Requester,
  address: string,
  envelope: Bytes,
): Promise<ProvisionOutcome> {
  const path = `/v1/provisioning/${encodeURIComponent(address)}`;
  const response = await requestJson(requester, 'PUT', path, { body: toBase64(envelope) });
  if (isSuccess(response)) return { kind: 'sent' };
  if (response.status === 404) return { kind: 'gone' };
  if (response.status === 400) return { kind: 'too-large' };
  return commonOutcome(response);
}

/**
 * Asks whether a device has come of the token. The server says no as long as our own queue holds older messages, and an
 * open call is mostly not woken: short waits, and a look at the device list, find out.
 * @param seconds 1..3600
 * @returns the device's id; undefined for not yet, for a server that does not offer it, and for one that asks to wait
 * @throws BotError as `Requester.request`
 */
export async function waitForLinkedDevice(
  requester: Requester,
  identifier: string,
  seconds: number,
): Promise<number | undefined> {
  const path = `/v1/devices/wait_for_linked_device/${encodeURIComponent(identifier)}?timeout=${String(seconds)}`;
  const response = await requester.request({ verb: 'GET', path });
  return response.status === 200 ? tryJson(linkedSchema, response)?.id : undefined;
}

const linkedSchema = z.object({ id: z.number().int().min(1).max(127) });
