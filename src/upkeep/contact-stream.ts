/**
 * Contact stream: the phone's contact list, as it is inside the attachment that a sync message points to.
 *
 * Attachment: IV 16 | AES-256-CBC/PKCS7 of the padded list | HMAC-SHA256 32 over both before it; the digest is SHA-256
 * over all three. List: ContactDetails, each with its length as a varint in front, and behind it the bytes of its
 * avatar where it has one. Spec: protocol brief, sections 10.2 and 6.5.
 */
import { createDecipheriv, createHash, createHmac } from 'node:crypto';
import { Reader } from 'protobufjs/minimal.js';
import { parseAci, uuidFromBytes, type Aci } from '../address.ts';
import { concat, decodeProto, equal, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { signal } from '../proto/messages.js';

const IV_LENGTH = 16;
const BLOCK_LENGTH = 16;
const MAC_LENGTH = 32;
const KEY_LENGTH = 32;
const MAX_NAME_LENGTH = 256;
const NUMBER = /^\+[0-9]{1,20}$/;

/** How to open an attachment. */
export interface AttachmentSecrets {
  /** AES key 32, MAC key 32. */
  readonly key: Bytes;
  /** 32 bytes */
  readonly digest: Bytes;
  /** Of the plaintext, without padding. */
  readonly size: number;
}

/** A contact that has an ACI. */
export interface ListedContact {
  readonly aci: Aci;
  readonly number: string | undefined;
  readonly name: string | undefined;
}

/**
 * Checks digest and MAC before anything is decrypted.
 * @throws BotError `CONTENT_INVALID`
 */
export function openAttachment(blob: Uint8Array, secrets: AttachmentSecrets): Bytes {
  const { key, digest, size } = secrets;
  if (key.length !== 2 * KEY_LENGTH) throw invalid('the key of the attachment has a wrong length');
  if (blob.length < IV_LENGTH + BLOCK_LENGTH + MAC_LENGTH) throw invalid('the attachment is too short');
  if (!equal(createHash('sha256').update(blob).digest(), digest))
    throw invalid('the attachment has another digest');
  const authenticated = blob.subarray(0, -MAC_LENGTH);
  const mac = createHmac('sha256', key.subarray(KEY_LENGTH)).update(authenticated).digest();
  if (!equal(mac, blob.subarray(-MAC_LENGTH))) throw invalid('the attachment has a wrong MAC');
  const plaintext = decrypt(key.subarray(0, KEY_LENGTH), authenticated);
  if (size > plaintext.length) throw invalid('the attachment is shorter than announced');
  return plaintext.slice(0, size);
}

/**
 * Contacts that have an ACI, in order; others cannot be reached and are left out.
 * @throws BotError `CONTENT_INVALID` the list is malformed; nothing of it is used then
 */
export function parseContactList(list: Uint8Array): ListedContact[] {
  const contacts: ListedContact[] = [];
  const reader = Reader.create(list);
  while (reader.pos < reader.len) {
    const details = decodeProto(signal.ContactDetails, readRecord(reader), 'a contact');
    const avatarLength = details.avatar?.length ?? 0;
    if (reader.pos + avatarLength > reader.len) throw invalid('the contact list ends within an avatar');
    reader.pos += avatarLength;
    const aci = readAci(details);
    if (aci === undefined) continue;
    const number = details.number !== null && NUMBER.test(details.number) ? details.number : undefined;
    const name = details.name ? details.name.slice(0, MAX_NAME_LENGTH) : undefined;
    contacts.push({ aci, number, name });
  }
  return contacts;
}

function readRecord(reader: Reader): Uint8Array {
  try {
    return reader.bytes();
  } catch (cause) {
    throw invalid('the contact list ends within a contact', cause);
  }
}

function readAci(details: signal.ContactDetails): Aci | undefined {
  if (details.aciBinary?.length) return parseAci(uuidFromBytes(details.aciBinary));
  return details.aci ? parseAci(details.aci) : undefined;
}

function decrypt(key: Bytes, authenticated: Uint8Array): Bytes {
  try {
    const decipher = createDecipheriv('aes-256-cbc', key, authenticated.subarray(0, IV_LENGTH));
    return concat(decipher.update(authenticated.subarray(IV_LENGTH)), decipher.final());
  } catch (cause) {
    throw invalid('the attachment is not padded right', cause);
  }
}

function invalid(message: string, cause?: unknown): BotError {
  return new BotError('CONTENT_INVALID', message, cause === undefined ? {} : { cause });
}
