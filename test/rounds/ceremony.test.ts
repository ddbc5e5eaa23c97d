import { describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { decodeFrame, type FrameOf } from '../../src/rounds/frame.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import { RoundsSim, SeededRandom, type Ceremony, type Wire } from '../support/rounds.ts';

const NONE = new Uint8Array(0);
/** The example sees the built package, whose types are others. */
const coin = coinToss as unknown as Protocol;

function toss(n: number, options: Ceremony = {}): RoundsSim {
  return new RoundsSim(coin, n, NONE, options);
}

function phases(sim: RoundsSim): string[] {
  return sim.proposal.signers.map((index) => sim.run(index).phase);
}

/** All have the same output. */
function expectDone(sim: RoundsSim): void {
  const { signers } = sim.proposal;
  expect(phases(sim)).toEqual(signers.map(() => 'done'));
  for (const index of signers) expect(sim.output(index)).toEqual(sim.output(signers[0] ?? 0));
}

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
    sim.end(2, 'no longer wanted');
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
    sim.end(2, 'the amount is wrong');
    sim.settle(1_000);
    expect(sim.run(1)).toMatchObject({ phase: 'aborted', end: { reason: 'the amount is wrong', by: 2 } });
  });

  it('does not end because of an attempt of before, which one party has ended', () => {
    const sim = toss(3);
    sim.open(2);
    const old = sim.wires.splice(0);
    sim.end(2, 'not now');
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
        return [
          self.rewrite(wire, () => ({
            kind: 'message',
            topic: decodeFrame(wire.payload).topic,
            ...self.sign({ ...message, body: new Uint8Array(32) }),
          })),
        ];
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
              self.rewrite(wire, (frame) =>
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
