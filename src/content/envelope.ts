/**
 * Envelope: the server's outer record, in one shape for every server generation (protocol brief, section 6.1).
 * Binary ids are preferred, text is the fallback; a sealed envelope names no source.
 */
import {
  parseServiceId,
  serviceIdFromBytes,
  uuidFromBytes,
  type DeviceId,
  type Pni,
  parsePni,
  type ServiceId,
} from '../address.ts';
import { decodeProto, EMPTY, own, toTime, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { signal } from '../proto/messages.js';

/** Numbers of the wire; libsignal's own differ (5.2). */
export const ENVELOPE = { CIPHERTEXT: 1, PREKEY: 3, RECEIPT: 5, SEALED: 6, PLAINTEXT: 8 } as const;

export interface Envelope {
  /** As it came; may be a number that nobody defined. */
  readonly type: number;
  /** ms, the sender's. */
  readonly timestamp: number;
  /** ms; the sender's where the server gave none. */
  readonly serverTimestamp: number;
  readonly source: ServiceId | undefined;
  readonly sourceDevice: DeviceId | undefined;
  readonly destination: ServiceId | undefined;
  /** A UUID; the mock gives none. */
  readonly guid: string | undefined;
  readonly updatedPni: Pni | undefined;
  readonly content: Bytes;
  readonly story: boolean;
}

/** What it takes to drop one unopened; the rest costs twice as much again. */
export type Glance = Pick<Envelope, 'type' | 'serverTimestamp' | 'source' | 'sourceDevice' | 'content'>;

/** @throws BotError `CONTENT_INVALID` */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const wire = decodeProto(signal.Envelope, bytes, 'an envelope');
  return {
    ...look(wire),
    timestamp: toTime(wire.clientTimestamp ?? 0),
    destination: serviceId(wire.destinationServiceIdBinary, wire.destinationServiceId),
    guid: guid(wire.serverGuidBinary, wire.serverGuid),
    updatedPni: updatedPni(wire.updatedPniBinary, wire.updatedPni),
    story: wire.story ?? false,
  };
}

/** @throws BotError `CONTENT_INVALID` */
export function glanceAtEnvelope(bytes: Uint8Array): Glance {
  return look(decodeProto(signal.Envelope, bytes, 'an envelope'));
}

function look(wire: signal.Envelope): Glance {
  const device = wire.sourceDevice ?? undefined;
  if (device !== undefined && device > 127)
    throw new BotError('CONTENT_INVALID', 'an envelope names no device');
  return {
    type: wire.type ?? 0,
    serverTimestamp: toTime(wire.serverTimestamp ?? wire.clientTimestamp ?? 0),
    source: serviceId(wire.sourceServiceIdBinary, wire.sourceServiceId),
    sourceDevice: device === 0 ? undefined : device,
    content: wire.content === null ? EMPTY : own(wire.content),
  };
}

function serviceId(binary: Uint8Array | null, text: string | null): ServiceId | undefined {
  if (binary !== null && binary.length > 0) return serviceIdFromBytes(binary);
  return text === null || text === '' ? undefined : parseServiceId(text);
}

function guid(binary: Uint8Array | null, text: string | null): string | undefined {
  if (binary !== null && binary.length > 0) return uuidFromBytes(binary);
  if (text === null || text === '') return undefined;
  // It becomes part of a key of the store, so its length is bounded.
  if (text.length > 64) throw new BotError('CONTENT_INVALID', 'an envelope has a guid that is too long');
  return text.toLowerCase();
}

function updatedPni(binary: Uint8Array | null, text: string | null): Pni | undefined {
  if (binary !== null && binary.length > 0) return parsePni(uuidFromBytes(binary));
  return text === null || text === '' ? undefined : parsePni(text);
}
