/** Shares of party 1, of two sharings of one key among three: as two refreshes of one epoch make them. */
import { randomBytes } from 'node:crypto';
import type { KeyShare } from '../../../plugins/threshold-bls/key-share.ts';
import { commitments, drawPolynomial, shareFor } from '../../../plugins/threshold-bls/math/feldman.ts';
import { copy } from '../../../src/bytes.ts';
import type { Random } from '../../../src/platform.ts';

export const random: Random = { bytes: (length) => copy(randomBytes(length)) };
const [constant = 0n, ...first] = drawPolynomial(1, random);
const coefficients = { first, second: drawPolynomial(1, random).slice(1) };

export function shareOf(sharing: 'first' | 'second', rest: Partial<KeyShare> = {}): KeyShare {
  const polynomial = [constant, ...coefficients[sharing]];
  const share = { share: shareFor(polynomial, 1), commitments: commitments(polynomial) };
  return { threshold: 1, parties: 3, index: 1, epoch: 2, ...share, ...rest };
}

/** The share of the first sharing, with the commitments of another key. */
export function shareOfAnother(): KeyShare {
  return shareOf('first', { commitments: commitments(drawPolynomial(1, random)) });
}
