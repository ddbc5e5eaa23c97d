/** Bare runs over a wire in memory: roles, codes, suites, profiles, and ends that are not good. */
import { describe, expect, it } from 'vitest';
import { verifyOver, type VerifyOptions } from '../../../plugins/verify/bare/verify.ts';
import { MemoryGuesses } from '../../../plugins/verify/bare/ledger.ts';
import { decodeFrame } from '../../../plugins/verify/messages/frame.ts';
import { ManualClock, settle } from '../../../src/testing.ts';
import { random } from '../support/party.ts';
import { codes, inPage, nodeSide, peers, play, spoken, talk } from './sides.ts';
import { wire, type Passing } from './wires.ts';

const AGREED = 'correct horse battery';
const REJECTED = 'The code was mistyped or somebody interfered. Ask for a new code.';
const HEARD = [
  ['r one', 'r ', 'r three ✓'],
  ['l one', 'l ', 'l three ✓'],
];

describe('two Node ends', () => {
  it.each([1, 2] as const)('verify each other and write both ways in profile %d', async (profile) => {
    const { create, code } = spoken();
    const joined = wire();
    const [left, right] = peers(await play({ create, profile }, { code }, { wire: joined }));
    expect(left.check).toMatch(/^\d{6}$/);
    expect(left.check).toBe(right.check);
    expect(left.identityKey).not.toEqual(right.identityKey);
    expect(left.aci).not.toBe(right.aci);
    expect(await talk(left, right)).toEqual(HEARD);
    expect([joined.left.isClosed, joined.right.isClosed]).toEqual([true, true]);
    const lengths = joined.passed.slice(0, 5).map(({ bytes }) => bytes.length);
    expect(lengths.reduce((sum, length) => sum + length)).toBeLessThan(5_000);
  });

  it.each([1, 2] as const)('write at the same time, as much as they like, in profile %d', async (profile) => {
    const { create, code } = spoken();
    const both = peers(await play({ create, profile }, { code }));
    const texts = Array.from({ length: 40 }, (_, i) => String(i));
    const heard = await Promise.all(
      both.map(async (peer) => {
        const speaking = Promise.all(texts.map((text) => peer.send(text))).then(() => peer.end());
        const found: string[] = [];
        for await (const text of peer.texts()) found.push(text);
        await speaking;
        return found;
      }),
    );
    expect(heard).toEqual([texts, texts]);
  });

  it('take words, and a code however it is typed', async () => {
    const words = spoken(2);
    expect(codes(await play({ create: words.create }, { code: words.code.toUpperCase() }))).toEqual([
      undefined,
      undefined,
    ]);
    const digits = spoken();
    const typed = digits.code.replaceAll(' ', '-');
    expect(codes(await play({ create: digits.create }, { code: typed, side: 'dials' }))).toEqual([
      undefined,
      undefined,
    ]);
  });

  it.each(['dials', 'listens'] as const)('with an agreed code: who dials is A (left %s)', async (side) => {
    const other = side === 'dials' ? 'listens' : 'dials';
    const joined = wire();
    const outcomes = await play({ code: AGREED, side }, { code: AGREED, side: other }, { wire: joined });
    expect(await talk(...peers(outcomes))).toEqual(HEARD);
    const offers = joined.passed.filter(({ type }) => type === 'offer');
    expect(offers.map(({ from }) => from)).toEqual([side === 'dials' ? 'left' : 'right']);
    expect(decodeFrame(offers[0]?.bytes ?? new Uint8Array(0))?.body).toMatchObject({ format: 3, mode: 2 });
  });

  it('with an agreed code over a pipe: both offer, and one of the two runs stays', async () => {
    for (let i = 0; i < 4; i++) {
      expect(await talk(...peers(await play({ code: AGREED }, { code: AGREED })))).toEqual(HEARD);
    }
  });

  it('that both make a code keep one, and whoever can be asked types the other', async () => {
    const [one, other] = [spoken(), spoken()];
    const told =
      (code: string): VerifyOptions['code'] =>
      () =>
        Promise.resolve(code);
    const outcomes = await play(
      { create: one.create, code: told(other.code) as () => Promise<string> },
      { create: other.create, code: told(one.code) as () => Promise<string> },
    );
    expect(await talk(...peers(outcomes))).toEqual(HEARD);
  });

  it('that both make a code and cannot be asked end: one is told to use the other code', async () => {
    const outcomes = await play({ create: spoken().create }, { create: spoken().create });
    expect(codes(outcomes).sort()).toEqual(['PEER_GONE', 'VERIFY_SUPERSEDED']);
  });

  it.each([1, 2] as const)('in suite 2, profile %d, have no check digits', async (profile) => {
    const made = spoken();
    const outcomes = await play(
      { create: made.create, suite: 2, profile },
      { code: made.code, suite: 2, profile },
    );
    const [left, right] = peers(outcomes);
    expect([left.check, right.check]).toEqual([undefined, undefined]);
    expect(await talk(left, right)).toEqual(HEARD);
  });

  it('do not meet when only one chose suite 2', async () => {
    const outcomes = await play({ code: AGREED, suite: 2 }, { code: AGREED });
    expect(codes(outcomes)).toContain('VERIFY_UNSUPPORTED');
    expect(outcomes.every((outcome) => outcome instanceof Error)).toBe(true);
  });

  it('bind a channel that both were told, and fail on different ones', async () => {
    const channel = Uint8Array.of(1, 2, 3);
    const bound = spoken();
    expect(codes(await play({ create: bound.create, channel }, { code: bound.code, channel }))).toEqual([
      undefined,
      undefined,
    ]);
    const loose = spoken();
    expect(codes(await play({ create: loose.create, channel }, { code: loose.code }))).toEqual([
      'CODE_REJECTED',
      'CODE_REJECTED',
    ]);
  });
});

