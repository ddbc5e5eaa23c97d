/** The machine of a FROST signing: with which share it begins. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { deal, publicKeyOf, type FrostKey } from '../../plugins/frost/key.ts';
import { frostSign } from '../../plugins/frost/sign.ts';
import { copy, type Bytes } from '../../src/bytes.ts';
import { testParties } from '../../src/testing/parties.ts';

const draw = (length = 32): Bytes => copy(randomBytes(length));

/** Of party 1 and 2. */
function dealt(): readonly [FrostKey, FrostKey] {
  const [first, second] = deal({ min: 2, max: 3 }, draw);
  if (first === undefined || second === undefined) throw new Error('there are three');
  return [first, second];
}

const [ours, second] = dealt();
const [other] = dealt();

/** At party 1 of n, for a key of which `min` sign. */
function start(key: FrostKey, { min = 2, n = 3 } = {}): string {
  const { set } = testParties(n);
  const params = { min, publicKey: publicKeyOf(ours) };
  const setting = { id: new Uint8Array(32), self: 1, parties: set, present: [1, 2], params, epoch: 0 };
  const rest = { message: new Uint8Array(1), round: 1, random: { bytes: draw }, isSigned: () => true };
  return frostSign.start({ ...setting, ...rest }, key).kind;
}

describe('a FROST signing', () => {
  it('begins with our share of the key that was agreed on, and no other', () => {
    expect(start(ours)).toBe('next');
    expect(start(other)).toBe('abort');
    expect(start(second)).toBe('abort');
    expect(start(ours, { min: 3 })).toBe('abort');
    expect(start(ours, { n: 4 })).toBe('abort');
  });
});
