import { describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { decodeFrame, encodeFrame, type Frame, type FrameOf } from '../../src/rounds/frame.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import type { Codec } from '../../src/router.ts';
import { RoundsTest, type RoundsTestOptions, type Wire } from '../../src/testing/rounds.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { expectDone, phases } from '../support/rounds-ends.ts';

const NONE = new Uint8Array(0);
/** The example sees the built package, whose types are others. */
const coin = coinToss as unknown as Protocol;

function toss(n: number, options: RoundsTestOptions = {}): RoundsTest {
  return new RoundsTest(coin, n, options);
}

const plain: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };
const nothing: Codec<undefined> = { encode: () => NONE, decode: () => undefined };
/** Each whispers its index to every other, and gives what it has heard. */
const whisper: Protocol<undefined, undefined, Uint8Array, Uint8Array> = {
  name: 'test.whisper',
  version: 1,
  rounds: [{ private: true }],
  params: nothing,
  input: nothing,
  state: plain,
  output: plain,
  start: ({ self, present }) => {
    const others = present.filter((index) => index !== self);
    const body = Uint8Array.of(self);
    return { kind: 'next', state: NONE, private: new Map(others.map((to) => [to, body])) };
  },
  step: (_, __, messages) => {
    const heard = [...messages].sort(([a], [b]) => a - b);
    return { kind: 'done', output: Uint8Array.from(heard.flatMap(([, said]) => [...(said.private ?? [])])) };
  },
};

function messageOf({ payload }: Wire): FrameOf<'message'> | undefined {
  const frame = decodeFrame(payload);
  return frame.kind === 'message' ? frame : undefined;
}

