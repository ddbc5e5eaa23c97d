/**
 * Service ids in frames and payloads: a kind byte (00 ACI, 01 PNI), then the UUID, 17 bytes in all. 17 zero bytes stand
 * for "unsaid": the clear names of mode 2, a peer that is not known yet.
 * Spec: verification brief, sections 3.2 and 3.5.
 */
import { bytesToHex, hexToBytes } from '@noble/curves/utils.js';
import type { Aci, Bytes, DeviceId, Pni } from '../../../src/index.ts';
import { compare, concat, u8, type Reader } from './wire.ts';

const BYTES = 17;
const KIND = { aci: 0, pni: 1 } as const;

/** Whose device: what the core calls an address, and always of an ACI here. */
export interface Party {
  readonly aci: Aci;
  readonly device: DeviceId;
}

export function aciBytes(aci: Aci | undefined): Bytes {
  return aci === undefined ? new Uint8Array(BYTES) : concat(u8(KIND.aci), uuidBytes(aci));
}

export function pniBytes(pni: Pni): Bytes {
  return concat(u8(KIND.pni), uuidBytes(pni.slice('PNI:'.length)));
}

/** Service id and device, 18 bytes: how a party is named in TT and in OFFER and REPLY; zeros where it is hidden. */
export function partyBytes(party: Party | undefined): Bytes {
  return concat(aciBytes(party?.aci), u8(party?.device ?? 0));
}

/** undefined for 17 zeros. */
export function readAci(reader: Reader): Aci | undefined {
  const bytes = reader.bytes(BYTES);
  reader.require(bytes[0] === KIND.aci);
  const isUnsaid = bytes.every((byte) => byte === 0);
  return isUnsaid || reader.isSpent ? undefined : (uuidText(bytes.subarray(1)) as Aci);
}

export function readPni(reader: Reader): Pni {
  const bytes = reader.bytes(BYTES);
  reader.require(bytes[0] === KIND.pni);
  return `PNI:${uuidText(bytes.subarray(1))}` as Pni;
}

/** 1..127 */
export function readDevice(reader: Reader): DeviceId {
  const device = reader.u8();
  reader.require(device >= 1 && device <= 127);
  return device;
}

/** A party by name, or 18 zeros: nothing in between. */
export function readParty(reader: Reader, isNamed: boolean): Party | undefined {
  const aci = readAci(reader);
  if (!isNamed) {
    reader.require(aci === undefined && reader.u8() === 0);
    return undefined;
  }
  const device = readDevice(reader);
  reader.require(aci !== undefined);
  return aci === undefined ? undefined : { aci, device };
}

/** libsignal's `ServiceId.comparator`, for two ACIs. */
export function compareAcis(a: Aci, b: Aci): number {
  return compare(aciBytes(a), aciBytes(b));
}

function uuidBytes(uuid: string): Bytes {
  return hexToBytes(uuid.replaceAll('-', ''));
}

function uuidText(bytes: Uint8Array): string {
  const hex = bytesToHex(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
