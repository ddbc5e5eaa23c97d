/**
 * Content: the decrypted protobuf as a typed union (protocol brief, sections 6.4 and 6.5). Pure functions.
 *
 * Nothing is lost on the way: kinds without a type of their own are `other` with the whole protobuf, unknown fields
 * included. Service ids are read from the binary field first, from the text field else.
 */
import { parseAci, parseServiceId, serviceIdFromBytes, type Aci, type ServiceId } from '../address.ts';
import { decodeProto, EMPTY, own, toTime, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { signal } from '../proto/messages.js';
import { decodeAppMessage, type Tag } from './app-message.ts';

export type Content =
  | TextContent
  | AppContent
  | { readonly kind: 'null'; readonly unknownVersion: boolean }
  | ReceiptContent
  | TypingContent
  | { readonly kind: 'sync'; readonly sync: Sync }
  | { readonly kind: 'retry'; readonly body: Bytes }
  | { readonly kind: 'keys' }
  | OtherContent;

export interface TextContent {
  readonly kind: 'text';
  readonly text: string;
  /** ms; equals the envelope's. */
  readonly timestamp: number;
  readonly group: { readonly masterKey: Bytes; readonly revision: number } | undefined;
  /** All of it, unknown fields included. */
  readonly message: signal.DataMessage;
}

export interface AppContent {
  readonly kind: 'app';
  readonly tag: Tag;
  readonly payload: Bytes;
}

export interface ReceiptContent {
  readonly kind: 'receipt';
  readonly type: 'delivery' | 'read' | 'viewed';
  /** ms; the messages that are receipted. */
  readonly timestamps: readonly number[];
}

export interface TypingContent {
  readonly kind: 'typing';
  readonly action: 'started' | 'stopped';
  readonly timestamp: number;
  readonly groupId: Bytes | undefined;
}

/** Content that has no type of its own yet. */
export interface OtherContent {
  readonly kind: 'other';
  /**
   * Field of the protobuf that is set: `callMessage`, `dataMessage` (a reaction, a deletion, …), `editMessage`, …;
   * `unknown`.
   */
  readonly name: string;
  readonly content: signal.Content;
}

/** What our own other devices tell us. */
export type Sync =
  | {
      readonly type: 'sent';
      /** Undefined for groups. */
      readonly destination: ServiceId | undefined;
      readonly timestamp: number;
      readonly content: Content;
    }
  | { readonly type: 'contacts'; readonly blob: signal.AttachmentPointer; readonly complete: boolean }
  | { readonly type: 'blocked'; readonly acis: readonly Aci[]; readonly numbers: readonly string[] }
  | {
      readonly type: 'keys';
      readonly accountEntropyPool: string | undefined;
      readonly masterKey: Bytes | undefined;
    }
  | { readonly type: 'other'; readonly message: signal.SyncMessage };

/** The newest `requiredProtocolVersion` whose texts mean what they say (6.4). */
const PROTOCOL_VERSION = 8;
const RECEIPTS: readonly ReceiptContent['type'][] = ['delivery', 'read', 'viewed'];
/** A receipt that names more messages than this is not meant well. */
const MAX_TIMESTAMPS = 10_000;

/**
 * Reads a content, padding already removed.
 * @throws BotError `CONTENT_INVALID`
 */
export function decodeContent(bytes: Uint8Array): Content {
  return typed(decodeProto(signal.Content, bytes, 'a content'));
}

/** The same content with what can accompany another field. */
export interface Parts {
  readonly content: Content;
  /** Sender key distribution message, serialized. */
  readonly distribution: Bytes | undefined;
  /** 32 bytes; the sender's profile key. */
  readonly profileKey: Bytes | undefined;
}

/** @throws BotError `CONTENT_INVALID` */
export function decodeParts(bytes: Uint8Array): Parts {
  const wire = decodeProto(signal.Content, bytes, 'a content');
  const distribution = wire.senderKeyDistributionMessage;
  const profileKey = wire.dataMessage?.profileKey;
  return {
    content: typed(wire),
    distribution: distribution === null || distribution.length === 0 ? undefined : own(distribution),
    profileKey: profileKey?.length === 32 ? own(profileKey) : undefined,
  };
}

function typed(wire: signal.Content): Content {
  if (wire.dataMessage)
    return dataContent(wire.dataMessage) ?? { kind: 'other', name: 'dataMessage', content: wire };
  if (wire.syncMessage) return { kind: 'sync', sync: syncContent(wire.syncMessage) };
  if (wire.nullMessage) return nullContent(wire.nullMessage.padding ?? EMPTY);
  if (wire.receiptMessage) return receiptContent(wire.receiptMessage);
  if (wire.typingMessage) return typingContent(wire.typingMessage);
  if (wire.decryptionErrorMessage) return { kind: 'retry', body: own(wire.decryptionErrorMessage) };
  const name = (['callMessage', 'storyMessage', 'editMessage'] as const).find(
    (field) => wire[field] !== null,
  );
  if (name !== undefined) return { kind: 'other', name, content: wire };
  if (wire.senderKeyDistributionMessage ?? wire.pniSignatureMessage) return { kind: 'keys' };
  return { kind: 'other', name: 'unknown', content: wire };
}

/** A data message with a body and nothing that changes its meaning is a text; all others stay whole. */
function dataContent(message: signal.DataMessage): TextContent | undefined {
  const special = message.reaction ?? message.delete;
  // Its sender says that who does not know that version would misread it (6.4).
  if ((message.requiredProtocolVersion ?? 0) > PROTOCOL_VERSION) return undefined;
  if (message.body === null || message.body === '' || special !== null) return undefined;
  const group = message.groupV2;
  return {
    kind: 'text',
    text: message.body,
    timestamp: toTime(message.timestamp ?? 0),
    group: group ? { masterKey: own(group.masterKey ?? EMPTY), revision: group.revision ?? 0 } : undefined,
    message,
  };
}

function nullContent(padding: Uint8Array): Content {
  const message = decodeAppMessage(padding);
  if (typeof message === 'string') return { kind: 'null', unknownVersion: message === 'unknown' };
  return { kind: 'app', ...message };
}

function receiptContent(message: signal.ReceiptMessage): Content {
  const type = RECEIPTS[message.type ?? 0];
  if (type === undefined || message.timestamp.length > MAX_TIMESTAMPS) {
    throw new BotError('CONTENT_INVALID', 'a receipt is not well-formed');
  }
  return { kind: 'receipt', type, timestamps: message.timestamp.map(toTime) };
}

function typingContent(message: signal.TypingMessage): Content {
  return {
    kind: 'typing',
    action: message.action === 1 ? 'stopped' : 'started',
    timestamp: toTime(message.timestamp ?? 0),
    groupId: message.groupId === null ? undefined : own(message.groupId),
  };
}

function syncContent(message: signal.SyncMessage): Sync {
  if (message.sent?.message) {
    const { sent } = message;
    return {
      type: 'sent',
      destination: destinationOf(sent),
      timestamp: toTime(sent.timestamp ?? 0),
      content: typed(signal.Content.create({ dataMessage: sent.message })),
    };
  }
  if (message.contacts?.blob) {
    return { type: 'contacts', blob: message.contacts.blob, complete: message.contacts.complete ?? false };
  }
  if (message.blocked) {
    const { acis, acisBinary, numbers } = message.blocked;
    const binary = acisBinary.map((bytes) => serviceIdFromBytes(bytes) as Aci);
    return { type: 'blocked', acis: binary.length > 0 ? binary : acis.map(parseAci), numbers };
  }
  if (message.keys) {
    const { accountEntropyPool, master } = message.keys;
    return {
      type: 'keys',
      accountEntropyPool: accountEntropyPool ?? undefined,
      masterKey: master ? own(master) : undefined,
    };
  }
  return { type: 'other', message };
}

function destinationOf(sent: signal.SyncMessage.Sent): ServiceId | undefined {
  const binary = sent.destinationServiceIdBinary;
  if (binary !== null && binary.length > 0) return serviceIdFromBytes(binary);
  const text = sent.destinationServiceId;
  return text === null || text === '' ? undefined : parseServiceId(text);
}
