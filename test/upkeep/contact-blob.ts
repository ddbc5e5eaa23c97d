/** The phone's side of contact sync: a list, encrypted as an attachment. */
import { createCipheriv, createHash, createHmac, randomBytes } from 'node:crypto';
import { uuidToBytes } from '../../src/address.ts';
import { concat, copy, toBase64, type Bytes } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';

export interface Blob {
  readonly blob: Bytes;
  /** As the inbox leaves it. */
  readonly fact: {
    cdnId: null;
    cdnKey: string;
    cdnNumber: number;
    key: string;
    digest: string;
    size: number;
  };
}

/** ContactDetails with its length in front; an avatar's bytes behind. */
export function record(details: signal.ContactDetails.$Properties, avatar?: Uint8Array): Bytes {
  const bytes = signal.ContactDetails.encode({
    ...details,
    ...(avatar && { avatar: { contentType: 'image/png', length: avatar.length } }),
  }).ldelim();
  return concat(bytes.finish(), avatar ?? new Uint8Array());
}

export function contact(aci: string, name: string, number?: string): signal.ContactDetails.$Properties {
  return { aciBinary: uuidToBytes(aci), name, ...(number !== undefined && { number }) };
}

export function encryptBlob(list: Uint8Array, cdnNumber = 2): Blob {
  const key = randomBytes(64);
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', key.subarray(0, 32), iv);
  const plaintext = concat(list, new Uint8Array(Math.max(0, 541 - list.length)));
  const authenticated = concat(iv, cipher.update(plaintext), cipher.final());
  const blob = concat(authenticated, createHmac('sha256', key.subarray(32)).update(authenticated).digest());
  const digest = copy(createHash('sha256').update(blob).digest());
  return {
    blob,
    fact: {
      cdnId: null,
      cdnKey: 'the/key',
      cdnNumber,
      key: toBase64(key),
      digest: toBase64(digest),
      size: list.length,
    },
  };
}
