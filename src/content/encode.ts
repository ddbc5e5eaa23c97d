/**
 * Contents that we write (protocol brief, sections 6.4 and 6.5). Ids are written binary and as text, since the peer's age
 * is unknown. All return a content that is not padded.
 */
import { serviceIdToBytes, type ServiceId } from '../address.ts';
import { decodeProto, fromUtf8, own, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { signal } from '../proto/messages.js';
import { checkPayload, encodeAppMessage, type Tag } from './app-message.ts';

/** Longest body that official apps show whole (6.4); longer texts would travel as attachments. */
const MAX_TEXT_BYTES = 2048;

function encode(content: signal.Content.$Shape): Bytes {
  return own(signal.Content.encode(content).finish());
}

/**
 * @param timestamp ms; the one of the envelope
 * @param profileKey ours, 32 bytes: lets the recipient answer under sealed sender
 * @throws BotError `PAYLOAD_TOO_LARGE` above 2,048 bytes of UTF-8
 */
export function encodeText(text: string, timestamp: number, profileKey?: Bytes): Bytes {
  const length = fromUtf8(text).length;
  if (length > MAX_TEXT_BYTES) {
    throw new BotError(
      'PAYLOAD_TOO_LARGE',
      `the text has ${String(length)} bytes; at most ${String(MAX_TEXT_BYTES)} fit`,
      {
        next: 'Send it in several texts: a long one would have to be an attachment, which is not built. To a program, an app message (--tag) takes more.',
      },
    );
  }
  return encode({ dataMessage: { body: text, timestamp, ...(profileKey ? { profileKey } : {}) } });
}

/** @throws BotError `PAYLOAD_TOO_LARGE` with the figure */
export function encodeApp(tag: Tag, payload: Uint8Array): Bytes {
  checkPayload(tag, payload);
  return encode({ nullMessage: { padding: encodeAppMessage(tag, payload) } });
}

export function encodeNull(padding: Uint8Array): Bytes {
  return encode({ nullMessage: { padding } });
}

/** @param timestamps ms; the messages that have arrived */
export function encodeDeliveryReceipt(timestamps: readonly number[]): Bytes {
  return encode({ receiptMessage: { type: 0, timestamp: [...timestamps] } });
}

/** What a linked device can ask its primary one for, as the wire numbers it. */
const SYNC_REQUESTS = { contacts: 1, blocked: 3, configuration: 4, keys: 5 } as const;

/** A request to the primary device. */
export function encodeSyncRequest(what: keyof typeof SYNC_REQUESTS): Bytes {
  return encode({ syncMessage: { request: { type: SYNC_REQUESTS[what] } } });
}

/**
 * The transcript that tells our other devices what we sent.
 * @param content what was sent; only its data message goes into the transcript
 * @returns undefined when there is nothing that other devices would show
 */
export function encodeTranscript(
  content: Uint8Array,
  destination: ServiceId,
  timestamp: number,
  sealed: boolean,
): Bytes | undefined {
  const { dataMessage } = decodeProto(signal.Content, content, 'our own content');
  if (!dataMessage) return undefined;
  const binary = serviceIdToBytes(destination);
  const ids = { destinationServiceId: destination };
  return encode({
    syncMessage: {
      sent: {
        ...ids,
        destinationServiceIdBinary: binary,
        timestamp,
        message: dataMessage,
        unidentifiedStatus: [{ unidentified: sealed, ...ids, destinationServiceIdBinary: binary }],
      },
    },
  });
}