describe('a ceremony', () => {
  it.each([1, 2, 3, 5])('of %i parties gives all of them the same output', (n) => {
    const sim = toss(n);
    sim.openAll();
    sim.settle();
    expectDone(sim);
  });

  it('waits for a party whose operator comes later', () => {
    const sim = toss(3);
    sim.open(1);
    sim.open(3);
    sim.settle(60_000);
    expect([1, 3].map((index) => sim.run(index).phase)).toEqual(['gathering', 'gathering']);
    expect(sim.waitingFor(1)).toEqual([2]);
    sim.open(2);
    sim.settle();
    expectDone(sim);
  });

  it.each(Array.from({ length: 25 }, (_, i) => i))(
    'comes to the same end when frames are lost, repeated and mixed up and parties die (%i)',
    (seed) => {
      const sim = toss(4, {
        seed: `storm ${String(seed)}`,
        loss: 0.2,
        twice: 0.2,
        death: 0.2,
        mixes: true,
        waitMs: 3_600_000,
      });
      sim.openAll();
      sim.settle(24 * 3_600_000);
      expectDone(sim);
    },
  );

  it('ends for all when one is silent, and says who is waited for', () => {
    const sim = toss(3, { tamper: (wire) => (wire.from === 2 && messageOf(wire) ? [] : [wire]) });
    sim.openAll();
    // Party 2 answers no question either.
    sim.settle(300_000);
    expect(sim.waitingFor(1)).toEqual([2]);
    sim.settle();
    expect(phases(sim)).toEqual(['aborted', 'aborted', 'aborted']);
    expect(sim.run(1).end?.reason).toMatch(/^the time is over; nothing came from part/);
    expect(sim.run(1).blame).toEqual([]);
  });

  it('tells everyone when the operator of one ends it', () => {
    const sim = toss(3, { tamper: (wire) => (messageOf(wire) ? [] : [wire]) });
    sim.openAll();
    sim.settle(20_000);
    sim.abort(2, 'no longer wanted');
    sim.settle();
    expect([1, 3].map((index) => sim.run(index).end)).toEqual([
      expect.objectContaining({ reason: 'no longer wanted', by: 2 }),
      expect.objectContaining({ reason: 'no longer wanted', by: 2 }),
    ]);
  });

  it('ends before it has begun, for those who had met the one that ends it', () => {
    const sim = toss(3);
    sim.open(1);
    sim.open(2);
    sim.settle(20_000);
    sim.abort(2, 'the amount is wrong');
    sim.settle(1_000);
    expect(sim.run(1)).toMatchObject({ phase: 'aborted', end: { reason: 'the amount is wrong', by: 2 } });
  });

  it.each([true, false])(
    'ends for one that comes later too, with the reason that the operator of another gave (they have met: %s)',
    (hasMet) => {
      const sim = toss(3);
      if (hasMet) sim.open(1);
      sim.open(2);
      sim.settle(20_000);
      sim.abort(2, 'the amount is wrong', true);
      sim.settle(1_000);
      const before = sim.now;
      sim.open(3);
      sim.settle(1_000);
      expect(sim.run(3)).toMatchObject({ phase: 'aborted', end: { reason: 'the amount is wrong', by: 2 } });
      expect(sim.now).toBe(before);
      // The one that has ended it can begin it anew.
      for (const index of [2, 1, 3]) sim.open(index);
      sim.settle();
      expectDone(sim);
    },
  );

  it('does not end because of an attempt of before, which one party has ended', () => {
    const sim = toss(3);
    sim.open(2);
    const old = sim.wires.splice(0);
    sim.abort(2, 'not now');
    old.push(...sim.wires.splice(0));
    sim.open(1);
    sim.wires.push(...old);
    sim.settle(60_000);
    expect(sim.run(1).phase).toBe('gathering');
    sim.open(2);
    sim.open(3);
    sim.settle();
    expectDone(sim);
  });

  it('goes on when it hears late that a party has ended an attempt of before', () => {
    let isHeldUp = true;
    const sim = toss(3, { tamper: (wire) => (isHeldUp && messageOf(wire) ? [] : [wire]) });
    const begin = (): void => {
      sim.openAll();
      sim.settle(1_000);
      expect(phases(sim)).toEqual(['running', 'running', 'running']);
    };
    begin();
    sim.abort(2, 'not now');
    const old = sim.wires.splice(0);
    for (const index of [1, 3]) sim.abort(index, 'not now');
    sim.wires.splice(0);
    begin();
    sim.wires.push(...old);
    sim.settle(1_000);
    expect(phases(sim)).toEqual(['running', 'running', 'running']);
    isHeldUp = false;
    sim.settle();
    expectDone(sim);
  });

  it('waits on when the time of one is over before it has begun, since its operator may come again', () => {
    const sim = toss(3);
    sim.open(1);
    sim.open(2);
    sim.settle(20_000);
    sim.lapse(2);
    sim.settle(1_000);
    expect(sim.run(1).phase).toBe('gathering');
    sim.open(2);
    sim.open(3);
    sim.settle();
    expectDone(sim);
  });

  it('ends with as much of a reason as fits, in whole characters', () => {
    const sim = toss(3);
    sim.open(1);
    sim.open(2);
    sim.settle(20_000);
    sim.abort(2, `a${'ä'.repeat(150)}`);
    sim.settle(1_000);
    for (const index of [1, 2]) expect(sim.run(index).end?.reason).toBe(`a${'ä'.repeat(99)}`);
    const { topic, nonce } = sim.run(2);
    const said = (reason: string): Frame => ({ kind: 'abort', topic, id: nonce, reason, evidence: [] });
    expect(decodeFrame(encodeFrame(said('x'.repeat(200))))).toEqual(said('x'.repeat(200)));
    expect(() => decodeFrame(encodeFrame(said('ä'.repeat(101))))).toThrow('an abort says too much');
    expect(fromUtf8('ä'.repeat(101))).toHaveLength(202);
  });

  it('tells nobody what the protocol of one party threw', () => {
    const faulty: Protocol = {
      ...coin,
      step: () => {
        throw new Error('the share 5e5e5e is not a scalar');
      },
    };
    const sim = toss(3, { protocols: { 2: faulty } });
    sim.openAll();
    sim.settle();
    for (const index of [1, 2, 3])
      expect(sim.run(index).end).toMatchObject({ reason: `the protocol ${coin.name} has failed`, by: 2 });
    expect(sim.sent.filter(({ payload }) => Buffer.from(payload).includes('5e5e'))).toEqual([]);
    expect(sim.faults.map(String)).toEqual(['Error: the share 5e5e5e is not a scalar']);
  });

  it('begins at once although what came early was spoilt by what its sender has not signed', () => {
    const sim = toss(3, {
      tamper: (wire, self) => {
        // The last one hears of the others' beginning late, and the first message of each twice: as it is, and bent.
        if (wire.to !== 3 || wire.from !== 2) return [wire];
        const frame = decodeFrame(wire.payload);
        if (frame.kind === 'hello' && frame.echo.some((byte) => byte !== 0) && !isSaid) {
          late.push(wire);
          return [];
        }
        if (frame.kind !== 'message' || frame.round !== 1) return [wire];
        isSaid = true;
        const bent = self.withFrame(wire, () => ({ ...frame, signature: new Uint8Array(64) }));
        return [wire, bent, ...late.splice(0)];
      },
    });
    const late: Wire[] = [];
    let isSaid = false;
    sim.openAll();
    const before = sim.now;
    sim.settle();
    expectDone(sim);
    expect(sim.now).toBe(before);
  });

  it('can be about a message that fits into no frame', () => {
    const sim = toss(2, { message: new Uint8Array(200_000) });
    sim.openAll();
    sim.settle();
    expectDone(sim);
    expect(Math.max(...sim.sent.map(({ payload }) => payload.length))).toBeLessThan(1_000);
  });

  it('keeps no secret once it has ended', () => {
    const sim = toss(2);
    sim.openAll();
    sim.settle();
    expect([...sim.run(1).slots.keys()].filter((key) => key === 'state' || key === 'input')).toEqual([]);
  });
});

