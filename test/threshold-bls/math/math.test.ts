import { bls12_381 } from '@noble/curves/bls12-381.js';
import { describe, expect, it } from 'vitest';
import { fromHex, fromUtf8, own, toHex, type Bytes } from '../../../src/bytes.ts';
import {
  commit,
  decodeG1,
  decodeG2,
  decodeScalar,
  encodePoint,
  encodeScalar,
  Fr,
  G1,
  G2,
  scalarFromSeed,
} from '../../../plugins/threshold-bls/math/curve.ts';
import {
  commitments,
  drawPolynomial,
  expectedShare,
  isProofOf,
  isShareOf,
  proveConstant,
  shareFor,
  sumCommitments,
  sumShares,
} from '../../../plugins/threshold-bls/math/feldman.ts';
import {
  combine,
  encodeSignature,
  isPartialOf,
  messagePoint,
  signPartially,
  verify,
} from '../../../plugins/threshold-bls/math/signing.ts';
import { systemPlatform } from '../../../src/platform.ts';

const { random } = systemPlatform();
const MESSAGE = fromUtf8('pay 3 to nobody');
const [CONTEXT, OTHER] = [fromUtf8('ceremony 1, party 1'), fromUtf8('ceremony 1, party 2')];

/** All dealers' parts of a joint key, as honest parties would have them. */
function joint(t: number, n: number): { shares: bigint[]; published: ReturnType<typeof sumCommitments> } {
  const polynomials = Array.from({ length: n }, () => drawPolynomial(t, random));
  const indexes = Array.from({ length: n }, (_, i) => i + 1);
  return {
    shares: indexes.map((j) => sumShares(polynomials.map((polynomial) => shareFor(polynomial, j)))),
    published: sumCommitments(polynomials.map(commitments)),
  };
}

function sign(shares: readonly bigint[], signers: readonly number[], message = MESSAGE): Bytes {
  const point = messagePoint(message);
  const partials = signers.map((index) => {
    const share = shares[index - 1];
    if (share === undefined) throw new Error('there is no such party');
    return { index, signature: signPartially(point, share) };
  });
  return encodeSignature(combine(partials));
}

describe('points and scalars', () => {
  it('come back as they went', () => {
    const scalar = scalarFromSeed(random.bytes(48));
    expect(decodeScalar(encodeScalar(scalar))).toBe(scalar);
    expect(decodeG2(encodePoint(commit(scalar)))?.equals(commit(scalar))).toBe(true);
  });

  it('are refused with another length, above the order, off the curve, and as the identity', () => {
    expect(decodeScalar(encodeScalar(Fr.ORDER - 1n))).toBe(Fr.ORDER - 1n);
    expect(decodeScalar(fromHex(Fr.ORDER.toString(16)))).toBeUndefined();
    expect(decodeScalar(new Uint8Array(31))).toBeUndefined();
    const point = encodePoint(G2.BASE);
    expect(decodeG2(point.subarray(1))).toBeUndefined();
    expect(decodeG2(new Uint8Array(96).fill(0xff))).toBeUndefined();
    expect(decodeG2(encodePoint(G2.ZERO))).toBeUndefined();
    expect(decodeG2(encodePoint(G2.ZERO), { identity: true })?.is0()).toBe(true);
    expect(decodeG1(encodePoint(G1.ZERO))).toBeUndefined();
    expect(decodeG1(encodePoint(G1.BASE))?.equals(G1.BASE)).toBe(true);
  });

  it('are refused outside the subgroup', () => {
    // Points on the curve that the cofactor has not been cleared from: x counts up until one decodes.
    const off1 = offSubgroup(bls12_381.fields.Fp.BYTES, (x) => G1.fromBytes(x));
    expect(decodeG1(off1)).toBeUndefined();
    const off2 = offSubgroup(2 * bls12_381.fields.Fp.BYTES, (x) => G2.fromBytes(x));
    expect(decodeG2(off2)).toBeUndefined();
  });
});

/** The compressed encoding of a point on the curve whose only fault is its subgroup. */
function offSubgroup(size: number, parse: (bytes: Bytes) => unknown): Bytes {
  for (let x = 1; x < 200; x++) {
    const bytes = new Uint8Array(size);
    bytes[0] = 0x80;
    bytes[size - 1] = x;
    try {
      parse(bytes);
    } catch (error) {
      if (/subgroup|torsion/i.test(String(error))) return bytes;
    }
  }
  throw new Error('no such point was found');
}

