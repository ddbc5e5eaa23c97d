/** Watches what leaves the sockets of this process, unsealed: which message keys were used, and whether one was used twice. */
import { fromBase64 } from '../../src/bytes.ts';
import { INNER } from '../../src/session/identify.ts';
import type { Response } from '../../src/transport/request.ts';
import { Socket } from '../../src/transport/socket.ts';
import { KeyBook } from './crash-keys.ts';

interface Sent {
  readonly messages: readonly { readonly type: number; readonly content: string }[];
}

const TYPES = new Map([
  [1, INNER.WHISPER],
  [3, INNER.PREKEY],
]);

/** @returns the book, and what ends the watch */
export function watchSentKeys(): { keys: KeyBook; stop: () => void } {
  const keys = new KeyBook();
  const original = Object.getOwnPropertyDescriptor(Socket.prototype, 'request');
  if (original === undefined) throw new Error('a socket has no request');
  const send = original.value as (this: Socket, ...args: Parameters<Socket['request']>) => Promise<Response>;
  const value = function (this: Socket, ...args: Parameters<Socket['request']>): Promise<Response> {
    const [request] = args;
    if (request.verb === 'PUT' && request.path.startsWith('/v1/messages/')) {
      const { messages } = JSON.parse(Buffer.from(request.body ?? []).toString()) as Sent;
      for (const { type, content } of messages) {
        const inner = TYPES.get(type);
        if (inner !== undefined) keys.note(inner, fromBase64(content), request.path);
      }
    }
    return send.apply(this, args);
  };
  Object.defineProperty(Socket.prototype, 'request', { ...original, value });
  const stop = (): void => {
    Object.defineProperty(Socket.prototype, 'request', original);
  };
  return { keys, stop };
}
