import { describe, expect, it } from 'vitest';
import { EMPTY, equal, type Bytes } from '../../src/bytes.ts';
import { decodeFrame, encodeFrame } from '../../src/rounds/frame.ts';
import { GRACE_MS } from '../../src/rounds/gathering.ts';
import type { Present } from '../../src/rounds/proposal.ts';
import type { Codec } from '../../src/router.ts';
import type { Blame, Protocol } from '../../src/rounds/protocol.ts';
import { RoundsTest, type RoundsTestOptions, type Wire } from '../../src/testing/rounds.ts';

const plain: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };
const nothing: Codec<undefined> = { encode: () => new Uint8Array(0), decode: () => undefined };

/** Everybody says its index; any two that are right are enough. */
const names: Protocol<undefined, undefined, Uint8Array, Uint8Array> = {
  name: 'test.names',
  version: 1,
  rounds: [{ broadcast: true }],
  params: nothing,
  input: nothing,
  state: plain,
  output: plain,
  quorum: () => 2,
  start: ({ self }) => ({ kind: 'next', state: new Uint8Array(0), broadcast: Uint8Array.of(self) }),
  step: (_, __, messages) => {
    const said = [...messages].map(([party, { broadcast }]) => ({
      party,
      isRight: broadcast?.[0] === party,
    }));
    const blame: Blame[] = said
      .filter(({ isRight }) => !isRight)
      .map(({ party }) => ({ party, reason: 'says it is somebody else' }));
    const right = said.filter(({ isRight }) => isRight).map(({ party }) => party);
    return right.length < 2
      ? { kind: 'wait', blame }
      : { kind: 'done', output: Uint8Array.from(right), blame };
  },
};
const liar = {
  ...names,
  start: () => ({ kind: 'next', state: new Uint8Array(0), broadcast: Uint8Array.of(99) }),
} as Protocol;

function simOf(n: number, options: RoundsTestOptions = {}): RoundsTest {
  return new RoundsTest(names, n, options);
}

function outputs(sim: RoundsTest, ...indices: number[]): unknown[] {
  return indices.map((index) => (sim.output(index) as Uint8Array | undefined)?.length);
}

/** A party tells the first that it will not take part. */
function refuse(sim: RoundsTest, from: number): void {
  const { topic, nonce } = sim.run(1);
  const reason = `party ${String(from)} has another share`;
  const payload = encodeFrame({ kind: 'abort', topic, id: nonce, reason, evidence: [] });
  sim.wires.push({ from, to: 1, payload });
  sim.settle(1_000);
}