describe('a page at one end', () => {
  it.each(['page', 'node'] as const)(
    'verifies, and texts go both ways: the %s makes the code',
    async (who) => {
      const { create, code } = spoken();
      const made: VerifyOptions = who === 'node' ? { create, profile: 1 } : { create };
      const sides = {
        left: who === 'page' ? inPage() : nodeSide(),
        right: who === 'page' ? nodeSide() : inPage(),
      };
      const [left, right] = peers(await play(made, { code }, sides));
      expect(left.check).toBe(right.check);
      expect(await talk(left, right)).toEqual(HEARD);
    },
  );

  it('or at both', async () => {
    const { create, code } = spoken();
    expect(
      await talk(...peers(await play({ create }, { code }, { left: inPage(), right: inPage() }))),
    ).toEqual(HEARD);
  });

  it('refuses a run that wants a ratchet session', async () => {
    const { create, code } = spoken();
    expect(codes(await play({ create }, { code }, { right: inPage() }))).toEqual([
      'VERIFY_UNSUPPORTED',
      'VERIFY_UNSUPPORTED',
    ]);
  });
});

describe('a code that is not right', () => {
  it.each([1, 2] as const)('ends both sides with the same words in suite %d (V-26)', async (suite) => {
    const right = suite === 1 ? spoken().code : 'another horse battery';
    const made: VerifyOptions = suite === 1 ? { create: spoken().create } : { code: AGREED, suite };
    const outcomes = await play(made, { code: right, suite });
    expect(codes(outcomes)).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
    expect(outcomes.map((outcome) => (outcome as Error).message)).toEqual([REJECTED, REJECTED]);
  });

  it('is found mistyped before a guess is spent on it', async () => {
    const { create, code } = spoken();
    const wrong = code.slice(0, -1) + String((Number(code.at(-1)) + 1) % 10);
    const guesses = new MemoryGuesses(random);
    const right = nodeSide(undefined, guesses);
    const joined = wire();
    const outcomes = await play({ create }, { code: wrong }, { right, wire: joined });
    expect(codes(outcomes)).toEqual(['PEER_GONE', 'CODE_MISTYPED']);
    expect(joined.passed.map(({ type }) => type)).not.toContain('reply');
    expect(guesses.counters.charges).toEqual([]);
  });

  it('is asked for again where a person can be asked', async () => {
    const { create, code } = spoken();
    const typed = ['nonsense', '1234567', code];
    const asked: boolean[] = [];
    const read = (again: boolean): Promise<string> => {
      asked.push(again);
      return Promise.resolve(typed.shift() ?? '');
    };
    expect(codes(await play({ create }, { code: read }))).toEqual([undefined, undefined]);
    expect(asked).toEqual([false, true, true]);
  });

  it('counts for all runs of mode 2 together: the third locks (V-23), and the second warns (V-26)', async () => {
    const guesses = new MemoryGuesses(random);
    const ends: (string | undefined)[] = [];
    const messages: string[] = [];
    for (let i = 0; i < 4; i++) {
      const [, right] = await play(
        { create: spoken().create },
        { code: spoken().code },
        {
          right: nodeSide(undefined, guesses),
        },
      );
      ends.push(...codes([right]));
      messages.push((right as Error).message);
    }
    expect(ends).toEqual(['CODE_REJECTED', 'CODE_REJECTED', 'CODE_REJECTED', 'VERIFY_LOCKED']);
    expect(messages[0]).toBe(REJECTED);
    expect(messages[1]).toContain('Repeated failures can be an attack.');
  });

  it('is not taken a second time (V-21), unless it was never spent', async () => {
    const guesses = new MemoryGuesses(random);
    const side = (): ReturnType<typeof nodeSide> => nodeSide(undefined, guesses);
    const { create, code } = spoken();
    const before = wire(({ type, bytes, cut }) => {
      if (type === 'offer') cut();
      return [bytes];
    });
    expect(codes(await play({ create }, { code }, { wire: before, right: side() }))).toEqual([
      'PEER_GONE',
      'PEER_GONE',
    ]);
    const held = wire(({ type, bytes, cut }) => {
      if (type === 'reply') cut();
      return [bytes];
    });
    expect(codes(await play({ create }, { code }, { wire: held, right: side() }))).toEqual([
      'PEER_GONE',
      'PEER_GONE',
    ]);
    expect(codes(await play({ create }, { code }, { right: side() }))).toEqual([
      'PEER_GONE',
      'CODE_REJECTED',
    ]);
  });

  it('is worth nothing once it has run out', async () => {
    const clock = new ManualClock();
    const silent = wire(({ type, bytes }) => (type === 'reply' ? [] : [bytes]));
    const { create, code } = spoken();
    const playing = play(
      { create },
      { code },
      { wire: silent, left: nodeSide(clock), right: nodeSide(clock) },
    );
    for (let i = 0; i < 200; i++) await settle();
    await clock.advance(700_000);
    expect(codes(await playing)).toEqual(['CODE_EXPIRED', 'CODE_EXPIRED']);
  });
});

