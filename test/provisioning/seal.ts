/** The phone's side of the provisioning cipher, written from section 2.4 for tests. */
import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import { PrivateKey, type PublicKey } from '@signalapp/libsignal-client';
import { concat, own, toBase64, type Bytes } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import { deriveProvisioningKeys } from '../../src/session/provisioning-cipher.ts';
import { uuidToBytes } from '../../src/address.ts';

export interface PhoneAccount {
  readonly aci: string;
  readonly pni: string;
  readonly identity: PrivateKey;
  readonly pniIdentity: PrivateKey;
}

export const ACI = 'c0ffee00-1234-4abc-8def-0123456789ab';
export const PNI = 'deadbeef-4321-4cba-9fed-ba9876543210';

export function phoneAccount(): PhoneAccount {
  return { aci: ACI, pni: PNI, identity: PrivateKey.generate(), pniIdentity: PrivateKey.generate() };
}

/** A ProvisionMessage as a phone of today writes it. */
export function provisionMessage(
  phone: PhoneAccount,
  change: signal.ProvisionMessage.$Properties = {},
): signal.ProvisionMessage.$Properties {
  return {
    aciIdentityKeyPublic: phone.identity.getPublicKey().serialize(),
    aciIdentityKeyPrivate: phone.identity.serialize(),
    pniIdentityKeyPublic: phone.pniIdentity.getPublicKey().serialize(),
    pniIdentityKeyPrivate: phone.pniIdentity.serialize(),
    aciBinary: uuidToBytes(phone.aci),
    pniBinary: uuidToBytes(phone.pni),
    number: '+15555550123',
    provisioningCode: 'the-code',
    provisioningVersion: 1,
    profileKey: new Uint8Array(32).fill(7),
    accountEntropyPool: 'a1b2'.repeat(16),
    masterKey: new Uint8Array(32).fill(8),
    ...change,
  };
}

export function encodeMessage(message: signal.ProvisionMessage.$Properties): Bytes {
  return own(signal.ProvisionMessage.encode(message).finish());
}

/** Seals a serialized message for the key of a QR code. */
export function seal(message: Uint8Array, to: PublicKey): Bytes {
  const ephemeral = PrivateKey.generate();
  const { cipherKey, macKey } = deriveProvisioningKeys(ephemeral.agree(to));
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', cipherKey, iv);
  const authenticated = concat(Uint8Array.of(1), iv, cipher.update(message), cipher.final());
  const mac = createHmac('sha256', macKey).update(authenticated).digest();
  return envelope(ephemeral.getPublicKey(), concat(authenticated, mac));
}

export function envelope(publicKey: PublicKey, body: Uint8Array): Bytes {
  return own(signal.ProvisionEnvelope.encode({ publicKey: publicKey.serialize(), body }).finish());
}

export function pairOf(key: PrivateKey): { publicKey: string; privateKey: string } {
  return { publicKey: toBase64(key.getPublicKey().serialize()), privateKey: toBase64(key.serialize()) };
}
