/**
 * What a peer sends as a share: whatever the bytes, it is refused or it is the one encoding of a group element.
 */
import { ECDH } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as edwards from '../../plugins/verify/math/edwards25519.ts';
import * as p256 from '../../plugins/verify/math/p256.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);
/** A few points are enough: it is their encodings that vary. */
const multiples = Array.from({ length: 16 }, (_, i) => 3n ** BigInt(10 * i));
const overwrite = fc.record({ at: fc.nat(70), value: fc.nat(255) });

/** Good shares, good ones with some bytes changed, cut or grown, and noise. */
function shares(good: fc.Arbitrary<Uint8Array>, length: number): fc.Arbitrary<Uint8Array> {
  const changed = fc.tuple(good, fc.array(overwrite, { maxLength: 2 })).map(([bytes, changes]) => {
    const copy = Uint8Array.from(bytes);
    for (const { at, value } of changes) copy[at % copy.length] = value;
    return copy;
  });
  const resized = fc
    .tuple(good, fc.nat(length + 2))
    .map(([bytes, size]) => Uint8Array.from({ length: size }, (_, i) => bytes[i] ?? 0));
  const noise = fc.uint8Array({ minLength: length, maxLength: length });
  return fc.oneof(good, changed, resized, noise, fc.uint8Array({ maxLength: 100 }));
}

function isTakenByOpenssl(bytes: Uint8Array): boolean {
  if (bytes.length !== p256.SHARE_BYTES || bytes[0] !== 4) return false;
  try {
    ECDH.convertKey(bytes, 'prime256v1');
    return true;
  } catch {
    return false;
  }
}

describe('a share', () => {
  it('V-4: on P-256 is decoded where OpenSSL decodes it, and is then its own encoding', () => {
    const good = fc.constantFrom(...multiples.map((k) => p256.Point.BASE.multiply(k).toBytes(false)));
    fc.assert(
      fc.property(shares(good, p256.SHARE_BYTES), (bytes) => {
        const point = p256.decodePoint(bytes);
        expect(point !== undefined).toBe(isTakenByOpenssl(bytes));
        if (point !== undefined) expect(p256.encodePoint(point)).toEqual(Uint8Array.from(bytes));
      }),
      { numRuns },
    );
  });

  it(
    'V-5: on edwards25519 is refused, or is its own encoding and of prime order',
    { timeout: 30_000 + 10 * numRuns },
    () => {
      const points = multiples.map((k) => edwards.Point.BASE.multiply(k));
      const good = fc.constantFrom(...points.map((point) => point.toBytes()));
      const torsion = edwards.Point.fromHex(`ec${'ff'.repeat(30)}7f`);
      const withTorsion = fc.constantFrom(...points.map((point) => point.add(torsion).toBytes()));
      const all = fc.oneof(shares(good, edwards.POINT_BYTES), withTorsion);
      fc.assert(
        fc.property(all, (bytes) => {
          const point = edwards.decodePoint(bytes);
          if (point === undefined) return;
          expect(edwards.encodePoint(point)).toEqual(Uint8Array.from(bytes));
          expect(point.is0()).toBe(false);
          expect(point.multiply(edwards.Point.Fn.ORDER - 1n).equals(point.negate())).toBe(true);
        }),
        { numRuns },
      );
    },
  );
});
