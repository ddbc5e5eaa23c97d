/** A message as it waits in the inbox, from a device of somebody else. */
import type { ServiceId } from '../../src/address.ts';
import type { Bytes } from '../../src/bytes.ts';
import { encodeText } from '../../src/content/encode.ts';
import type { InboxRow } from '../../src/store/rows.ts';

export function inboxRow(source: string, content: Bytes): InboxRow {
  return {
    source: source as ServiceId,
    sourceDevice: 1,
    timestamp: 5,
    serverTimestamp: 6,
    sealed: false,
    toPni: false,
    content,
    attempts: 0,
    retryAt: 0,
    error: '',
    plugin: '',
    receivedAt: 7,
  };
}

export function textRow(source: string, text: string): InboxRow {
  return inboxRow(source, encodeText(text, 5));
}
