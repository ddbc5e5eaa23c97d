/**
 * Inbox rows: what is kept of an opened envelope, and the marks by which it is known when it comes again.
 */
import { hash } from 'node:crypto';
import type { ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import type { Content } from '../content/content.ts';
import type { Envelope } from '../content/envelope.ts';
import type { Identified } from '../session/identify.ts';
import type { InboxRow } from '../store/rows.ts';

export interface InboxSource {
  readonly serviceId: ServiceId;
  readonly deviceId: number;
}

export function inboxRow(
  source: InboxSource,
  envelope: Envelope,
  how: Pick<Identified, 'sealed' | 'to'>,
  { content, identityKey }: { readonly content: Bytes; readonly identityKey: Bytes | undefined },
  now: number,
): InboxRow {
  return {
    source: source.serviceId,
    sourceDevice: source.deviceId,
    timestamp: envelope.timestamp,
    serverTimestamp: envelope.serverTimestamp,
    sealed: how.sealed,
    toPni: how.to === 'pni',
    content,
    attempts: 0,
    retryAt: 0,
    error: '',
    plugin: '',
    receivedAt: now,
    ...(identityKey === undefined ? {} : { identityKey }),
  };
}

/**
 * Names a message in the words of its sender. One who has not heard the server's answer sends it again, encrypted anew, in
 * another envelope; with the content in the name nothing else can be taken for it. Receipts and typing repeat harmlessly.
 */
export function nameOf(
  { serviceId, deviceId }: InboxSource,
  { timestamp }: Envelope,
  bytes: InboxRow['content'],
  { kind }: Content,
): string | undefined {
  if (kind === 'receipt' || kind === 'typing') return undefined;
  return hashOf(`${serviceId}.${String(deviceId)}.${String(timestamp)}.`, bytes);
}

/** The server's guid, else a hash over what makes an envelope the same one (6.2). */
export function markOf(envelope: Envelope): string {
  if (envelope.guid !== undefined) return envelope.guid;
  const { source = '', sourceDevice = 0, timestamp, content } = envelope;
  return hashOf(`${source}.${String(sourceDevice)}.${String(timestamp)}.`, content);
}

/** SHA-256 of both, one behind the other, as base64url. @param ascii nothing beyond U+007F */
function hashOf(ascii: string, bytes: Uint8Array): string {
  const whole = Buffer.allocUnsafe(ascii.length + bytes.length);
  whole.write(ascii, 'latin1');
  whole.set(bytes, ascii.length);
  return hash('sha256', whole, 'base64url');
}