describe('a ceremony for which some are enough', () => {
  it('begins at once when all are there', () => {
    const sim = simOf(3);
    const before = sim.now;
    sim.openAll();
    sim.settle();
    expect(outputs(sim, 1, 2, 3)).toEqual([2, 2, 2]);
    expect(sim.now).toBe(before);
  });

  it.each([1, 2, 3])('begins without party %i when that does not come', (absent) => {
    const sim = simOf(3);
    const there = [1, 2, 3].filter((index) => index !== absent);
    for (const index of there) sim.open(index);
    sim.settle(2 * GRACE_MS + 30_000);
    expect(outputs(sim, ...there)).toEqual([2, 2]);
    expect(sim.run(there[0] ?? 0).present.map(({ index }) => index)).toEqual(there);
  });

  it('goes on without one that dies on the way', () => {
    const sim = simOf(3, {
      tamper: (wire) => (wire.from === 1 && decodeFrame(wire.payload).kind === 'message' ? [] : [wire]),
    });
    sim.openAll();
    sim.settle(60_000);
    expect(outputs(sim, 2, 3)).toEqual([2, 2]);
  });

  it.each([1, 2, 3, 4])('names party %i when that lies, and goes on without it', (index) => {
    const sim = simOf(4, { protocols: { [index]: liar } });
    sim.openAll();
    sim.settle();
    const honest = [1, 2, 3, 4].filter((other) => other !== index);
    expect(outputs(sim, ...honest)).toEqual([2, 2, 2]);
    for (const other of honest) for (const { party } of sim.run(other).blame) expect(party).toBe(index);
  });

  it('ends when too few are left', () => {
    const sim = simOf(3, { protocols: { 2: liar, 3: liar } });
    sim.openAll();
    sim.settle();
    expect(sim.run(1).end?.reason).toBe('too few parties are left');
    expect(
      sim
        .run(1)
        .blame.map(({ party }) => party)
        .sort(),
    ).toEqual([2, 3]);
  });

  it('ends with the reason of the one without whom too few are left', () => {
    const sim = simOf(3, {
      tamper: (wire) => (decodeFrame(wire.payload).kind === 'message' ? [] : [wire]),
    });
    sim.open(1);
    sim.open(2);
    sim.settle(2 * GRACE_MS);
    sim.abort(2, 'the amount is wrong');
    sim.settle();
    expect(sim.run(1).end).toMatchObject({ reason: 'the amount is wrong', by: 2 });
  });

  it('ends when too few come', () => {
    const sim = simOf(3);
    sim.open(2);
    sim.settle();
    expect(sim.run(2).end?.reason).toMatch(/^the time is over; nothing came from part/);
  });

  it('waits anew for the others once enough are there again', () => {
    const sim = simOf(3);
    sim.open(1);
    sim.open(2);
    sim.settle(20_000);
    sim.lapse(2);
    sim.settle(1_000);
    expect(sim.run(1).quorumAt).toBe(0);
    const ticks = sim.ticks;
    sim.settle(100_000);
    // It asks again now and then, and does nothing each second.
    expect(sim.ticks - ticks).toBeLessThan(10);
    sim.open(2);
    sim.settle(GRACE_MS - 5_000);
    expect(sim.run(1).phase).toBe('gathering');
    sim.settle(2 * GRACE_MS);
    expect(outputs(sim, 1, 2)).toEqual([2, 2]);
  });

  it('begins at once when all are there but those who refuse', () => {
    const sim = simOf(3);
    sim.open(2);
    sim.open(3);
    const before = sim.now;
    for (const to of [2, 3]) {
      const { topic, nonce } = sim.run(to);
      const frame = { kind: 'abort', topic, id: nonce, reason: 'never', evidence: [] } as const;
      sim.wires.push({ from: 1, to, payload: encodeFrame(frame) });
    }
    sim.settle();
    expect(outputs(sim, 2, 3)).toEqual([2, 2]);
    expect(sim.now).toBe(before);
  });

  it('goes on with one that comes after having refused', () => {
    const sim = simOf(3);
    sim.open(1);
    refuse(sim, 3);
    sim.settle(60_000);
    // It is greeted when it is opened, and not bothered again.
    expect(sim.sent.filter(({ to }) => to === 3)).toHaveLength(1);
    expect(sim.sent.filter(({ to }) => to === 2).length).toBeGreaterThan(2);
    sim.open(3);
    sim.settle(1_000);
    expect(sim.run(1).phase).toBe('gathering');
    refuse(sim, 2);
    expect(outputs(sim, 1, 3)).toEqual([2, 2]);
  });

  it('ends when so many refuse that too few are left, with the reason of the last', () => {
    const sim = simOf(3);
    sim.open(1);
    refuse(sim, 2);
    // That was an earlier attempt.
    sim.open(1);
    refuse(sim, 3);
    expect(sim.run(1).phase).toBe('gathering');
    refuse(sim, 2);
    expect(sim.run(1)).toMatchObject({
      phase: 'aborted',
      end: { reason: 'party 2 has another share', by: 2 },
    });
    expect([...sim.run(1).slots.keys()]).toEqual(['abort']);
  });

  it.each(Array.from({ length: 20 }, (_, i) => i))('comes to an end in bad weather (%i)', (seed) => {
    const weather = { loss: 0.15, twice: 0.2, death: 0.2, mixes: true, waitMs: 3_600_000 };
    const sim = simOf(4, { seed: `quorum ${String(seed)}`, ...weather });
    sim.openAll();
    sim.settle(24 * 3_600_000);
    const done = [1, 2, 3, 4].filter((index) => sim.output(index) !== undefined);
    expect(done.length).toBeGreaterThanOrEqual(2);
  });
});

/** Of these each party but the first is honest; that is silent once it has said who is there, and says what `lie` makes of it. */
function misled(
  n: number,
  quorum: number,
  lie: (present: readonly Present[], to: number) => readonly Present[],
): RoundsTest {
  const protocol: Protocol = {
    ...(names as Protocol),
    quorum: () => quorum,
    step: (_, __, messages) =>
      messages.size < quorum
        ? { kind: 'wait' }
        : { kind: 'done', output: Uint8Array.from([...messages.keys()].slice(0, quorum)) },
  };
  const tamper = (wire: Wire, sim: RoundsTest): readonly Wire[] => {
    const frame = decodeFrame(wire.payload);
    if (wire.from !== 1 || frame.kind === 'hello') return [wire];
    if (frame.kind !== 'roster') return frame.kind === 'abort' ? [wire] : [];
    const present = lie(frame.present, wire.to);
    return present.length === 0 ? [] : [sim.withFrame(wire, () => ({ ...frame, present }))];
  };
  return new RoundsTest(protocol, n, { tamper });
}

