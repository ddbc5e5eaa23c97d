/**
 * Shapes that several rules read, as strict as the Java servers (protocol brief, sections 1.9, 2.5 and 3.1).
 */
import { KEMPublicKey, PublicKey } from '@signalapp/libsignal-client';
import { z } from 'zod';
import { fromBase64, type Bytes } from '../../bytes.ts';

/** Standard alphabet only, padding whole or none; no line breaks, no left-over digit. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

export const base64 = z
  .string()
  .regex(BASE64)
  .transform((text): Bytes => fromBase64(text));

const signature = base64.refine((bytes) => bytes.length === 64, 'a signature has 64 bytes');
const ecKey = base64.refine(
  (bytes) => bytes.length === 33 && bytes[0] === 5,
  'an EC key has 33 bytes, the first is 5',
);
const kyberKey = base64.refine(
  (bytes) => bytes.length === 1569 && bytes[0] === 8,
  'a Kyber-1024 key has 1569 bytes, the first is 8',
);
/** A long: servers before 2026 take any, beyond what a double holds exactly too. */
const keyId = z.number().refine(Number.isInteger, 'is no integer');

export const ecPrekey = z.object({ keyId, publicKey: ecKey });
export const signedEcPrekey = z.object({ keyId, publicKey: ecKey, signature });
export const kyberPrekey = z.object({ keyId, publicKey: kyberKey, signature });

/** Absent and null are one. */
export function optional<T extends z.ZodType>(shape: T): z.ZodType<z.output<T> | undefined> {
  return shape.nullish().transform((value) => value ?? undefined);
}

export type SignedKey = z.output<typeof signedEcPrekey>;

export const identityKey = ecKey.transform((bytes) => PublicKey.deserialize(bytes));

/** Whether the key is of its kind and signed by the identity. @param identity 33 bytes */
export function isSigned(identity: Bytes, key: SignedKey): boolean {
  try {
    if (key.publicKey[0] === 8) KEMPublicKey.deserialize(key.publicKey);
    else PublicKey.deserialize(key.publicKey);
    return PublicKey.deserialize(identity).verify(key.publicKey, key.signature);
  } catch {
    return false;
  }
}

/** Key ids as servers of 2026 check them. */
export function isKeyId(id: number): boolean {
  return id >= 0 && id <= 0x7fff_ffff;
}
