/**
 * Own profile: PUT /v1/profile (protocol brief, 7). Leaving it to the primary device is part of the protocol.
 *
 * Fields are nonce 12 | AES-256-GCM ciphertext | tag 16 under the profile key; a name is given name, NUL, family name and
 * zeros, 53 or 257 bytes.
 */
import { createCipheriv } from 'node:crypto';
import { ProfileKey } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { Aci as LibsignalAci } from '@signalapp/libsignal-client';
import type { Aci } from '../address.ts';
import { concat, fromUtf8, toBase64, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import type { Requester } from '../transport/request.ts';
import { commonOutcome, isSuccess, requestJson, type CommonOutcome } from './answer.ts';

const NONCE_LENGTH = 12;
const NAME_SIZES = [53, 257] as const;
/** UTF-8 bytes. */
const MAX_PROFILE_NAME_BYTES = NAME_SIZES[1];

export type ProfileOutcome = { readonly kind: 'stored' } | CommonOutcome;

/**
 * @param profile.key 32 bytes
 * @param profile.name at most 257 bytes of UTF-8
 * @throws BotError `USAGE` the name is too long; as `Requester.request`
 */
export async function putProfile(
  requester: Requester,
  profile: { readonly aci: Aci; readonly key: Bytes; readonly name: string },
  random: Random,
): Promise<ProfileOutcome> {
  const aci = LibsignalAci.parseFromServiceIdString(profile.aci);
  const key = new ProfileKey(profile.key);
  const body = {
    version: key.getProfileKeyVersion(aci).toString(),
    commitment: toBase64(key.getCommitment(aci).serialize()),
    name: toBase64(encryptField(profile.key, padName(profile.name), random)),
    avatar: false,
    sameAvatar: false,
    badgeIds: [],
    phoneNumberSharing: toBase64(encryptField(profile.key, Uint8Array.of(0), random)),
  };
  const response = await requestJson(requester, 'PUT', '/v1/profile', body);
  return isSuccess(response) ? { kind: 'stored' } : commonOutcome(response);
}

/** The key that anonymous requests to the account show: 16 bytes. */
export function accessKeyOf(profileKey: Bytes): Bytes {
  return new Uint8Array(new ProfileKey(profileKey).deriveAccessKey());
}

/** @throws BotError `USAGE` */
export function padName(name: string): Bytes {
  const bytes = fromUtf8(name);
  const size = NAME_SIZES.find((each) => bytes.length <= each);
  if (size === undefined) {
    throw new BotError(
      'USAGE',
      `a profile name has at most ${String(MAX_PROFILE_NAME_BYTES)} bytes, this one ${String(bytes.length)}`,
    );
  }
  return concat(bytes, new Uint8Array(size - bytes.length));
}

function encryptField(key: Bytes, plaintext: Uint8Array, random: Random): Bytes {
  const nonce = random.bytes(NONCE_LENGTH);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  return concat(nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}
