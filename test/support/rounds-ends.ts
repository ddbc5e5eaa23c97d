/** How ceremonies of the simulator stand, for tests. */
import { expect } from 'vitest';
import type { RoundsTest } from '../../src/testing/rounds.ts';

/** Of those who are to take part, in the order of their indices. */
export function phases(sim: RoundsTest): string[] {
  return sim.proposal.signers.map((index) => sim.run(index).phase);
}

/** All have the same output. */
export function expectDone(sim: RoundsTest): void {
  const { signers } = sim.proposal;
  expect(phases(sim)).toEqual(signers.map(() => 'done'));
  for (const index of signers) expect(sim.output(index)).toEqual(sim.output(signers[0] ?? 0));
}
