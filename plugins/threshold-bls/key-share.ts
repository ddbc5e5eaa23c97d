/**
 * Key share: what one party holds of a joint key, and how it is stored (JSON, bytes in hex). It is a secret: it stands in
 * the encrypted store and is written elsewhere only by `bls export`.
 */
import { z } from 'zod';
import type { Bytes } from '../../src/index.ts';
import {
  decodeG2,
  decodeScalar,
  encodePoint,
  encodeScalar,
  hashParts,
  PUBLIC_KEY_SIZE,
  type G2Point,
} from './math/curve.ts';

/** Most parties of a key. */
export const MAX_PARTIES = 64;

export interface KeyShare {
  /** t: t + 1 parties sign. */
  readonly threshold: number;
  /** n */
  readonly parties: number;
  /** Ours, from 1 to n. */
  readonly index: number;
  /** 0 after the generation, one more after each refresh. */
  readonly epoch: number;
  readonly share: bigint;
  /** Of the joint polynomial, t + 1 of them: the first is the public key. */
  readonly commitments: readonly G2Point[];
}

const VERSION = 1;
const hex = z.string().regex(/^([0-9a-f]{2})*$/);
const rowSchema = z.object({
  version: z.literal(VERSION),
  threshold: z.int().min(1),
  parties: z.int().max(MAX_PARTIES),
  index: z.int().min(1),
  epoch: z.int().min(0),
  share: hex,
  commitments: hex,
});

/** 96 bytes. */
export function publicKeyOf({ commitments }: Pick<KeyShare, 'commitments'>): Bytes {
  return encodePoints(commitments).subarray(0, PUBLIC_KEY_SIZE);
}

/** Names the joint polynomial of a share, 32 bytes: two refreshes from one epoch make two. */
export function sharingOf({ commitments }: Pick<KeyShare, 'commitments'>): Bytes {
  return sharingFrom(encodePoints(commitments));
}

/** The same of commitments in bytes, 96 each. */
export function sharingFrom(commitments: Uint8Array): Bytes {
  return hashParts('countersign bls sharing v1', [commitments]);
}

/** What is public of a share, with its points as they are stored: checked when they were stored, 5 ms each, and not again. */
export type ShareOutline = Pick<KeyShare, 'threshold' | 'index' | 'epoch'> & {
  /** 96 bytes each. */
  readonly commitments: Bytes;
};

export function encodeKeyShare({ share, commitments, ...rest }: KeyShare): Bytes {
  const row = { version: VERSION, ...rest, share: toHex(encodeScalar(share)) };
  return new TextEncoder().encode(JSON.stringify({ ...row, commitments: toHex(encodePoints(commitments)) }));
}

/** @throws Error when it is not a share of this version */
export function decodeKeyShare(bytes: Uint8Array): KeyShare {
  const row = rowSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  const { threshold, parties, index, epoch } = row;
  const share = decodeScalar(fromHex(row.share));
  const commitments = decodePoints(fromHex(row.commitments));
  if (share === undefined || commitments?.length !== threshold + 1 || index > parties) {
    throw new Error('this is not a share of a key');
  }
  return { threshold, parties, index, epoch, share, commitments };
}

/** @param row a stored share, as JSON has it @throws Error when it is not one of this version */
export function outlineOf(row: unknown): ShareOutline {
  const { threshold, index, epoch, commitments } = rowSchema.parse(row);
  return { threshold, index, epoch, commitments: fromHex(commitments) };
}

/** 96 bytes each, one behind the other. */
export function encodePoints(points: readonly G2Point[]): Bytes {
  const bytes = new Uint8Array(points.length * PUBLIC_KEY_SIZE);
  for (const [i, point] of points.entries()) bytes.set(encodePoint(point), i * PUBLIC_KEY_SIZE);
  return bytes;
}

/** @param options whether the first may be the identity @returns undefined when one of them is no point of the group */
export function decodePoints(
  bytes: Uint8Array,
  options: { identityFirst?: boolean } = {},
): G2Point[] | undefined {
  if (bytes.length % PUBLIC_KEY_SIZE !== 0) return undefined;
  const points: G2Point[] = [];
  for (let at = 0; at < bytes.length; at += PUBLIC_KEY_SIZE) {
    const identity = at === 0 && options.identityFirst === true;
    const point = decodeG2(bytes.subarray(at, at + PUBLIC_KEY_SIZE), { identity });
    if (point === undefined) return undefined;
    points.push(point);
  }
  return points;
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function fromHex(text: string): Bytes {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
