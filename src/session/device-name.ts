/**
 * Device name: encrypted for the account's own devices, so that the server cannot read it.
 *
 * DeviceName { ephemeralPublic 33, syntheticIv 16, ciphertext } with
 *   master = X25519(ephemeral, ACI identity)
 *   syntheticIv = first 16 of HMAC(HMAC(master, "auth"), name)
 *   key = HMAC(HMAC(master, "cipher"), syntheticIv), AES-256-CTR from a zero counter
 * Spec: protocol brief, section 2.7.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { PrivateKey, PublicKey } from '@signalapp/libsignal-client';
import { concat, copy, decodeProto, equal, fromBase64, fromUtf8, own, toUtf8, type Bytes } from '../bytes.ts';
import { BotError, isBotError } from '../errors.ts';
import { signal } from '../proto/messages.js';
import type { StoredKeyPair } from '../store/rows.ts';

/** UTF-8 bytes; the server takes 225 bytes of the encrypted form. */
const MAX_DEVICE_NAME_BYTES = 130;

const SYNTHETIC_IV_LENGTH = 16;
const ZERO_COUNTER = new Uint8Array(16);

/**
 * @param identity public half of the ACI identity, 33 bytes
 * @param ephemeral a fresh pair, given by tests only
 * @returns serialized DeviceName, at most 225 bytes
 * @throws BotError `USAGE` when the name is empty or longer than 130 bytes
 */
export function encryptDeviceName(
  name: string,
  identity: PublicKey,
  ephemeral = PrivateKey.generate(),
): Bytes {
  const plaintext = fromUtf8(name);
  checkDeviceName(name);
  const master = ephemeral.agree(identity);
  const syntheticIv = syntheticIvOf(master, plaintext);
  const cipher = createCipheriv('aes-256-ctr', cipherKeyOf(master, syntheticIv), ZERO_COUNTER);
  const ciphertext = concat(cipher.update(plaintext), cipher.final());
  const ephemeralPublic = ephemeral.getPublicKey().serialize();
  return own(signal.DeviceName.encode({ ephemeralPublic, syntheticIv, ciphertext }).finish());
}

/** @throws BotError `USAGE` when the name is empty or longer than 130 bytes */
export function checkDeviceName(name: string): void {
  const { length } = fromUtf8(name);
  if (name.trim() === '' || length > MAX_DEVICE_NAME_BYTES) {
    throw new BotError(
      'USAGE',
      `a device name has 1 to ${String(MAX_DEVICE_NAME_BYTES)} bytes, this one ${String(length)}`,
    );
  }
}

/**
 * @param identity private half of the ACI identity
 * @param encrypted serialized DeviceName
 * @throws BotError `CONTENT_INVALID` when it is malformed, or not encrypted for this identity
 */
export function decryptDeviceName(encrypted: Uint8Array, identity: PrivateKey): string {
  const { ephemeralPublic, syntheticIv, ciphertext } = decodeProto(
    signal.DeviceName,
    encrypted,
    'the device name',
  );
  if (!ephemeralPublic || syntheticIv?.length !== SYNTHETIC_IV_LENGTH || !ciphertext) {
    throw new BotError('CONTENT_INVALID', 'the device name lacks a field');
  }
  const master = agree(identity, ephemeralPublic);
  const decipher = createDecipheriv('aes-256-ctr', cipherKeyOf(master, syntheticIv), ZERO_COUNTER);
  const plaintext = concat(decipher.update(ciphertext), decipher.final());
  if (!equal(syntheticIvOf(master, plaintext), syntheticIv)) {
    throw new BotError('CONTENT_INVALID', 'the device name is not encrypted for this account');
  }
  return toUtf8(plaintext);
}

/**
 * A name as lists show it.
 * @param identity the ACI identity
 * @returns null when there is none, or none that this identity opens
 */
export function readDeviceName(encrypted: Uint8Array | undefined, identity: StoredKeyPair): string | null {
  if (encrypted === undefined) return null;
  try {
    return decryptDeviceName(encrypted, PrivateKey.deserialize(fromBase64(identity.privateKey)));
  } catch (error) {
    if (isBotError(error, 'CONTENT_INVALID')) return null;
    throw error;
  }
}

function agree(identity: PrivateKey, publicKey: Uint8Array): Bytes {
  try {
    return identity.agree(PublicKey.deserialize(copy(publicKey)));
  } catch (cause) {
    throw new BotError('CONTENT_INVALID', 'the device name has an impossible public key', { cause });
  }
}

function syntheticIvOf(master: Bytes, plaintext: Bytes): Bytes {
  return hmac(hmac(master, fromUtf8('auth')), plaintext).slice(0, SYNTHETIC_IV_LENGTH);
}

function cipherKeyOf(master: Bytes, syntheticIv: Uint8Array): Bytes {
  return hmac(hmac(master, fromUtf8('cipher')), syntheticIv);
}

function hmac(key: Bytes, data: Uint8Array): Bytes {
  return copy(createHmac('sha256', key).update(data).digest());
}
