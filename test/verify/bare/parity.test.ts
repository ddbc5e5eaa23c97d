/**
 * The seed's page, point by point (verification brief, section 16), on two peers over a bare transport. What it does in a
 * browser is in `examples.test.ts`; points that are all about one part have their tests there, and are named here.
 */
import { PreKeySignalMessage, SignalMessage } from '@signalapp/libsignal-client';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encodeFrame, type FrameType } from '../../../plugins/verify/messages/frame.ts';
import { fromHex } from '../../../src/bytes.ts';
import { codes, peers, play, spoken, talk } from './sides.ts';
import { wire, type Passing, type Wire } from './wires.ts';

const FIVE: readonly FrameType[] = ['offer', 'reply', 'proof', 'accept', 'done'];
const vectors = new URL('../../vectors/spake2-derived-vectors.json', import.meta.url);

function runOf({ passed }: Wire): Passing[] {
  return passed.filter(({ type }) => type !== undefined);
}

/** Both sides with the right code, and somebody in between. */
async function meddle(middle: (passing: Passing) => readonly Uint8Array[]): Promise<(string | undefined)[]> {
  const { create, code } = spoken();
  return codes(await play({ create }, { code }, { wire: wire(middle) }));
}

describe('what the seed does', () => {
  it('is done: two peers, a code, and messages both ways', async () => {
    const { create, code } = spoken();
    const [left, right] = peers(await play({ create }, { code }));
    expect(await talk(left, right)).toEqual([
      ['r one', 'r ', 'r three ✓'],
      ['l one', 'l ', 'l three ✓'],
    ]);
  });

  it('is done with its own SPAKE2 too, the symmetric one, where both choose it', async () => {
    const code = 'correct horse battery';
    const joined = wire();
    const outcomes = await play({ code, suite: 2 }, { code, suite: 2 }, { wire: joined });
    expect(codes(outcomes)).toEqual([undefined, undefined]);
    const types = runOf(joined).map(({ type }) => type);
    expect(types.slice(-3)).toEqual(['proof', 'accept', 'done']);
    expect(types.slice(0, -3).sort()).toEqual(['confirm', 'confirm', 'hello', 'hello']);
    // Who opens the session is found by comparing shares, as the seed does.
    const hellos = runOf(joined).filter(({ type }) => type === 'hello');
    const [smaller] = hellos.sort((one, other) => Buffer.compare(one.bytes, other.bytes));
    expect(runOf(joined).find(({ type }) => type === 'proof')?.from).toBe(smaller?.from);
  });
});

describe('what is better than in the seed', () => {
  it('four messages and an acknowledgement, three of them after the code is typed', async () => {
    const { create, code } = spoken();
    const joined = wire();
    await play({ create }, { code }, { wire: joined });
    expect(runOf(joined).map(({ type }) => type)).toEqual(FIVE);
    expect(runOf(joined).map(({ from }) => from)).toEqual(['left', 'right', 'left', 'right', 'left']);
  });

  it('nothing is sealed before the other side has confirmed', async () => {
    const joined = wire();
    await play({ create: spoken().create }, { code: spoken().code }, { wire: joined });
    expect(runOf(joined).map(({ type }) => type)).toEqual(['offer', 'reply', 'abort']);
  });

  it.each(['offer', 'reply', 'proof', 'accept'] as const)(
    'a bit that is changed in %s leaves no trust behind',
    async (type) => {
      const ends = await meddle(({ type: passing, bytes }) => {
        if (passing !== type) return [bytes];
        const changed = new Uint8Array(bytes);
        const last = changed.length - 1;
        changed[last] = (changed[last] ?? 0) ^ 1;
        return [changed];
      });
      expect(ends[0]).toBe('CODE_REJECTED');
      if (type !== 'accept') expect(ends[1]).toBe('CODE_REJECTED');
    },
  );

  it('a terms field that is changed is noticed, though no share is', async () => {
    const ends = await meddle(({ type, bytes }) => {
      const frame = decodeFrame(bytes);
      if (type !== 'offer' || frame?.body.type !== 'offer') return [bytes];
      return [encodeFrame({ ...frame, body: { ...frame.body, expiresAt: frame.body.expiresAt + 1 } })];
    });
    expect(ends).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
  });

  it('points that are none are refused', async () => {
    const { refuse } = JSON.parse(readFileSync(vectors, 'utf8')) as {
      refuse: { p256: { encoding: string }[] };
    };
    const shares = refuse.p256.map(({ encoding }) => fromHex(encoding)).filter(({ length }) => length === 65);
    expect(shares.length).toBeGreaterThan(3);
    for (const share of shares) {
      const ends = await meddle(({ type, bytes }) => {
        const frame = decodeFrame(bytes);
        if (type !== 'offer' || frame?.body.type !== 'offer') return [bytes];
        return [encodeFrame({ ...frame, body: { ...frame.body, share } })];
      });
      expect(ends).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
    }
  });

  it("one's own messages are not taken for the other side's", async () => {
    let proof: Uint8Array | undefined;
    const reflected = await meddle(({ type, bytes }) => {
      if (type === 'proof') proof = bytes;
      const sealed = proof && decodeFrame(proof)?.body;
      if (type !== 'accept' || sealed?.type !== 'proof') return [bytes];
      const frame = decodeFrame(bytes);
      return frame ? [encodeFrame({ ...frame, body: { type: 'accept', sealed: sealed.sealed } })] : [bytes];
    });
    expect(reflected[0]).toBe('CODE_REJECTED');
  });

  it('the key that is trusted is the one that the other side has', async () => {
    const { create, code } = spoken();
    const [left, right] = peers(await play({ create }, { code }));
    const again = spoken();
    const [other] = peers(await play({ create: again.create }, { code: again.code }));
    expect(left.identityKey).not.toEqual(right.identityKey);
    expect(other.identityKey).not.toEqual(left.identityKey);
    expect(left.check).toBe(right.check);
  });

  it('the session is post-quantum in its start and in its ratchet', async () => {
    const joined = wire();
    const { create, code } = spoken();
    const [left, right] = peers(await play({ create }, { code }, { wire: joined }));
    await talk(left, right);
    const done = runOf(joined).find(({ type }) => type === 'done');
    const body = done && decodeFrame(done.bytes)?.body;
    if (body?.type !== 'done') throw new Error('no DONE has passed');
    expect(body.kind).toBe('message');
    expect(SignalMessage.deserialize(body.proof).pqRatchet().length).toBeGreaterThan(0);
    expect(() => PreKeySignalMessage.deserialize(body.proof)).toThrow();
  });
});
