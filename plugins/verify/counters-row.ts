/**
 * Counters as a row: JSON with bytes in hex. A row that cannot be read is not taken for an empty one, or damage would
 * give guesses back (V-24): whoever reads undefined lets no run start until the operator unlocks.
 */
import { bytesToHex, hexToBytes } from '@noble/curves/utils.js';
import { z } from 'zod';
import type { Aci, Bytes } from '../../src/index.ts';
import type { Counters } from './limits.ts';

const hex = z
  .string()
  .regex(/^([0-9a-f]{2})*$/)
  .transform(hexToBytes);
const peer = z.string().transform((text) => text as Aci | 'bare');
const ms = z.number();

const row = z.object({
  version: z.literal(1),
  charges: z.array(z.object({ peer, runId: hex, time: ms })),
  inARow: z.array(z.object({ peer, count: z.int().min(1) })),
  typed: z.array(z.object({ hash: hex, time: ms })),
});

export function encodeCounters({ charges, inARow, typed }: Counters): Bytes {
  const text = JSON.stringify({
    version: 1,
    charges: charges.map((entry) => ({ ...entry, runId: bytesToHex(entry.runId) })),
    inARow,
    typed: typed.map((code) => ({ ...code, hash: bytesToHex(code.hash) })),
  });
  return new TextEncoder().encode(text);
}

/** @returns undefined when this is no record that this version knows */
export function decodeCounters(bytes: Uint8Array): Counters | undefined {
  try {
    const parsed = row.safeParse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
    if (!parsed.success) return undefined;
    const { charges, inARow, typed } = parsed.data;
    return { charges, inARow, typed };
  } catch {
    return undefined;
  }
}
