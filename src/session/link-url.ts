/**
 * Link url: what the QR code says. `sgnl://linkdevice?uuid=ADDRESS&pub_key=KEY&capabilities=`
 *
 * ADDRESS is opaque (base64 with padding from the Java servers, a UUID from the mock), KEY base64 of 33 bytes; both are
 * percent-encoded. An empty list of capabilities means that no message history is offered.
 * Spec: protocol brief, section 2.2.
 */
import { PublicKey } from '@signalapp/libsignal-client';
import { fromBase64, toBase64, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';

export interface LinkTarget {
  readonly address: string;
  /** 33 bytes */
  readonly publicKey: Bytes;
}

const PUBLIC_KEY_LENGTH = 33;

export function formatLinkUrl(target: LinkTarget): string {
  const address = encodeURIComponent(target.address);
  const key = encodeURIComponent(toBase64(target.publicKey));
  return `sgnl://linkdevice?uuid=${address}&pub_key=${key}&capabilities=`;
}

/**
 * Reads both the current form and the older `tsdevice:/?uuid=…&pub_key=…`.
 * @throws BotError `USAGE` when it is not a link of this kind, or its key is none
 */
export function parseLinkUrl(text: string): LinkTarget {
  const query = /^(?:sgnl:\/\/linkdevice\/?|tsdevice:\/{0,3})\?(.*)$/s.exec(text.trim())?.[1];
  if (query === undefined) throw notALink();
  // A bare "+" in the key is meant as such by some senders; in a query it would read as a space.
  const parameters = new URLSearchParams(query.replaceAll('+', '%2B'));
  const address = parameters.get('uuid');
  const key = parameters.get('pub_key');
  if (!address || !key) throw notALink();
  try {
    const publicKey = fromBase64(key);
    if (publicKey.length !== PUBLIC_KEY_LENGTH) throw notALink();
    PublicKey.deserialize(publicKey);
    return { address, publicKey };
  } catch (cause) {
    throw notALink(cause);
  }
}

function notALink(cause?: unknown): BotError {
  const options = {
    next: 'Give the whole link that countersign link shows: sgnl://linkdevice?uuid=…&pub_key=…',
  };
  return new BotError(
    'USAGE',
    'this is not a link code',
    cause === undefined ? options : { ...options, cause },
  );
}
