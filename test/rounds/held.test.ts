import { describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { decodeFrame, encodeFrame, type Frame } from '../../src/rounds/frame.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import { RoundsTest } from '../../src/testing/rounds.ts';
import { expectDone, phases } from '../support/rounds-ends.ts';

/** The example sees the built package, whose types are others. */
const coin = coinToss as unknown as Protocol;

describe('a ceremony whose output is held until all have confirmed', () => {
  /** Party 1 has heard the last confirmation of party 2 and not that of party 3. */
  function withoutThird(): { readonly sim: RoundsTest; readonly letPass: () => void } {
    let isLost = true;
    const sim = new RoundsTest({ ...coin, isHeld: true }, 3, {
      tamper: (wire) => {
        const frame = decodeFrame(wire.payload);
        const isLast = frame.kind === 'confirm' && frame.round === 2;
        return isLost && isLast && wire.from === 3 && wire.to === 1 ? [] : [wire];
      },
    });
    sim.openAll();
    sim.settle(1_000);
    expect(phases(sim)).toEqual(['running', 'done', 'done']);
    expect(sim.waitingFor(1)).toEqual([3]);
    const letPass = (): void => {
      isLost = false;
    };
    return { sim, letPass };
  }

  function leave(sim: RoundsTest, from: number): void {
    const { topic, id } = sim.run(1);
    const frame: Frame = { kind: 'abort', topic, id, reason: 'it leaves', evidence: [] };
    sim.wires.push({ from, to: 1, payload: encodeFrame(frame) });
    sim.settle(1_000);
  }

  it('is not ended by one that has confirmed: that has its own, or will', () => {
    const { sim, letPass } = withoutThird();
    leave(sim, 2);
    expect(sim.run(1).phase).toBe('running');
    letPass();
    sim.settle();
    expectDone(sim);
  });

  it('is ended by one that has not', () => {
    const { sim } = withoutThird();
    leave(sim, 3);
    expect(sim.run(1)).toMatchObject({ phase: 'aborted', end: { reason: 'it leaves', by: 3 } });
  });
});