describe('clocks that differ by more than a code lives', () => {
  it('are named, and nobody waits', async () => {
    const { create, code } = spoken();
    const outcomes = await play({ create }, { code }, { left: nodeSide(new ManualClock()) });
    expect(codes(outcomes)).toEqual(['PEER_GONE', 'CODE_EXPIRED']);
    expect((outcomes[1] as Error).message).toContain('are both clocks right?');
  });
});

describe('a connection that ends', () => {
  it.each(['offer', 'reply', 'proof', 'accept'] as const)(
    'before %s leaves both without trust, but B at ACCEPT',
    async (type) => {
      const { create, code } = spoken();
      const cutting = wire((passing: Passing) => {
        if (passing.type !== type) return [passing.bytes];
        passing.cut();
        return [];
      });
      const outcomes = await play({ create }, { code }, { wire: cutting });
      const [left, right] = codes(outcomes);
      expect(left).toBe('PEER_GONE');
      if (type !== 'accept') expect(right).toBe('PEER_GONE');
      else expect(outcomes[1]).toMatchObject({ isAcknowledged: false });
    },
  );

  it('before DONE leaves B with a peer that it trusts and cannot write to', async () => {
    const { create, code } = spoken();
    const cutting = wire(({ type, bytes, cut }) => {
      if (type !== 'done') return [bytes];
      cut();
      return [];
    });
    const [, right] = peers(await play({ create }, { code }, { wire: cutting }));
    expect(right.isAcknowledged).toBe(false);
    await expect(right.send('hello')).rejects.toThrow('never answered');
    expect((await right.texts().next()).done).toBe(true);
  });

  it('does not come when B waits for a DONE that is never sent: a minute is enough', async () => {
    const clock = new ManualClock();
    const { create, code } = spoken();
    const holding = wire(({ type, bytes }) => (type === 'done' ? [] : [bytes]));
    const playing = play(
      { create },
      { code },
      { wire: holding, left: nodeSide(clock), right: nodeSide(clock) },
    );
    while (!holding.passed.some(({ type }) => type === 'done')) await settle();
    await clock.advance(61_000);
    const [left, right] = peers(await playing);
    expect([left.isAcknowledged, right.isAcknowledged]).toEqual([true, false]);
  });

  it('comes with an abort of this side, and its reason', async () => {
    const stop = new AbortController();
    const stopping = wire(({ type, bytes }) => {
      if (type === 'reply') stop.abort(new Error('enough'));
      return [bytes];
    });
    const { create, code } = spoken();
    const [left, right] = await play({ create, signal: stop.signal }, { code }, { wire: stopping });
    expect((left as Error).message).toBe('enough');
    expect(right).toBeInstanceOf(Error);
    expect(stopping.left.isClosed).toBe(true);
  });
});