function madeUp(present: readonly Present[], to: number): readonly Present[] {
  return present.map((entry) =>
    entry.index === 1 || entry.index === to ? entry : { ...entry, nonce: new Uint8Array(32).fill(to) },
  );
}

describe('a party that says who is there, and lies', () => {
  it.each([
    [4, 2],
    [4, 3],
    [6, 4],
    [6, 5],
  ])('does not stop the others of %i, %i of which are enough', (n, quorum) => {
    const lies: Record<string, Parameters<typeof misled>[2]> = {
      'leaves out': (present, to) => {
        const kept = present
          .filter(({ index }) => index !== 1 && index !== to)
          .slice(to % 2, quorum - 2 + (to % 2));
        return present.filter((entry) => entry.index === 1 || entry.index === to || kept.includes(entry));
      },
      'makes up': madeUp,
      'makes up for one': (present, to) => (to === 3 ? madeUp(present, to) : present),
      'is silent': () => [],
      'is silent to one': (present, to) => (to === 3 ? [] : present),
    };
    const honest = Array.from({ length: n - 1 }, (_, i) => i + 2);
    for (const [name, lie] of Object.entries(lies)) {
      const sim = misled(n, quorum, lie);
      const before = sim.now;
      sim.openAll();
      sim.settle(5 * GRACE_MS);
      expect([name, ...outputs(sim, ...honest)]).toEqual([name, ...honest.map(() => quorum)]);
      expect(sim.now - before).toBeLessThan(4 * GRACE_MS);
    }
  });

  it('does not stop them when it shows itself to one of them alone', () => {
    const sim = new RoundsTest({ ...(names as Protocol), quorum: () => 3 }, 4, {
      tamper: (wire) => {
        const isFourth = wire.from === 4 || wire.to === 4;
        return isFourth && wire.from !== 2 && wire.to !== 2 ? [] : [wire];
      },
    });
    sim.openAll();
    sim.settle(10 * GRACE_MS);
    for (const index of [1, 2, 3]) expect(sim.run(index).phase).toBe('done');
  });

  it('does not stop them when those who come together at first have met nobody else', () => {
    // Party 2 alone is there with the first, which leaves it sitting; 3 and 4 come later.
    const sim = misled(4, 2, (present) => present);
    sim.open(1);
    sim.open(2);
    sim.settle(2 * GRACE_MS);
    expect(sim.run(2).phase).toBe('running');
    sim.open(3);
    sim.settle(10 * GRACE_MS);
    expect(outputs(sim, 2, 3)).toEqual([2, 2]);
  });

  it('leaves nothing of a ceremony that came to nothing in the one that begins anew', () => {
    const said = (id: Uint8Array, index: number): Bytes => Uint8Array.of(index, ...id);
    const step: Protocol['step'] = ({ id }, _, messages) => {
      const wrong = [...messages].filter(
        ([index, { broadcast }]) => !equal(broadcast ?? EMPTY, said(id, index)),
      );
      const blame = wrong.map(([party]) => ({ party, reason: 'says what is not of this ceremony' }));
      return messages.size - wrong.length < 3 ? { kind: 'wait', blame } : { kind: 'done', output: id, blame };
    };
    const start: Protocol['start'] = ({ id, self }) => ({
      kind: 'next',
      state: EMPTY,
      broadcast: said(id, self),
    });
    const sim = new RoundsTest({ ...(names as Protocol), quorum: () => 3, start, step }, 4, {
      tamper: (wire) => (wire.from === 1 && decodeFrame(wire.payload).kind === 'message' ? [] : [wire]),
    });
    for (const index of [1, 2, 3]) sim.open(index);
    sim.settle(2 * GRACE_MS);
    const { id, phase, slots } = sim.run(2);
    expect([phase, slots.has('m/1/3/0')]).toEqual(['running', true]);
    sim.open(4);
    sim.settle(10 * GRACE_MS);
    for (const index of [2, 3, 4]) {
      expect(sim.party(index)).toMatchObject({ state: 'done', blame: [] });
      expect(sim.output(index)).not.toEqual(id);
    }
  });

  it('counts as having left when it says that it knows nothing of the ceremony', () => {
    const sim = simOf(4, {
      tamper: (wire, self) =>
        wire.from !== 1 || decodeFrame(wire.payload).kind !== 'message'
          ? [wire]
          : [
              self.withFrame(wire, (frame) =>
                frame.kind !== 'message'
                  ? frame
                  : { kind: 'abort', topic: frame.topic, id: frame.id, reason: 'not known', evidence: [] },
              ),
            ],
    });
    sim.openAll();
    sim.settle();
    expect(outputs(sim, 2, 3, 4)).toEqual([2, 2, 2]);
  });
});