describe('Feldman', () => {
  it('gives shares that fit the commitments, for their party only', () => {
    const polynomial = drawPolynomial(2, random);
    const published = commitments(polynomial);
    for (const index of [1, 2, 64]) {
      expect(isShareOf(published, index, shareFor(polynomial, index))).toBe(true);
      expect(isShareOf(published, index + 1, shareFor(polynomial, index))).toBe(false);
    }
    expect(isShareOf(published, 1, Fr.add(shareFor(polynomial, 1), 1n))).toBe(false);
  });

  it('proves the constant term, for one dealer of one ceremony', () => {
    const [constant = 0n] = drawPolynomial(1, random);
    const proof = proveConstant(constant, CONTEXT, random);
    expect(isProofOf(commit(constant), CONTEXT, proof)).toBe(true);
    expect(isProofOf(commit(constant), OTHER, proof)).toBe(false);
    expect(isProofOf(commit(Fr.add(constant, 1n)), CONTEXT, proof)).toBe(false);
    for (const at of [0, 50, 95, 96, 127]) {
      const bent = new Uint8Array(proof);
      bent[at] = (bent[at] ?? 0) ^ 1;
      expect(isProofOf(commit(constant), CONTEXT, bent)).toBe(false);
    }
    expect(isProofOf(commit(constant), CONTEXT, proof.subarray(1))).toBe(false);
  });

  it('leaves the joint key as it is in a refresh, and makes old and new shares unfit for each other', () => {
    const { shares, published } = joint(1, 3);
    const zero = [1, 2, 3].map(() => drawPolynomial(1, random, 0n));
    expect(zero.every((polynomial) => commitments(polynomial)[0]?.is0())).toBe(true);
    const fresh = shares.map((share, i) =>
      Fr.add(share, sumShares(zero.map((polynomial) => shareFor(polynomial, i + 1)))),
    );
    const key = encodePoint(published[0] ?? G2.ZERO);
    expect(verify(key, sign(fresh, [1, 3]), MESSAGE)).toBe(true);
    const mixed = [shares[0], fresh[1], fresh[2]].map((share) => share ?? 0n);
    expect(verify(key, sign(mixed, [1, 2]), MESSAGE)).toBe(false);
  });
});

describe('threshold signatures', () => {
  it('are the same whoever signs, and verify under the joint key', () => {
    const { shares, published } = joint(1, 3);
    const key = encodePoint(published[0] ?? G2.ZERO);
    const signatures = [[1, 2], [1, 3], [2, 3], [3, 1], [1, 2, 3]].map((signers) => toHex(sign(shares, signers))); // prettier-ignore
    expect(new Set(signatures).size).toBe(1);
    expect(verify(key, fromHex(signatures[0] ?? ''), MESSAGE)).toBe(true);
    expect(verify(key, fromHex(signatures[0] ?? ''), fromUtf8('another'))).toBe(false);
  });

  it('are what the joint secret itself would give', () => {
    const polynomials = [1, 2, 3].map(() => drawPolynomial(2, random));
    const shares = [1, 2, 3].map((j) => sumShares(polynomials.map((polynomial) => shareFor(polynomial, j))));
    const secret = sumShares(polynomials.map(([constant = 0n]) => constant));
    const whole = bls12_381.shortSignatures.sign(messagePoint(MESSAGE), encodeScalar(secret));
    expect(toHex(sign(shares, [1, 2, 3]))).toBe(toHex(own(whole.toBytes())));
  });

  it('need t + 1 of the parties', () => {
    const { shares, published } = joint(2, 4);
    const key = encodePoint(published[0] ?? G2.ZERO);
    expect(verify(key, sign(shares, [1, 2]), MESSAGE)).toBe(false);
    expect(verify(key, sign(shares, [4, 2, 1]), MESSAGE)).toBe(true);
  });

  it('tell which partial signature is wrong', () => {
    const { shares, published } = joint(1, 3);
    const point = messagePoint(MESSAGE);
    const right = signPartially(point, shares[1] ?? 0n);
    expect(isPartialOf(expectedShare(published, 2), point, right)).toBe(true);
    expect(isPartialOf(expectedShare(published, 1), point, right)).toBe(false);
    expect(isPartialOf(expectedShare(published, 2), messagePoint(fromUtf8('another')), right)).toBe(false);
  });

  it('are refused with a key or a signature that is no point, or the identity', () => {
    const { shares, published } = joint(1, 2);
    const key = encodePoint(published[0] ?? G2.ZERO);
    const signature = sign(shares, [1, 2]);
    expect(verify(encodePoint(G2.ZERO), encodePoint(G1.ZERO), MESSAGE)).toBe(false);
    expect(verify(key.subarray(1), signature, MESSAGE)).toBe(false);
    expect(verify(key, signature.subarray(1), MESSAGE)).toBe(false);
    expect(verify(key, new Uint8Array(48).fill(0xff), MESSAGE)).toBe(false);
  });
});