describe('a peer that does not keep to the protocol', () => {
  it('ends at once when it speaks something else', async () => {
    const web = new TextEncoder().encode('GET / HTTP/1.1');
    const speaking = wire(({ from, bytes }) => (from === 'right' ? [web] : [bytes]));
    const outcomes = await play(
      { create: spoken().create },
      { code: AGREED, side: 'dials' },
      { wire: speaking },
    );
    expect(codes(outcomes)[0]).toBe('CONTENT_INVALID');
    expect(outcomes[1]).toBeInstanceOf(Error);
  });

  it('ends when it floods, and no code is stretched for it', async () => {
    const flooding = wire(({ bytes }) => Array.from({ length: 200 }, () => bytes));
    const offered = spoken();
    let asked = 0;
    const read = (): Promise<string> => {
      asked++;
      return new Promise(() => undefined);
    };
    const outcomes = await play({ create: offered.create }, { code: read }, { wire: flooding });
    expect(codes(outcomes)).toEqual(['PEER_GONE', 'CONTENT_INVALID']);
    expect(asked).toBe(1);
  });

  it('is understood when frames come in pieces, or several at once', async () => {
    const { create, code } = spoken();
    const pieces = wire(({ bytes }) => Array.from(bytes, (byte) => Uint8Array.of(byte)));
    expect(await talk(...peers(await play({ create }, { code }, { wire: pieces })))).toEqual(HEARD);
  });

  it('is given its answer again when it repeats a frame', async () => {
    const { create, code } = spoken();
    const twice = wire(({ bytes, type }) =>
      type === 'done' || type === undefined ? [bytes] : [bytes, bytes],
    );
    expect(await talk(...peers(await play({ create }, { code }, { wire: twice })))).toEqual(HEARD);
  });
});

describe('options that cannot be', () => {
  const code = AGREED;
  it.each<[string, object]>([
    ['no code', {}],
    ['a code that is made here and given here', { create: spoken().create, code }],
    ['profile 3', { code, profile: 3 }],
    ['suite 9', { code, suite: 9 }],
    ['a lifetime of nothing', { code, lifetimeMs: 0 }],
    ['a lifetime that is no number', { code, lifetimeMs: Number.NaN }],
    ['a lifetime of two days', { code, lifetimeMs: 172_800_000 }],
    ['a side that is none', { code, side: 'left' }],
    ['a channel of 8,001 bytes', { code, channel: new Uint8Array(8_001) }],
  ])('are USAGE, in Node and in a page: %s', async (_, options) => {
    for (const side of [nodeSide(), inPage()]) {
      const { left } = wire();
      await expect(verifyOver(left, side, options)).rejects.toMatchObject({ code: 'USAGE' });
    }
  });

  it('are USAGE in a page with profile 2, which needs libsignal', async () => {
    const { left } = wire();
    const running = verifyOver(left, inPage(), { code, profile: 2 });
    await expect(running).rejects.toMatchObject({ code: 'USAGE' });
  });
});
