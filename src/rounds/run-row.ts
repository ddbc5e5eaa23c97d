/**
 * Run as rows: the head as JSON, bytes in base64, and each slot as a row of its own, so that a step writes what it changed
 * and not all that has been said.
 */
import { z } from 'zod';
import { fromBase64, fromUtf8, toBase64, toUtf8, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { decodeProposal, encodeProposal } from './proposal.ts';
import type { Run } from './run.ts';

const bytes = z.base64().transform(fromBase64);
const index = z.int().min(1).max(0xff);
const ms = z.number();

const head = z.object({
  topic: z.string().regex(/^[0-9a-f]{64}$/),
  proposal: bytes.transform(decodeProposal),
  self: index,
  phase: z.enum(['gathering', 'running', 'done', 'aborted']),
  waitMs: ms,
  deadlineAt: ms,
  askAt: ms,
  asked: z.int(),
  quorumAt: ms,
  nonce: bytes,
  peers: z.array(z.tuple([index, z.object({ nonce: bytes, isLive: z.boolean() })])),
  present: z.array(z.object({ index, nonce: bytes })),
  id: bytes,
  round: z.int().min(0).max(0xff),
  gone: z.array(index),
  blame: z.array(z.object({ party: index, reason: z.string() })),
  end: z.object({ reason: z.string(), by: index, at: ms, isRefused: z.boolean().exactOptional() }).nullable(),
});

const row = z.object({ version: z.literal(1), head });

/** All of it but the slots. */
export function encodeHead(run: Run): Bytes {
  const written = {
    ...run,
    slots: undefined,
    proposal: toBase64(encodeProposal(run.proposal)),
    nonce: toBase64(run.nonce),
    peers: [...run.peers].map(([party, peer]) => [party, { ...peer, nonce: toBase64(peer.nonce) }]),
    present: run.present.map((entry) => ({ ...entry, nonce: toBase64(entry.nonce) })),
    id: toBase64(run.id),
    end: run.end ?? null,
  };
  return fromUtf8(JSON.stringify({ version: 1, head: written }));
}

/** @throws BotError `STORE_DAMAGED` */
export function decodeRun(stored: Uint8Array, slots: ReadonlyMap<string, Bytes>): Run {
  try {
    const { peers, end, ...rest } = row.parse(JSON.parse(toUtf8(stored))).head;
    return { ...rest, peers: new Map(peers), end: end ?? undefined, slots };
  } catch (cause) {
    throw new BotError('STORE_DAMAGED', 'the row of a ceremony is not readable', { cause });
  }
}

/** What must be written so that `after` is stored in place of `before`: undefined deletes a slot. */
export function changesOf(before: Run | undefined, after: Run): Map<string, Bytes | undefined> {
  const changes = new Map<string, Bytes | undefined>();
  for (const [key, value] of after.slots) if (before?.slots.get(key) !== value) changes.set(key, value);
  for (const key of before?.slots.keys() ?? []) if (!after.slots.has(key)) changes.set(key, undefined);
  return changes;
}
