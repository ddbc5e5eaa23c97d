import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { opensslP256 } from '../../../plugins/verify/math/p256-openssl.ts';
import { decodePoint, nobleP256, Point } from '../../../plugins/verify/math/p256.ts';
import { drawScalar, finish, makeShare, type Group } from '../../../plugins/verify/math/spake2.ts';
import { EMPTY, fromHex, toHex, type Bytes } from '../../../src/bytes.ts';
import { derived } from './vectors.ts';

const noble = nobleP256();
const tables = nobleP256({ tables: true });
const both = [
  ['OpenSSL', opensslP256],
  ['noble', noble],
] as const;
const { order } = noble;
const random = { bytes: (length: number): Bytes => new Uint8Array(randomBytes(length)) };
const draw = (): bigint => BigInt(`0x${toHex(drawScalar(order, random))}`);

/** What comes out, or that nothing may. */
function outcome(call: () => Bytes | undefined): string {
  try {
    const bytes = call();
    return bytes === undefined ? 'refused' : toHex(bytes);
  } catch (error) {
    if (error instanceof RangeError) return 'refused';
    throw error;
  }
}

function results(group: Group, w: bigint, x: bigint, share: Uint8Array): string[] {
  return [
    outcome(() => group.blinded('M', w, x)),
    outcome(() => group.blinded('N', w, x)),
    outcome(() => group.shared('M', w, x, share)),
    outcome(() => group.shared('N', w, x, share)),
  ];
}

describe('OpenSSL and noble', () => {
  it('agree on 1,000 random inputs', { timeout: 120_000 }, () => {
    for (let i = 0; i < 1000; i++) {
      const [w, x] = [draw(), draw()];
      const share = Point.BASE.multiply(draw()).toBytes(false);
      const blind = i % 2 === 0 ? 'M' : 'N';
      expect(toHex(opensslP256.blinded(blind, w, x))).toBe(toHex(tables.blinded(blind, w, x)));
      const k = outcome(() => tables.shared(blind, w, x, share));
      expect(outcome(() => opensslP256.shared(blind, w, x, share))).toBe(k);
      expect(k).toHaveLength(130);
    }
  });

  it('agree with tables and without', () => {
    for (let i = 0; i < 20; i++) {
      const [w, x] = [draw(), draw()];
      const share = opensslP256.blinded('N', draw(), draw());
      expect(results(tables, w, x, share)).toEqual(results(noble, w, x, share));
    }
  });

  const edges = [0n, 1n, 2n, order - 2n, order - 1n, order];
  const names = ['0', '1', '2', 'n-2', 'n-1', 'n'];
  const inside = new Set(['1', '2', 'n-2']);
  const pairs = names.flatMap((w) => names.map((x) => ({ w, x })));

  it.each(pairs)('agree, or both refuse, where w is $w and x is $x', ({ w, x }) => {
    const [wEdge, xEdge] = [edges[names.indexOf(w)] ?? 0n, edges[names.indexOf(x)] ?? 0n];
    const share = Point.BASE.multiply(draw()).toBytes(false);
    const openssl = results(opensslP256, wEdge, xEdge, share);
    expect(openssl).toEqual(results(noble, wEdge, xEdge, share));
    expect(openssl.includes('refused')).toBe(!(inside.has(w) && inside.has(x)));
  });

  it('agree on the edges beside a random scalar', () => {
    for (const edge of [1n, 2n, order - 2n, order - 1n]) {
      const [other, share] = [draw(), Point.BASE.multiply(draw()).toBytes(false)];
      expect(results(opensslP256, edge, other, share)).toEqual(results(noble, edge, other, share));
      expect(results(opensslP256, other, edge, share)).toEqual(results(noble, other, edge, share));
    }
  });

  it('agree where the share less its blinding is the generator or its negative', () => {
    for (const k of [1n, order - 1n]) {
      const [w, x] = [draw(), draw()];
      const share = Point.fromBytes(noble.blinded('M', w, 1n));
      const peer = (k === 1n ? share : share.subtract(Point.BASE.double())).toBytes(false);
      const expected = Point.BASE.multiply((k * x) % order).toBytes(false);
      for (const [, group] of both)
        expect(outcome(() => group.shared('M', w, x, peer))).toBe(toHex(expected));
    }
  });
});

describe.each(both)('a share on P-256, with %s', (_, group) => {
  it.each(derived.refuse.p256)('V-4, V-7: is refused: $why', ({ encoding }) => {
    const w = drawScalar(order, random);
    const own = makeShare(group, 'A', w, random);
    const exchange = { w, own, peerShare: fromHex(encoding), idA: EMPTY, idB: EMPTY };
    expect(finish(group, 'A', exchange)).toBe('bad-share');
  });

  it('V-4: is refused in any other encoding of a point that is fine, or with a bit changed', () => {
    const good = noble.blinded('N', draw(), draw());
    const [w, x] = [draw(), draw()];
    const refused = (share: Uint8Array): boolean => group.shared('N', w, x, share) === undefined;
    expect(refused(good)).toBe(false);
    expect(refused(Point.fromBytes(good).toBytes(true))).toBe(true);
    for (let first = 0; first < 256; first++) {
      if (first !== 4) expect(refused(new Uint8Array([first, ...good.subarray(1)]))).toBe(true);
    }
    for (let bit = 0; bit < 8 * good.length; bit++) {
      const changed = Uint8Array.from(good);
      changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      expect(refused(changed)).toBe(true);
    }
  });
});

it('V-4: takes a coordinate for what it is, not for that plus the field prime', () => {
  const prime = Point.Fp.ORDER;
  const field = (value: bigint): string => value.toString(16).padStart(64, '0');
  // The least x on the curve for which x + p still fits 32 bytes.
  let x = 0n;
  while (decodeCompressed(x) === undefined) x++;
  const y = decodeCompressed(x)?.toAffine().y ?? 0n;
  expect(decodePoint(fromHex(`04${field(x)}${field(y)}`))).toBeDefined();
  expect(x + prime).toBeLessThan(2n ** 256n);
  expect(decodePoint(fromHex(`04${field(x + prime)}${field(y)}`))).toBeUndefined();

  function decodeCompressed(at: bigint): InstanceType<typeof Point> | undefined {
    try {
      return Point.fromHex(`02${field(at)}`);
    } catch {
      return undefined;
    }
  }
});
