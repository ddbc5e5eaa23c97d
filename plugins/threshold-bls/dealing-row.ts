/**
 * Rows of a dealing: its state as the runtime stores it between rounds, JSON with bytes in hex. It holds the polynomial and
 * shares; it stands in what no backup has, and goes with the ceremony.
 */
import { z } from 'zod';
import type { Bytes, Codec } from '../../src/index.ts';
import type { DealingState } from './dealing.ts';
import { fromHex, toHex } from './key-share.ts';
import { decodeScalar, encodeScalar } from './math/curve.ts';

const bytes = z
  .string()
  .regex(/^([0-9a-f]{2})*$/)
  .transform(fromHex);
const scalar = bytes.transform((value, context) => {
  const decoded = decodeScalar(value);
  if (decoded === undefined) context.addIssue({ code: 'custom', message: 'not a scalar' });
  return decoded ?? 0n;
});
const polynomial = z.array(scalar);
const byParty = z
  .array(z.tuple([z.int(), bytes]))
  .transform((entries): ReadonlyMap<number, Bytes> => new Map(entries));
const schema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('committed'), polynomial, opening: bytes }),
  z.object({ kind: z.literal('opened'), polynomial, opening: bytes, hashes: byParty }),
  z.object({ kind: z.literal('shared'), polynomial, openings: byParty }),
  z.object({ kind: z.literal('dealt'), share: scalar, openings: byParty }),
]);

export const dealingState: Codec<DealingState> = {
  encode: (state) => new TextEncoder().encode(JSON.stringify(state, (_, value: unknown) => plain(value))),
  decode: (row) => schema.parse(JSON.parse(new TextDecoder().decode(row))),
};

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return toHex(encodeScalar(value));
  if (value instanceof Uint8Array) return toHex(value);
  return value instanceof Map ? [...(value as Map<unknown, unknown>)] : value;
}
