/**
 * The fixed points are nobody's choice: they come from seeds, here once more.
 */
import { createHash, hkdfSync } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { ed448 } from '@noble/curves/ed448.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { describe, expect, it } from 'vitest';
import { RFC_POINTS } from '../../../plugins/verify/math/edwards25519.ts';
import { FIXED_POINTS } from '../../../plugins/verify/math/p256.ts';
import { SUITE2_POINTS } from '../../../plugins/verify/math/suite2.ts';
import { fromHex, toHex, type Bytes } from '../../../src/bytes.ts';
import { rfc, suite2 } from './vectors.ts';

interface Decoder {
  /** Bytes of an encoded point. */
  readonly length: number;
  /** Sets what a hash cannot know: the SEC1 head, the unused bits of edwards448. */
  readonly shape: (bytes: Bytes) => Bytes;
  /** Throws unless this is a point of the prime-order group other than the identity. */
  readonly decode: (bytes: Bytes) => void;
}

const sec1 = (bytes: Bytes): Bytes => new Uint8Array([((bytes[0] ?? 0) & 1) | 2, ...bytes.subarray(1)]);

const DECODERS: Readonly<Record<string, Decoder>> = {
  'P-256': { length: 33, shape: sec1, decode: (bytes) => p256.Point.fromBytes(bytes) },
  'P-384': { length: 49, shape: sec1, decode: (bytes) => p384.Point.fromBytes(bytes) },
  'P-521': { length: 67, shape: sec1, decode: (bytes) => p521.Point.fromBytes(bytes) },
  edwards25519: {
    length: 32,
    shape: (bytes) => bytes,
    decode: (bytes) => {
      subgroup(ed25519.Point.fromBytes(bytes));
    },
  },
  edwards448: {
    length: 57,
    shape: (bytes) => new Uint8Array([...bytes.subarray(0, 56), (bytes[56] ?? 0) & 0x80]),
    decode: (bytes) => {
      subgroup(ed448.Point.fromBytes(bytes));
    },
  },
};

function subgroup(point: { is0(): boolean; isTorsionFree(): boolean }): void {
  if (point.is0() || !point.isTorsionFree()) throw new Error('not in the prime-order group');
}

/** RFC 9382, Appendix A: hashes of hashes of the seed, from each on in turn, until they are a point. */
function fromSeed(seed: string, { length, shape, decode }: Decoder): { point: string; block: number } {
  const blocks: Buffer[] = [Buffer.from(seed)];
  const block = (index: number): Buffer => {
    while (blocks.length <= index) blocks.push(createHash('sha256').update(last(blocks)).digest());
    return blocks[index] ?? Buffer.alloc(0);
  };
  for (let index = 1; index < 1000; index++) {
    const hashes = Array.from({ length: Math.ceil(length / 32) }, (_, i) => block(index + i));
    const bytes = shape(Uint8Array.from(Buffer.concat(hashes).subarray(0, length)));
    try {
      decode(bytes);
      return { point: toHex(bytes), block: index };
    } catch {
      continue;
    }
  }
  throw new Error('no point in 1,000 blocks');
}

function last(blocks: readonly Buffer[]): Buffer {
  return blocks.at(-1) ?? Buffer.alloc(0);
}

describe('the fixed points of RFC 9382', () => {
  it.each(Object.entries(rfc.constants.groups))('come from their seeds: %s', (name, group) => {
    const decoder = DECODERS[name];
    if (decoder === undefined) throw new Error(`no decoder for ${name}`);
    expect(fromSeed(group.seedM, decoder)).toEqual({ point: group.M, block: group.firstBlockM });
    expect(fromSeed(group.seedN, decoder)).toEqual({ point: group.N, block: group.firstBlockN });
  });

  it('are the ones in use', () => {
    expect(FIXED_POINTS).toEqual(pick(rfc.constants.groups['P-256']));
    expect(RFC_POINTS).toEqual(pick(rfc.constants.groups['edwards25519']));
  });
});

function pick(group: { M: string; N: string } | undefined): { M?: string; N?: string } {
  return group === undefined ? {} : { M: group.M, N: group.N };
}

/** python-spake2: y from a hash of the seed, then the next ones, until there is a point; the cofactor is cleared. */
function arbitraryElement(seed: Uint8Array): string {
  const { Fp } = ed25519.Point;
  const hash = toHex(new Uint8Array(hkdfSync('sha256', seed, '', 'SPAKE2 arbitrary element', 48)));
  for (let y = BigInt(`0x${hash}`) % Fp.ORDER; ; y = (y + 1n) % Fp.ORDER) {
    try {
      const point = ed25519.Point.fromBytes(Fp.toBytes(y)).clearCofactor();
      if (!point.is0()) return point.toHex();
    } catch {
      continue;
    }
  }
}

describe('the fixed points of suite 2', () => {
  it.each(suite2.arbitraryElement)('come from their seeds: "$seed"', ({ seed, element }) => {
    expect(arbitraryElement(fromHex(seed))).toBe(element);
  });

  it('are the ones in use', () => {
    expect(suite2.constants).toMatchObject(SUITE2_POINTS);
    const derived = (seed: string): string => arbitraryElement(Buffer.from(seed));
    expect(SUITE2_POINTS).toEqual({ M: derived('M'), N: derived('N'), S: derived('symmetric') });
  });
});
