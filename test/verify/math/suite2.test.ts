import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Point, rfcEdwards25519 } from '../../../plugins/verify/math/edwards25519.ts';
import { finish, makeShare } from '../../../plugins/verify/math/spake2.ts';
import {
  finishRole,
  finishSymmetric,
  passwordToScalar,
  roleKey,
  startSuite2,
  SUITE2_POINTS,
  suite2ShareOf,
  symmetricKey,
  type Side,
} from '../../../plugins/verify/math/suite2.ts';
import { EMPTY, fromHex, fromUtf8, toHex, type Bytes } from '../../../src/bytes.ts';
import { derived, suite2 } from './vectors.ts';

const random = { bytes: (length: number): Bytes => new Uint8Array(randomBytes(length)) };
const PASSWORD = fromUtf8('482913');
const ORDER = Point.Fn.ORDER;

/** The rows' scalars are little-endian, ours are big-endian. */
function scalar(hex: string): Bytes {
  return fromHex(hex).reverse();
}

/** python's sampler: 64 bytes, big-endian, mod the order. */
function fromEntropy(hex: string): Bytes {
  return fromHex((BigInt(`0x${hex}`) % ORDER).toString(16).padStart(64, '0'));
}

it('V-7, V-8: has all rows of python-spake2, and the encodings to be refused', () => {
  expect([suite2.symmetric.length, suite2.asymmetric.length]).toEqual([23, 10]);
  expect([suite2.passwordToScalar.length, suite2.finalize.length]).toEqual([6, 2]);
  const { p256, edwards25519 } = derived.refuse;
  expect([p256.length, edwards25519.length]).toEqual([12, 19]);
  const sized = edwards25519.filter(({ encoding }) => encoding.length === 64);
  expect(sized).toHaveLength(16); // of which a peer library accepts 15
});

describe('suite 2, symmetric', () => {
  it.each(suite2.symmetric)('V-8: gives the row of python-spake2 on both sides: msg1 $msg1', (row) => {
    const password = fromHex(row.password);
    const id = fromHex(row.idSymmetric);
    expect(passwordToScalar(password)).toEqual(scalar(row.w));
    expect([fromEntropy(row.entropy1), fromEntropy(row.entropy2)]).toEqual([scalar(row.x), scalar(row.y)]);
    const [one, two] = [row.x, row.y].map((secret) => ({
      secret: scalar(secret),
      share: suite2ShareOf('S', password, scalar(secret)),
    }));
    if (one === undefined || two === undefined) throw new Error('unreachable');
    expect([toHex(one.share), toHex(two.share)]).toEqual([row.msg1, row.msg2]);
    expect(finishSymmetric({ password, own: one, peerShare: two.share, id })).toEqual(fromHex(row.key));
    expect(finishSymmetric({ password, own: two, peerShare: one.share, id })).toEqual(fromHex(row.key));
    expect([row.msg1.slice(2), row.msg2.slice(2)].sort()[0]).toBe(row.sortedFirst);
    const shares = [one.share.subarray(1), two.share.subarray(1)] as const;
    expect(toHex(symmetricKey(id, { password, shares, k: fromHex(row.K) }))).toBe(row.key);
  });

  it('V-6: names its own share a reflection, and refuses one whose K is the identity', () => {
    const own = startSuite2('S', PASSWORD, random);
    const exchange = { password: PASSWORD, own, id: EMPTY };
    expect(finishSymmetric({ ...exchange, peerShare: own.share })).toBe('reflection');
    expect(finishSymmetric({ ...exchange, peerShare: blindingOnly('S') })).toBe('bad-share');
  });

  it('disagrees under another password or another identity', () => {
    const [own, peer] = [startSuite2('S', PASSWORD, random), startSuite2('S', PASSWORD, random)];
    const exchange = { password: PASSWORD, own, peerShare: peer.share, id: EMPTY };
    const key = finishSymmetric(exchange);
    expect(key).toHaveLength(32);
    expect(finishSymmetric({ ...exchange, own: peer, peerShare: own.share })).toEqual(key);
    expect(finishSymmetric({ ...exchange, password: fromUtf8('482914') })).not.toEqual(key);
    expect(finishSymmetric({ ...exchange, id: fromUtf8('x') })).not.toEqual(key);
  });
});