describe('a party that cheats', () => {
  it('is named when it signs two different broadcasts', () => {
    const sim = toss(4, {
      tamper: (wire, self) => {
        const message = messageOf(wire);
        if (wire.from !== 2 || message?.round !== 1 || wire.to !== 4) return [wire];
        return [self.withBody(wire, new Uint8Array(32))];
      },
    });
    sim.openAll();
    sim.settle();
    for (const index of [1, 3, 4]) {
      expect(sim.run(index).phase).toBe('aborted');
      expect(sim.run(index).blame.map(({ party }) => party)).toEqual([2]);
    }
  });

  it('names nobody when it says that it has seen something else', () => {
    const sim = toss(3, {
      tamper: (wire, self) =>
        wire.from !== 2
          ? [wire]
          : [
              self.withFrame(wire, (frame) =>
                frame.kind === 'confirm'
                  ? { ...frame, seen: frame.seen.map((seen) => ({ ...seen, hash: new Uint8Array(32) })) }
                  : frame,
              ),
            ],
    });
    sim.openAll();
    sim.settle();
    expect(phases(sim)).toEqual(['aborted', 'aborted', 'aborted']);
    for (const index of [1, 2, 3]) expect(sim.run(index).blame).toEqual([]);
    // Nothing of round 2 has left.
    expect(sim.sent.filter((wire) => messageOf(wire)?.round === 2 && wire.from !== 2)).toEqual([]);
  });

  it('is named when it opens something else than it promised', () => {
    const liar: Protocol = {
      ...coin,
      step: (setting, state, messages) => ({
        ...coin.step(setting, state, messages),
        broadcast: new Uint8Array(32),
      }),
    };
    const sim = toss(3, { protocols: { 3: liar } });
    sim.openAll();
    sim.settle();
    for (const index of [1, 2]) {
      expect(sim.run(index).end?.reason).toBe('a promise was broken');
      expect(sim.run(index).blame).toEqual([{ party: 3, reason: 'did not open what it promised' }]);
    }
  });

  it('has told each other party what it has told it first', () => {
    const sim = new RoundsTest(whisper, 3, {
      tamper: (wire, self) => {
        const message = messageOf(wire);
        if (wire.from !== 2 || message === undefined) return [wire];
        return [wire, self.withBody(wire, Uint8Array.of(99))];
      },
    });
    sim.openAll();
    sim.settle();
    expect(phases(sim)).toEqual(['done', 'done', 'done']);
    expect([1, 3].map((index) => sim.output(index))).toEqual([Uint8Array.of(2, 3), Uint8Array.of(1, 2)]);
  });

  it('gains nothing by turning frames back, passing them on or changing a byte', () => {
    const random = new SeededRandom('hostile');
    const sim = toss(3, {
      tamper: (wire) => {
        const message = messageOf(wire);
        const bent = new Uint8Array(wire.payload);
        const at = bent.length - 1 - random.below(60);
        bent[at] = (bent[at] ?? 0) ^ 1;
        return [
          { ...wire, from: wire.to, to: wire.from },
          // A body or signature that is not what was signed, and somebody else's message.
          ...(message === undefined
            ? []
            : [
                { ...wire, payload: bent },
                { ...wire, from: (wire.from % 3) + 1 },
              ]),
          wire,
        ];
      },
    });
    sim.openAll();
    sim.settle();
    expectDone(sim);
  });
});
