/**
 * Contact list: what the primary device tells its linked ones of the account's contacts, as an attachment (protocol brief,
 * sections 6.5 and 10.2). A list is ContactDetails, each with its length as a varint in front.
 */
import { createCipheriv, createHash, createHmac } from 'node:crypto';
import { Writer } from 'protobufjs/minimal.js';
import { isAci, uuidToBytes } from '../address.ts';
import { concat, copy, own, type Bytes } from '../bytes.ts';
import type { Random } from '../platform.ts';
import { signal } from '../proto/messages.js';
import type { Store } from '../store/store.ts';
import type { Contact } from '../store/rows.ts';
import { contacts, peers } from '../store/tables.ts';

const IV_LENGTH = 16;
const KEY_LENGTH = 32;
/** Attachments are padded to powers of this, so that their size says little. */
const STEP = 1.05;
const SMALLEST = 541;

export interface SealedAttachment {
  readonly blob: Bytes;
  /** AES key 32, MAC key 32. */
  readonly key: Bytes;
  /** SHA-256 of the blob. */
  readonly digest: Bytes;
  /** Of the plaintext, without padding. */
  readonly size: number;
}

/** Every account that there is a contact or a session of, save our own. */
export async function writeContactList(store: Store, ownAci: string): Promise<Bytes> {
  const known = new Map<string, Contact>();
  for await (const [serviceId] of peers.scan(store, ['aci'])) known.set(serviceId, {});
  for await (const [serviceId, contact] of contacts.scan(store)) known.set(serviceId, contact);
  const records: Uint8Array[] = [];
  for (const [aci, { name, number }] of known) {
    if (!isAci(aci) || aci === ownAci) continue;
    const details = { aci, aciBinary: uuidToBytes(aci), ...(name && { name }), ...(number && { number }) };
    records.push(Writer.create().bytes(signal.ContactDetails.encode(details).finish()).finish());
  }
  return concat(...records);
}

/** Blob: IV 16 | AES-256-CBC of the padded content | HMAC-SHA256 32 over both. */
export function sealAttachment(content: Uint8Array, random: Random): SealedAttachment {
  const key = random.bytes(2 * KEY_LENGTH);
  const iv = random.bytes(IV_LENGTH);
  const cipher = createCipheriv('aes-256-cbc', key.subarray(0, KEY_LENGTH), iv);
  const padding = new Uint8Array(paddedSize(content.length) - content.length);
  const authenticated = concat(iv, cipher.update(content), cipher.update(padding), cipher.final());
  const mac = createHmac('sha256', key.subarray(KEY_LENGTH)).update(authenticated).digest();
  const blob = own(concat(authenticated, mac));
  const digest = copy(createHash('sha256').update(blob).digest());
  return { blob, key, digest, size: content.length };
}

function paddedSize(size: number): number {
  if (size <= SMALLEST) return SMALLEST;
  return Math.max(size, Math.floor(STEP ** Math.ceil(Math.log(size) / Math.log(STEP))));
}
