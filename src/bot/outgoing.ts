/**
 * Outgoing: what `Bot.send` takes, as the content of an outbox row.
 */
import { parseTag } from '../content/app-message.ts';
import { encodeApp, encodeText } from '../content/encode.ts';
import { BotError } from '../errors.ts';
import { VERIFY_TAG } from '../session/carrier.ts';
import type { NewRow } from '../store/outbox-row.ts';
import type { Account } from '../store/rows.ts';
import { profileKeyOf } from './parts.ts';

/** All that a handler can send (`context.ts`), and the same with its kind. */
export type Outgoing =
  | string
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind?: 'app'; readonly tag: string; readonly payload: Uint8Array };

/**
 * @throws BotError `CONTENT_INVALID` when the tag is none, `PAYLOAD_TOO_LARGE`, `PERMISSION_NEEDED` for verification frames,
 *   which pass where other messages are held; `USAGE` for what is no message
 */
export function encodeOutgoing(
  message: Outgoing,
  timestamp: number,
  account: Account,
): Pick<NewRow, 'kind' | 'tag' | 'content'> {
  const text = textOf(message);
  if (text !== undefined)
    return { kind: 'text', content: encodeText(text, timestamp, profileKeyOf(account)) };
  if (!isApp(message)) throw new BotError('USAGE', 'a message is a text, or a tag and a payload of bytes');
  const tag = parseTag(message.tag);
  if (tag === VERIFY_TAG)
    throw new BotError('PERMISSION_NEEDED', 'verification frames are sent by the plugin of the run', {
      next: 'Run the bot with --plugin verify, then: countersign verify start CONTACT',
    });
  return { kind: 'app', tag, content: encodeApp(tag, message.payload) };
}

function textOf(message: Outgoing): string | undefined {
  const { text } = typeof message === 'string' ? { text: message } : fieldsOf(message);
  return typeof text === 'string' ? text : undefined;
}

function isApp(message: Outgoing): message is Extract<Outgoing, { readonly tag: string }> {
  const { tag, payload } = fieldsOf(message);
  return typeof tag === 'string' && payload instanceof Uint8Array;
}

/** Programs in JavaScript are not held to the type. */
function fieldsOf(message: unknown): Partial<Record<'text' | 'tag' | 'payload', unknown>> {
  return typeof message === 'object' && message !== null ? message : {};
}
