/**
 * Keys: prekeys up, counts and checks, other people's bundles down (protocol brief, 3.1 to 3.3).
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { DeviceId, IdentityKind, ServiceId } from '../address.ts';
import { copy, toBase64, type Bytes } from '../bytes.ts';
import type { Requester, Response } from '../transport/request.ts';
import {
  base64, commonOutcome, deviceIdSchema, failure, isSuccess, readJson, registrationIdSchema, requestJson,
  type CommonOutcome,
} from './answer.ts'; // prettier-ignore
import { accessHeader } from './messages.ts';

export interface UploadKey {
  /** 1..0xFFFFFF */
  readonly id: number;
  /** EC 33 bytes (0x05 first), Kyber-1024 1569 bytes (0x08 first). */
  readonly publicKey: Bytes;
}

export interface SignedUploadKey extends UploadKey {
  /** 64 bytes, by the identity key, over the serialised public key. */
  readonly signature: Bytes;
}

/** Absent or empty: what the server has stays. One-time keys that are given replace all of their sort. */
export interface UploadKeys {
  /** At most 100. */
  readonly ec?: readonly UploadKey[];
  /** At most 100; in a request of its own, since it can fail where the others do not (3.1). */
  readonly kyber?: readonly SignedUploadKey[];
  readonly signed?: SignedUploadKey;
  readonly lastResort?: SignedUploadKey;
}

/** `rejected`: a signature, size or id is wrong, or the account has no such identity. */
export type UploadOutcome =
  { readonly kind: 'stored' } | { readonly kind: 'rejected'; readonly status: number } | CommonOutcome;

/** One device's part of a bundle. */
export interface BundleDevice {
  readonly deviceId: DeviceId;
  /** Of the identity that was asked for. */
  readonly registrationId: number;
  readonly signedPrekey: SignedUploadKey;
  /** Undefined when the device's one-time keys ran out. */
  readonly prekey: UploadKey | undefined;
  /** One-time, or the last resort. */
  readonly kyberPrekey: SignedUploadKey;
}

export interface Bundle {
  /** 33 bytes. */
  readonly identityKey: Bytes;
  /** Devices that have all that a session needs; a device without is not usable yet and is left out. */
  readonly devices: readonly BundleDevice[];
}

export type BundleOutcome =
  { readonly kind: 'bundle'; readonly bundle: Bundle } | { readonly kind: 'unregistered' } | CommonOutcome;

const keyId = z.number().int().min(0).max(0x7fffffff);
const ecKey = z.object({ keyId, publicKey: base64(33) });
const signedKey = z.object({ keyId, publicKey: base64(33), signature: base64(64) });
const kyberKey = z.object({ keyId, publicKey: base64(1569), signature: base64(64) });
const bundleSchema = z.object({
  identityKey: base64(33),
  devices: z
    .array(
      z.object({
        deviceId: deviceIdSchema,
        registrationId: registrationIdSchema,
        signedPreKey: signedKey.nullish(),
        preKey: ecKey.nullish(),
        pqPreKey: kyberKey.nullish(),
      }),
    )
    .max(127),
});
const countSchema = z.object({ count: z.number().int().min(0), pqCount: z.number().int().min(0) });

/**
 * Fetches what sessions with an account's devices need. Each fetch uses up one-time keys, and authenticated ones soon
 * meet a limit (1.9): with an access key, through an anonymous requester, there is none.
 * @param deviceId or `*` for all
 * @throws BotError `ANSWER_INVALID`, and as `Requester.request`
 */
export async function fetchBundles(
  requester: Requester,
  serviceId: ServiceId,
  deviceId: DeviceId | '*',
  accessKey?: Bytes,
): Promise<BundleOutcome> {
  const path = `/v2/keys/${serviceId}/${String(deviceId)}`;
  const response = await requester.request({ verb: 'GET', path, headers: accessHeader(accessKey) });
  if (response.status === 404) return { kind: 'unregistered' };
  if (!isSuccess(response)) return commonOutcome(response);
  return { kind: 'bundle', bundle: readBundle(response) };
}

