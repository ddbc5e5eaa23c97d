/**
 * FROST keys: what one signer holds of an Ed25519 key, and how it is stored (JSON, bytes in hex). The share is a secret.
 * Curve, shares and signatures are noble's.
 */
import { ed25519, ed25519_FROST as frost } from '@noble/curves/ed25519.js';
import { z } from 'zod';
import type { Bytes, Codec } from '../../src/index.ts';

export { frost };

export interface FrostKey {
  /** t: so many sign (RFC 9591, MIN_PARTICIPANTS). */
  readonly min: number;
  /** n */
  readonly max: number;
  /** Ours, from 1 to n. */
  readonly index: number;
  /** 32 bytes, secret. */
  readonly share: Bytes;
  /** Of the polynomial, 32 bytes each, t of them: the first is the public key. */
  readonly commitments: readonly Bytes[];
  /** Public share of each party, 32 bytes, by index from 1. */
  readonly publicShares: readonly Bytes[];
}

const VERSION = 1;
const bytes = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .transform((text): Bytes => new Uint8Array(Buffer.from(text, 'hex')));
const schema = z.object({
  version: z.literal(VERSION),
  min: z.int().min(2),
  max: z.int(),
  index: z.int().min(1),
  share: bytes,
  commitments: z.array(bytes),
  publicShares: z.array(bytes),
});

export const frostKey: Codec<FrostKey> = {
  encode: (key) => new TextEncoder().encode(JSON.stringify({ version: VERSION, ...key }, inHex)),
  decode: (row) => {
    const { min, max, index, share, commitments, publicShares } = schema.parse(
      JSON.parse(new TextDecoder().decode(row)),
    );
    if (commitments.length !== min || publicShares.length !== max || min > max || index > max) {
      throw new RangeError('this is not a key');
    }
    return { min, max, index, share, commitments, publicShares };
  },
};

/**
 * Whether a share that somebody else has cut holds: it is on the polynomial of the commitments, and so are the public
 * shares of all. Else honest parties would be named, by us or as us.
 */
export function holds(key: FrostKey): boolean {
  const { secret, shared } = packages(key);
  try {
    frost.validateSecret(secret, shared); // refuses points that are the identity, or not of the prime order
    const points = key.commitments.map((bytes) => ed25519.Point.fromBytes(bytes));
    return key.publicShares.every((share, i) => {
      const at = BigInt(i + 1);
      const expected = points.reduceRight(
        (sum, point) => sum.multiplyUnsafe(at).add(point),
        ed25519.Point.ZERO,
      );
      return expected.equals(ed25519.Point.fromBytes(share));
    });
  } catch {
    return false; // not a scalar, or not a point
  }
}

/** 32 bytes; signatures verify under it as under any Ed25519 key. */
export function publicKeyOf({ commitments }: Pick<FrostKey, 'commitments'>): Bytes {
  const [first] = commitments;
  if (first === undefined) throw new RangeError('a key has commitments');
  return first;
}

/** As noble's functions take it. */
export function packages({ min, max, index, share, commitments, publicShares }: FrostKey): {
  readonly secret: { identifier: string; signingShare: Bytes };
  readonly shared: {
    signers: { min: number; max: number };
    commitments: Bytes[];
    verifyingShares: Record<string, Bytes>;
  };
} {
  const shares = publicShares.map((point, i) => [identifier(i + 1), copy(point)] as const);
  return {
    secret: { identifier: identifier(index), signingShare: copy(share) },
    shared: {
      signers: { min, max },
      commitments: commitments.map(copy),
      verifyingShares: Object.fromEntries(shares),
    },
  };
}

/** Name of a party in noble's words. */
export function identifier(index: number): string {
  return frost.Identifier.fromNumber(index);
}

/** One that a trusted dealer has cut; the shares are the dealer's to hand out and forget. @param random draws bytes */
export function deal(
  { min, max }: { readonly min: number; readonly max: number },
  random: (length?: number) => Bytes,
): FrostKey[] {
  const indices = Array.from({ length: max }, (_, i) => i + 1);
  const { public: shared, secretShares } = frost.trustedDealer(
    { min, max },
    indices.map(identifier),
    undefined,
    random,
  );
  const of = (point: Uint8Array | undefined): Bytes => copy(point ?? new Uint8Array(0));
  return indices.map((index) => ({
    min,
    max,
    index,
    share: of(secretShares[identifier(index)]?.signingShare),
    commitments: shared.commitments.map(of),
    publicShares: indices.map((other) => of(shared.verifyingShares[identifier(other)])),
  }));
}

function inHex(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

function copy(value: Uint8Array): Bytes {
  return new Uint8Array(value);
}
