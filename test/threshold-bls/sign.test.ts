/** The machine of a signing: with which share it begins. */
import { describe, expect, it } from 'vitest';
import { publicKeyOf, sharingOf, type KeyShare } from '../../plugins/threshold-bls/key-share.ts';
import { sign } from '../../plugins/threshold-bls/sign.ts';
import { testParties } from '../../src/testing/parties.ts';
import { random, shareOf, shareOfAnother } from './support/sharings.ts';

function start(share: KeyShare): string {
  const asked = shareOf('first');
  const params = { threshold: 1, publicKey: publicKeyOf(asked), sharing: sharingOf(asked) };
  const { set } = testParties(3);
  const setting = { id: new Uint8Array(32), self: 1, parties: set, present: [1, 2], params, epoch: 2 };
  const rest = { message: new Uint8Array(1), round: 1, random, isSigned: () => true };
  return sign.start({ ...setting, ...rest }, share).kind;
}

describe('a signing', () => {
  it('begins with a share of the key, the epoch and the sharing that were agreed on, and no other', () => {
    expect(publicKeyOf(shareOf('second'))).toEqual(publicKeyOf(shareOf('first')));
    expect(start(shareOf('first'))).toBe('next');
    expect(start(shareOf('second'))).toBe('abort');
    expect(start(shareOf('first', { epoch: 1 }))).toBe('abort');
    expect(start(shareOf('first', { index: 2 }))).toBe('abort');
    expect(start(shareOf('first', { threshold: 2 }))).toBe('abort');
    expect(start(shareOfAnother())).toBe('abort');
  });
});
