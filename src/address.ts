/**
 * Addresses: who and which device. ACI and PNI are told apart by type, by text and by bytes:
 * `uuid` or `PNI:uuid`; 16 bytes, or 0x01 then 16 bytes (protocol brief, vocabulary).
 */
import { concat, copy, fromHex, toHex, type Bytes } from './bytes.ts';
import { BotError } from './errors.ts';

declare const brand: unique symbol;
/** Account id: a lower-case UUID. */
export type Aci = string & { readonly [brand]: 'aci' };
/** Phone-number id: `PNI:` and a lower-case UUID. */
export type Pni = string & { readonly [brand]: 'pni' };
export type ServiceId = Aci | Pni;
/** 1..127; 1 is the primary. */
export type DeviceId = number;
/** Which of our two identities. */
export type IdentityKind = 'aci' | 'pni';

export interface Address {
  readonly serviceId: ServiceId;
  readonly deviceId: DeviceId;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isAci(text: string): text is Aci {
  return UUID.test(text);
}

export function isPni(text: string): text is Pni {
  return text.startsWith('PNI:') && UUID.test(text.slice(4));
}

/** @throws BotError `CONTENT_INVALID` */
export function parseAci(text: string): Aci {
  const lower = text.toLowerCase();
  if (!isAci(lower)) throw new BotError('CONTENT_INVALID', 'this is not an ACI');
  return lower;
}

/** Takes a bare UUID too, as the link answer gives it. @throws BotError `CONTENT_INVALID` */
export function parsePni(text: string): Pni {
  const bare = text.replace(/^PNI:/i, '').toLowerCase();
  const pni = `PNI:${bare}`;
  if (!isPni(pni)) throw new BotError('CONTENT_INVALID', 'this is not a PNI');
  return pni;
}

/** `uuid` or `PNI:uuid`. @throws BotError `CONTENT_INVALID` */
export function parseServiceId(text: string): ServiceId {
  return /^PNI:/i.test(text) ? parsePni(text) : parseAci(text);
}

/** 16 bytes for an ACI, 0x01 then 16 bytes for a PNI. @throws BotError `CONTENT_INVALID` */
export function serviceIdFromBytes(bytes: Uint8Array): ServiceId {
  if (bytes.length === 16) return uuidFromBytes(bytes) as Aci;
  if (bytes.length === 17 && bytes[0] === 1) return `PNI:${uuidFromBytes(bytes.subarray(1))}` as Pni;
  throw new BotError('CONTENT_INVALID', 'these bytes are not a service id');
}

export function serviceIdToBytes(id: ServiceId): Bytes {
  return isPni(id) ? concat(Uint8Array.of(1), uuidToBytes(id.slice(4))) : uuidToBytes(id);
}

/** @throws BotError `CONTENT_INVALID` unless there are 16 bytes */
export function uuidFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new BotError('CONTENT_INVALID', 'a UUID has 16 bytes');
  const hex = toHex(copy(bytes));
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function uuidToBytes(uuid: string): Bytes {
  return fromHex(uuid.replaceAll('-', ''));
}

/** @throws BotError `CONTENT_INVALID` unless it is a whole number from 1 to 127 */
export function parseDeviceId(value: number): DeviceId {
  if (!Number.isInteger(value) || value < 1 || value > 127) {
    throw new BotError('CONTENT_INVALID', 'a device id is a whole number from 1 to 127');
  }
  return value;
}
