import { describe, expect, it } from 'vitest';
import { encodeOutgoing, type Outgoing } from '../../src/bot/outgoing.ts';
import { decodeContent } from '../../src/content/content.ts';
import type { Outgoing as OfHandlers } from '../../src/index.ts';
import { makePeer } from '../support/peer.ts';

const { account } = await makePeer();
const contentOf = (message: Outgoing): unknown => decodeContent(encodeOutgoing(message, 5, account).content);

describe('what Bot.send takes', () => {
  it('is all that a handler can send, and the same with its kind', () => {
    const text: OfHandlers = 'hello';
    expect(contentOf(text)).toMatchObject({ kind: 'text', text: 'hello' });
    expect(contentOf({ kind: 'text', text: 'hello' })).toMatchObject({ kind: 'text', text: 'hello' });
    const app: OfHandlers = { tag: 'example.org/chess/1', payload: new Uint8Array([7]) };
    expect(contentOf(app)).toEqual({ kind: 'app', ...app });
    expect(contentOf({ kind: 'app', ...app })).toEqual({ kind: 'app', ...app });
  });

  it('is no verification frame: those pass where other messages are held', () => {
    const frame = { tag: 'countersign.verify/1', payload: new Uint8Array(1) };
    expect(() => contentOf(frame)).toThrow(expect.objectContaining({ code: 'PERMISSION_NEEDED' }));
  });

  it('is nothing else, whatever a program in JavaScript gives', () => {
    for (const message of [{}, 5, { kind: 'text' }, { tag: 'example.org/chess/1' }, { text: 7 }])
      expect(() => contentOf(message as never)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
