/**
 * Outgoing: what `Bot.send` takes, as the content of an outbox row.
 */
import { parseTag } from '../content/app-message.ts';
import { encodeApp, encodeText } from '../content/encode.ts';
import type { NewRow } from '../store/outbox-row.ts';
import type { Account } from '../store/tables.ts';
import { profileKeyOf } from './parts.ts';

export type Outgoing =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'app'; readonly tag: string; readonly payload: Uint8Array };

/** @throws BotError `CONTENT_INVALID` when the tag is none, `PAYLOAD_TOO_LARGE` */
export function encodeOutgoing(
  message: Outgoing,
  timestamp: number,
  account: Account,
): Pick<NewRow, 'kind' | 'tag' | 'content'> {
  if (message.kind === 'text') {
    return { kind: 'text', content: encodeText(message.text, timestamp, profileKeyOf(account)) };
  }
  const tag = parseTag(message.tag);
  return { kind: 'app', tag, content: encodeApp(tag, message.payload) };
}
