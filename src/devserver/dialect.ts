/**
 * Dialects: what differs between the servers of June 2025, December 2025 and August 2026 (protocol brief, sections 1.8,
 * 2.6, 5.2, 6.1, 6.2 and 12.1), as one table that the rules read, and the envelope as each of them writes it.
 */
import { isPni, serviceIdToBytes, uuidToBytes, type ServiceId } from '../address.ts';
import { fromBigInt, type Bytes } from '../bytes.ts';
import { signal } from '../proto/messages.js';

export type DialectName = 'jun25' | 'dec25' | 'aug26';

export interface Dialect {
  readonly name: DialectName;
  /** Of one device's ciphertext, bytes after base64. */
  readonly maxContent: number;
  /** Status for an empty `messages` list; undefined lets it through to the device check. */
  readonly emptyList: 422 | undefined;
  /** Status when `messages`, or a JSON object that must be there, is missing. */
  readonly missingObject: 422 | 500;
  /** Status of a link request without `pniRegistrationId`. */
  readonly missingPniRegistrationId: 422 | 500;
  /** Status of a registration without `accountAttributes`. */
  readonly missingAttributes: 422 | 500;
  /** Status of a link request without a Basic header. */
  readonly missingBasic: 400 | 500;
  readonly keyIdsChecked: boolean;
  readonly stringIds: boolean;
  readonly binaryIds: boolean;
  /** Capabilities that every new device must declare. */
  readonly required: readonly string[];
  /** A registration must bring an access key unless anybody may send sealed. */
  readonly accessKeyRequired: boolean;
  /** Capabilities that a new device must declare when all devices of the account have them. */
  readonly noDowngrade: readonly string[];
  /** What a status other than 2xx for a delivery does to its socket. */
  readonly refused: 'repeated' | 'silent';
  /** When an unanswered delivery is sent again on the same socket, ms. */
  readonly resendMs: number | undefined;
  /** A keepalive in the moment of opening is answered by close 1000. */
  readonly earlyKeepaliveCloses: boolean;
  /** The socket that replaced another one hears nothing new once the older one has closed. */
  readonly deafAfterReplacing: boolean;
  readonly keyHeader: boolean;
  readonly configPath: '/v1/config' | '/v2/config';
  /** GET /v1/messages is there (12.3). */
  readonly restMessages: boolean;
  readonly createdAt: 'plain' | 'both' | 'sealed';
}

const JUN25: Dialect = {
  name: 'jun25',
  maxContent: 262_144,
  emptyList: undefined,
  missingObject: 500,
  missingPniRegistrationId: 422,
  missingAttributes: 500,
  missingBasic: 500,
  keyIdsChecked: false,
  accessKeyRequired: false,
  stringIds: true,
  binaryIds: false,
  required: [],
  noDowngrade: ['deleteSync', 'ssre2', 'spqr'],
  refused: 'repeated',
  resendMs: 300_000,
  earlyKeepaliveCloses: false,
  deafAfterReplacing: true,
  keyHeader: true,
  configPath: '/v1/config',
  restMessages: true,
  createdAt: 'plain',
};

const DEC25: Dialect = {
  ...JUN25,
  name: 'dec25',
  missingAttributes: 422,
  missingBasic: 400,
  binaryIds: true,
  noDowngrade: [],
  refused: 'silent',
  resendMs: undefined,
  earlyKeepaliveCloses: true,
  configPath: '/v2/config',
  createdAt: 'both',
};

const AUG26: Dialect = {
  ...DEC25,
  name: 'aug26',
  maxContent: 98_304,
  emptyList: 422,
  missingObject: 422,
  missingPniRegistrationId: 500,
  missingAttributes: 500,
  keyIdsChecked: true,
  accessKeyRequired: true,
  stringIds: false,
  required: ['spqr'],
  noDowngrade: ['usernameChangeSyncMessage'],
  deafAfterReplacing: false,
  keyHeader: false,
  restMessages: false,
  createdAt: 'sealed',
};

export const DIALECTS: Readonly<Record<DialectName, Dialect>> = { jun25: JUN25, dec25: DEC25, aug26: AUG26 };

/** One message on its way to one device, before a dialect has written it. */
export interface Mail {
  /** 0, 1, 3, 5, 6 or 8. */
  readonly type: number;
  /** Absent for sealed messages. */
  readonly source: { readonly serviceId: ServiceId; readonly deviceId: number } | undefined;
  readonly destination: ServiceId;
  /** ms, the sender's. */
  readonly clientTimestamp: number;
  /** Empty for receipts. */
  readonly content: Bytes;
  readonly urgent: boolean;
  readonly story: boolean;
  /** For devices that are connected. */
  readonly online: boolean;
  /** The account's new PNI, on the message that announces a number change. */
  readonly updatedPni?: string;
}

const TYPES = new Map<number, signal.Envelope.Type>([
  [1, signal.Envelope.Type.CIPHERTEXT],
  [3, signal.Envelope.Type.PREKEY_BUNDLE],
  [5, signal.Envelope.Type.SERVER_DELIVERY_RECEIPT],
  [6, signal.Envelope.Type.UNIDENTIFIED_SENDER],
  [8, signal.Envelope.Type.PLAINTEXT_CONTENT],
]);

/** Writes the protobuf `Envelope` of 6.1. @param guid UUID text */
export function writeEnvelope(dialect: Dialect, mail: Mail, guid: string, serverTimestamp: number): Bytes {
  const { source, destination, updatedPni } = mail;
  const fields: signal.Envelope.$Properties = {
    type: TYPES.get(mail.type) ?? signal.Envelope.Type.UNKNOWN,
    clientTimestamp: time(mail.clientTimestamp),
    serverTimestamp: time(serverTimestamp),
    urgent: mail.urgent,
  };
  if (mail.content.length > 0) fields.content = mail.content;
  if (source !== undefined) fields.sourceDevice = source.deviceId;
  if (dialect.name === 'jun25' || mail.story) fields.story = mail.story;
  if (dialect.stringIds) {
    fields.serverGuid = guid;
    fields.destinationServiceId = destination;
    if (source !== undefined) fields.sourceServiceId = source.serviceId;
    if (updatedPni !== undefined) fields.updatedPni = updatedPni;
  }
  if (dialect.binaryIds) {
    fields.serverGuidBinary = uuidToBytes(guid);
    fields.destinationServiceIdBinary = serviceIdToBytes(destination);
    if (source !== undefined) fields.sourceServiceIdBinary = serviceIdToBytes(source.serviceId);
    if (updatedPni !== undefined) fields.updatedPniBinary = uuidToBytes(updatedPni);
  }
  return signal.Envelope.encode(fields).finish() as Bytes;
}

function time(ms: number): signal.Envelope['clientTimestamp'] {
  return fromBigInt(BigInt(ms)) as unknown as signal.Envelope['clientTimestamp'];
}

/** Whether a receipt is owed for this mail once its device has taken it (6.1, type 5). */
export function owesReceipt(mail: Mail): boolean {
  if (mail.source === undefined || mail.type === 5) return false;
  return isPni(mail.destination) || mail.source.serviceId !== mail.destination;
}
