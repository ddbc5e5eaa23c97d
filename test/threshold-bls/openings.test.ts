/**
 * What a dealer opens must be what it has committed to, with a proof of this ceremony and this dealer. The cheat here means
 * what it says: but for the one fault all of it fits together, the hash of round 1 too.
 */
import { expect, it } from 'vitest';
import { startDealing, type DealingState } from '../../plugins/threshold-bls/dealing.ts';
import { keygen, type KeygenParams } from '../../plugins/threshold-bls/keygen.ts';
import { hashParts, PUBLIC_KEY_SIZE } from '../../plugins/threshold-bls/math/curve.ts';
import { own, type Bytes } from '../../src/bytes.ts';
import type { Setting, Step } from '../../src/rounds/index.ts';
import { testRounds } from '../../src/testing/rounds.ts';

type Opening = (setting: Setting<KeygenParams>) => Bytes;
type Begun = Extract<Step<DealingState, never>, { kind: 'next' }> & { state: { kind: 'committed' } };

const CHEAT = 2;
const THRESHOLD = 1;
const INVALID = 'published commitments that do not hold';

function begun(step: Step<DealingState, unknown>): Begun {
  if (step.kind !== 'next' || step.state.kind !== 'committed') throw new Error('a dealing begins so');
  return { ...step, state: step.state };
}

/** A good one, of a polynomial that the cheat's shares are not of. */
const anotherOf: Opening = (setting) =>
  begun(startDealing(setting, { threshold: THRESHOLD, isRefresh: false })).state.opening;

/** What is found wrong with a party that opens this, by each of the others. @param isCommitted its hash is of the same */
function faultsOf(make: Opening, isCommitted: boolean): string[] {
  const start: typeof keygen.start = (setting, input) => {
    const { id, self } = setting;
    const { state, ...step } = begun(keygen.start(setting, input));
    const opening = make(setting);
    const hash = hashParts('countersign bls opening v1', [id, Uint8Array.of(self), opening]);
    return { ...step, state: { ...state, opening }, ...(isCommitted && { broadcast: hash }) };
  };
  const protocols = { [CHEAT]: { ...keygen, start } };
  const test = testRounds(keygen, 3, { params: { threshold: THRESHOLD }, protocols });
  return [1, 3].map((index) => {
    const { state, blame } = test.party(index);
    expect(state).toBe('aborted');
    expect(new Set(blame.map(({ party }) => party))).toEqual(new Set([CHEAT]));
    return blame[0]?.reason ?? '';
  });
}

it('names who opens another good opening than it has committed to', () => {
  const reason = 'opened something else than it had committed to';
  expect(faultsOf(anotherOf, false)).toEqual([reason, reason]);
});

it('finds nothing wrong with a good opening, only with shares that are not of it', () => {
  for (const fault of faultsOf(anotherOf, true))
    expect(fault).toMatch(/^dealt a share to party [13] that does not fit its commitments$/);
});

it.each<[string, Opening]>([
  ['a proof for another ceremony', (setting) => anotherOf({ ...setting, id: own(new Uint8Array(32)) })],
  ['the proof of another dealer', (setting) => anotherOf({ ...setting, self: CHEAT + 1 })],
  ['a proof that does not hold', (setting) => flipLast(anotherOf(setting))],
  ['what is no point', (setting) => anotherOf(setting).fill(0, PUBLIC_KEY_SIZE, 2 * PUBLIC_KEY_SIZE)],
])('names who opens commitments with %s, though the hash is right', (_, opening) => {
  expect(faultsOf(opening, true)).toEqual([INVALID, INVALID]);
});

function flipLast(bytes: Bytes): Bytes {
  return Uint8Array.from(bytes, (byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
}