describe('suite 2, with roles', () => {
  it.each(suite2.asymmetric)('V-8: gives the row of python-spake2 in both roles: A $msgA', (row) => {
    const password = fromHex(row.password);
    const ids = { idA: fromHex(row.idA), idB: fromHex(row.idB) };
    expect([fromEntropy(row.entropy1), fromEntropy(row.entropy2)]).toEqual([scalar(row.x), scalar(row.y)]);
    const a = { secret: scalar(row.x), share: suite2ShareOf('A', password, scalar(row.x)) };
    const b = { secret: scalar(row.y), share: suite2ShareOf('B', password, scalar(row.y)) };
    expect([toHex(a.share), toHex(b.share)]).toEqual([row.msgA, row.msgB]);
    expect(finishRole('A', { password, own: a, peerShare: b.share, ...ids })).toEqual(fromHex(row.key));
    expect(finishRole('B', { password, own: b, peerShare: a.share, ...ids })).toEqual(fromHex(row.key));
    const shares = [a.share.subarray(1), b.share.subarray(1)] as const;
    expect(toHex(roleKey(ids.idA, ids.idB, { password, shares, k: fromHex(row.K) }))).toBe(row.key);
  });

  it('V-6: names its own share a reflection, and refuses one whose K is the identity', () => {
    const own = startSuite2('A', PASSWORD, random);
    const exchange = { password: PASSWORD, own, idA: EMPTY, idB: EMPTY };
    expect(finishRole('A', { ...exchange, peerShare: own.share })).toBe('reflection');
    expect(finishRole('A', { ...exchange, peerShare: blindingOnly('B') })).toBe('bad-share');
  });

  it('takes the share of the other role only', () => {
    const [own, peer] = [startSuite2('A', PASSWORD, random), startSuite2('B', PASSWORD, random)];
    const exchange = { password: PASSWORD, own, idA: EMPTY, idB: EMPTY };
    expect(finishRole('A', { ...exchange, peerShare: peer.share })).toHaveLength(32);
    for (const side of [0x41, 0x53, 0x00]) {
      const peerShare = new Uint8Array([side, ...peer.share.subarray(1)]);
      expect(finishRole('A', { ...exchange, peerShare })).toBe('bad-share');
    }
  });
});

describe("suite 2's parts", () => {
  it.each(suite2.passwordToScalar)('V-8: turn the password "$password" into its scalar', (row) => {
    expect(passwordToScalar(fromHex(row.password))).toEqual(scalar(row.scalarLE));
  });

  it.each(suite2.finalize)('V-8: hash the published transcript: $kind', (row) => {
    const [password, k] = [fromHex(row.password), fromHex(row.K)];
    if (row.kind === 'symmetric') {
      const [one, two] = [fromHex(row.msg1), fromHex(row.msg2)];
      const id = fromHex(row.idSymmetric);
      expect(toHex(symmetricKey(id, { password, shares: [one, two], k }))).toBe(row.key);
      expect(toHex(symmetricKey(id, { password, shares: [two, one], k }))).toBe(row.key);
    } else {
      const shares = [fromHex(row.X), fromHex(row.Y)] as const;
      expect(toHex(roleKey(fromHex(row.idA), fromHex(row.idB), { password, shares, k }))).toBe(row.key);
    }
  });

  it('refuse a secret that is out of range', () => {
    for (const bad of [0n, ORDER - 1n, ORDER]) {
      const secret = fromHex(bad.toString(16).padStart(64, '0'));
      expect(() => suite2ShareOf('S', PASSWORD, secret)).toThrow(RangeError);
    }
  });
});

describe('a share on edwards25519', () => {
  it.each(derived.refuse.edwards25519)('V-5, V-7: is refused by either suite: $why', ({ encoding }) => {
    const point = fromHex(encoding);
    const own = startSuite2('S', PASSWORD, random);
    const peerShare = new Uint8Array([0x53, ...point]);
    expect(finishSymmetric({ password: PASSWORD, own, peerShare, id: EMPTY })).toBe('bad-share');

    const group = rfcEdwards25519();
    const w = passwordToScalar(PASSWORD);
    const rfcOwn = makeShare(group, 'A', w, random);
    const exchange = { w, own: rfcOwn, peerShare: point, idA: EMPTY, idB: EMPTY };
    expect(finish(group, 'A', exchange)).toBe('bad-share');
  });

  it('V-5: is refused when torsion was added to one that is fine', () => {
    const own = startSuite2('S', PASSWORD, random);
    const peer = Point.fromBytes(startSuite2('S', PASSWORD, random).share.subarray(1));
    const order8 = derived.refuse.edwards25519.find(({ why }) => why.startsWith('small order (multiple 1 '));
    let torsion = Point.fromHex(order8?.encoding ?? '');
    const outcomes: unknown[] = [];
    for (let i = 0; i < 8; i++) {
      const peerShare = new Uint8Array([0x53, ...peer.add(torsion).toBytes()]);
      outcomes.push(finishSymmetric({ password: PASSWORD, own, peerShare, id: EMPTY }));
      torsion = torsion.add(Point.fromHex(order8?.encoding ?? ''));
    }
    // Eight times the point is the identity: there the share is as it was.
    expect(outcomes.slice(0, 7)).toEqual(Array.from({ length: 7 }, () => 'bad-share'));
    expect(outcomes[7]).toHaveLength(32);
  });
});

/** w times the blinding point of a side, so that nothing is left without it. */
function blindingOnly(side: Side): Bytes {
  const [byte, point] = {
    A: [0x41, SUITE2_POINTS.M],
    B: [0x42, SUITE2_POINTS.N],
    S: [0x53, SUITE2_POINTS.S],
  }[side] as [number, string];
  const w = BigInt(`0x${toHex(passwordToScalar(PASSWORD))}`);
  return new Uint8Array([byte, ...Point.fromHex(point).multiply(w).toBytes()]);
}