/** @throws BotError as `Requester.request` */
export async function uploadKeys(
  requester: Requester,
  kind: IdentityKind,
  keys: UploadKeys,
): Promise<UploadOutcome> {
  const body = {
    preKeys: (keys.ec ?? []).map(toJson), // the mock wants the array; empty leaves the server's keys alone
    ...(keys.kyber && { pqPreKeys: keys.kyber.map(toSignedJson) }),
    ...(keys.signed && { signedPreKey: toSignedJson(keys.signed) }),
    ...(keys.lastResort && { pqLastResortPreKey: toSignedJson(keys.lastResort) }),
  };
  const response = await requestJson(requester, 'PUT', `/v2/keys?identity=${kind}`, body);
  if (isSuccess(response)) return { kind: 'stored' };
  const { status } = response;
  return status === 422 || status === 400 ? { kind: 'rejected', status } : commonOutcome(response);
}

/**
 * One-time keys left on the server.
 * @throws BotError `ANSWER_INVALID`, `DEVICE_UNLINKED`, `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_REFUSED`
 */
export async function countKeys(
  requester: Requester,
  kind: IdentityKind,
): Promise<{ ec: number; kyber: number }> {
  const response = await requester.request({ verb: 'GET', path: `/v2/keys?identity=${kind}` });
  if (!isSuccess(response)) throw failure(response, 'the key count');
  const { count, pqCount } = readJson(countSchema, response, 'the key count');
  return { ec: count, kyber: pqCount };
}

/**
 * Whether the server has the signed prekey and last-resort key that `keysDigest` was made of.
 * @throws BotError as `countKeys`
 */
export async function checkKeys(
  requester: Requester,
  kind: IdentityKind,
  digest: Bytes,
): Promise<'same' | 'differs' | 'not-offered'> {
  const body = { identityType: kind.toUpperCase(), digest: toBase64(digest) };
  const response = await requestJson(requester, 'POST', '/v2/keys/check', body);
  if (isSuccess(response)) return 'same';
  if (response.status === 409) return 'differs';
  if (response.status === 404) return 'not-offered';
  throw failure(response, 'the key check');
}

/**
 * SHA-256 over identity key (33), signed prekey id (u64 big-endian), signed prekey (33), last-resort id (u64
 * big-endian), last-resort key (1569); protocol brief, 3.2.
 */
export function keysDigest(keys: {
  readonly identityKey: Bytes;
  readonly signedId: number;
  readonly signedPublic: Bytes;
  readonly lastResortId: number;
  readonly lastResortPublic: Bytes;
}): Bytes {
  const hash = createHash('sha256').update(keys.identityKey);
  hash.update(u64(keys.signedId)).update(keys.signedPublic);
  return copy(hash.update(u64(keys.lastResortId)).update(keys.lastResortPublic).digest());
}

function readBundle(response: Response): Bundle {
  const { identityKey, devices } = readJson(bundleSchema, response, 'a key fetch');
  const usable = devices.flatMap(
    ({ deviceId, registrationId, signedPreKey, preKey, pqPreKey }): BundleDevice[] => {
      if (!signedPreKey || !pqPreKey) return [];
      const signedPrekey = fromSignedJson(signedPreKey);
      const prekey = preKey ? { id: preKey.keyId, publicKey: preKey.publicKey } : undefined;
      return [{ deviceId, registrationId, signedPrekey, prekey, kyberPrekey: fromSignedJson(pqPreKey) }];
    },
  );
  return { identityKey, devices: usable };
}

function fromSignedJson(key: z.infer<typeof signedKey>): SignedUploadKey {
  return { id: key.keyId, publicKey: key.publicKey, signature: key.signature };
}

function toJson({ id, publicKey }: UploadKey): object {
  return { keyId: id, publicKey: toBase64(publicKey) };
}

function toSignedJson({ id, publicKey, signature }: SignedUploadKey): object {
  return { keyId: id, publicKey: toBase64(publicKey), signature: toBase64(signature) };
}

function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
