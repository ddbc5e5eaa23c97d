/**
 * Contents: what the devices of a row's recipient get, be it for them or not.
 */
import type { ServiceId } from '../address.ts';
import { fillerPadding } from '../content/app-message.ts';
import { encodeNull, encodeTranscript } from '../content/encode.ts';
import { paddedLength } from '../content/padding.ts';
import type { Random } from '../platform.ts';
import type { OutboxRow } from '../store/rows.ts';

/** What a null message adds to its padding, at the most. */
const NULL_BYTES = 8;

/** What goes to our own account as a text is a transcript of itself: "note to self" is only that. */
export function contentOf(
  { kind, recipient, content, timestamp }: OutboxRow,
  ownAci: ServiceId,
): OutboxRow['content'] {
  if ((kind !== 'text' && kind !== 'resend') || recipient !== ownAci) return content;
  return encodeTranscript(content, recipient, timestamp, false) ?? content;
}

/** A filler as long as a content of `length` bytes that other devices get, once both are padded. */
export function fillerFor(length: number, random: Random): OutboxRow['content'] {
  const size = Math.max(1, Math.min(length, paddedLength(length) - 2) - NULL_BYTES);
  return encodeNull(fillerPadding(size, random));
}
