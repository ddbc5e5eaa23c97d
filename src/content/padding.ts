/**
 * Padding of a content before it is encrypted (protocol brief, section 5.7).
 */
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';

const BLOCK = 80;
const END = 0x80;

/** Length of a content of `length` bytes once it is padded: the next 80n - 1 that has room for the end mark. */
export function paddedLength(length: number): number {
  return Math.ceil((length + 2) / BLOCK) * BLOCK - 1;
}

/** Layout: content | 0x80 | 0x00 repeated, up to 80n - 1 bytes. */
export function pad(content: Uint8Array): Bytes {
  const padded = new Uint8Array(paddedLength(content.length));
  padded.set(content);
  padded[content.length] = END;
  return padded;
}

/**
 * Removes the padding that follows a decrypted content.
 * Layout: content | 0x80 | 0x00 repeated. Senders fill to 80n - 1 bytes; readers accept any length.
 * @returns a view on the input, not a copy
 * @throws BotError `CONTENT_INVALID` when the last byte that is not zero is not 0x80
 */
export function unpad(padded: Bytes): Bytes {
  let end = padded.length - 1;
  while (end >= 0 && padded[end] === 0) end--;
  if (end < 0 || padded[end] !== END)
    throw new BotError('CONTENT_INVALID', 'the padding of a content is broken');
  return padded.subarray(0, end);
}
