/** The machine of a refresh: with which share it begins. */
import { describe, expect, it } from 'vitest';
import { encodePoints, publicKeyOf, type KeyShare } from '../../plugins/threshold-bls/key-share.ts';
import { refresh } from '../../plugins/threshold-bls/keygen.ts';
import { testParties } from '../../src/testing/parties.ts';
import { random, shareOf, shareOfAnother } from './support/sharings.ts';

function start(share: KeyShare): string {
  const params = { threshold: 1, commitments: encodePoints(shareOf('first').commitments) };
  const { set } = testParties(3);
  const setting = { id: new Uint8Array(32), self: 1, parties: set, present: [1, 2, 3], params, epoch: 2 };
  const rest = { message: new Uint8Array(0), round: 1, random, isSigned: () => true };
  return refresh.start({ ...setting, ...rest }, share).kind;
}

describe('a refresh', () => {
  it('begins with the share of the sharing and the epoch that were agreed on, and no other', () => {
    expect(publicKeyOf(shareOf('second'))).toEqual(publicKeyOf(shareOf('first')));
    expect(start(shareOf('first'))).toBe('next');
    expect(start(shareOf('second'))).toBe('abort');
    expect(start(shareOf('first', { epoch: 1 }))).toBe('abort');
    expect(start(shareOf('first', { index: 2 }))).toBe('abort');
    expect(start(shareOfAnother())).toBe('abort');
  });
});
