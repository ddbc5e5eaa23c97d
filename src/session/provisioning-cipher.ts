/**
 * Provisioning cipher: what a primary device seals to the key in a new device's QR code, and the new device opens.
 *
 * body = 0x01 | IV 16 | AES-256-CBC/PKCS7 ciphertext | HMAC-SHA256 32 over all before it. The two keys come from
 * HKDF-SHA256 of the X25519 agreement. Spec: protocol brief, section 2.4.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto';
import { PrivateKey, PublicKey } from '@signalapp/libsignal-client';
import { concat, copy, decodeProto, equal, EMPTY, fromUtf8, own, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import { signal } from '../proto/messages.js';

const VERSION = 1;
const IV_LENGTH = 16;
const BLOCK_LENGTH = 16;
const MAC_LENGTH = 32;
const KEY_LENGTH = 32;
const INFO = fromUtf8('TextSecure Provisioning Message');

/** The two keys that both sides derive: 32 bytes each. */
export interface ProvisioningKeys {
  readonly cipherKey: Bytes;
  readonly macKey: Bytes;
}

/** @param shared X25519 agreement, 32 bytes */
export function deriveProvisioningKeys(shared: Bytes): ProvisioningKeys {
  const both = new Uint8Array(hkdfSync('sha256', shared, EMPTY, INFO, 2 * KEY_LENGTH));
  return { cipherKey: both.slice(0, KEY_LENGTH), macKey: both.slice(KEY_LENGTH) };
}

/**
 * Opens a serialized ProvisionEnvelope. The MAC is compared in constant time, and before anything is decrypted.
 * @param privateKey of the QR code that was shown with the envelope's own socket
 * @returns the serialized ProvisionMessage
 * @throws BotError `CONTENT_INVALID` too short, another version, a MAC that does not match (the phone read another
 *   code), bad padding, no or an impossible public key
 */
export function openProvisionEnvelope(privateKey: PrivateKey, envelope: Uint8Array): Bytes {
  const { publicKey, body } = decodeProto(signal.ProvisionEnvelope, envelope, 'the provision envelope');
  if (!publicKey || !body) throw invalid('the provision envelope lacks a field');
  if (body.length < 1 + IV_LENGTH + BLOCK_LENGTH + MAC_LENGTH)
    throw invalid('the provision envelope is too short');
  if (body[0] !== VERSION) throw invalid('the provision envelope has an unknown version');

  const { cipherKey, macKey } = deriveProvisioningKeys(agree(privateKey, publicKey));
  const authenticated = body.subarray(0, -MAC_LENGTH);
  const mac = createHmac('sha256', macKey).update(authenticated).digest();
  if (!equal(mac, body.subarray(-MAC_LENGTH)))
    throw invalid('the provision envelope is sealed for another code');

  try {
    const decipher = createDecipheriv('aes-256-cbc', cipherKey, authenticated.subarray(1, 1 + IV_LENGTH));
    return concat(decipher.update(authenticated.subarray(1 + IV_LENGTH)), decipher.final());
  } catch (cause) {
    throw invalid('the provision envelope is not padded right', cause);
  } finally {
    cipherKey.fill(0);
    macKey.fill(0);
  }
}

/**
 * Seals a serialized ProvisionMessage for the key of a QR code.
 * @param publicKey 33 bytes
 * @param ephemeral a fresh pair, given by tests only
 * @returns serialized ProvisionEnvelope
 * @throws BotError `CONTENT_INVALID` an impossible public key
 */
export function sealProvisionEnvelope(
  publicKey: Uint8Array,
  message: Uint8Array,
  random: Random,
  ephemeral = PrivateKey.generate(),
): Bytes {
  const { cipherKey, macKey } = deriveProvisioningKeys(agree(ephemeral, publicKey));
  try {
    const iv = random.bytes(IV_LENGTH);
    const cipher = createCipheriv('aes-256-cbc', cipherKey, iv);
    const authenticated = concat(Uint8Array.of(VERSION), iv, cipher.update(message), cipher.final());
    const mac = createHmac('sha256', macKey).update(authenticated).digest();
    const envelope = {
      publicKey: ephemeral.getPublicKey().serialize(),
      body: concat(authenticated, mac),
    };
    return own(signal.ProvisionEnvelope.encode(envelope).finish());
  } finally {
    cipherKey.fill(0);
    macKey.fill(0);
  }
}

function agree(privateKey: PrivateKey, publicKey: Uint8Array): Bytes {
  try {
    return privateKey.agree(PublicKey.deserialize(own(copy(publicKey))));
  } catch (cause) {
    throw invalid('the provision envelope has an impossible public key', cause);
  }
}

function invalid(message: string, cause?: unknown): BotError {
  return new BotError('CONTENT_INVALID', message, cause === undefined ? {} : { cause });
}
