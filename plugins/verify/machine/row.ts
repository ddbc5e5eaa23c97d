/**
 * Rows: a slot as it is stored, JSON with bytes in base64. A row that this version cannot read is undefined, and whoever
 * reads it burns it: a run is over sooner than guessed at. Backups hold none of them (V-16).
 */
import { z } from 'zod';
import type { Aci, Bytes, Pni } from '../../../src/index.ts';
import { ABORT, type AbortReason } from '../messages/frame.ts';
import type { Slot } from './slot.ts';
import type { CloseReason } from './state.ts';

const VERSION = 1;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REASONS: readonly CloseReason[] = [
  'rejected',
  'expired',
  'cancelled',
  'aborted',
  'superseded',
  'unsupported',
  'contradicted',
  'misnamed',
  'leaked',
];

const bytes = z.base64().transform((text): Bytes => {
  const pooled = Buffer.from(text, 'base64');
  const copy = new Uint8Array(pooled);
  pooled.fill(0);
  return copy;
});
const aci = z
  .string()
  .regex(UUID)
  .transform((text) => text as Aci);
const pniId = z
  .string()
  .refine((text) => text.startsWith('PNI:') && UUID.test(text.slice('PNI:'.length)))
  .transform((text) => text as Pni);
const device = z.int().min(1).max(127);
const ms = z.int();
const count = z.int().min(0);
/** Absent fields are undefined ones: JSON knows no other. */
const maybe = <T>(schema: z.ZodType<T>): z.ZodType<T | undefined> =>
  z.union([schema, z.null()]).transform((value) => value ?? undefined);

const terms = z.object({
  suite: z.literal([1, 2]),
  mode: z.literal([1, 2]),
  profile: z.literal([1, 2]),
  format: z.literal([1, 2, 3]),
});
const share = z.object({ secret: bytes, share: bytes });
const party = z.object({ aci, device, identityKey: bytes, check: maybe(z.string()) });
const pni = z.object({ pni: pniId, key: bytes, signatureByPni: bytes, signatureByAci: bytes });
const own = z.object({
  ...{ aci, device, registrationId: count, identityKey: bytes },
  ...{ mayBeIntroduced: z.boolean(), pni: maybe(pni) },
});
const prekeys = z.object({ prekey: bytes, signedPrekey: bytes, kyberPrekey: bytes });

const run = { runId: bytes, terms, peer: maybe(aci), peerDevice: maybe(device), deadline: ms };
const ownRun = { ...run, own };
const seenKeys = z.array(bytes);
const bound = {
  ...ownRun,
  offer: bytes,
  reply: bytes,
  prk: bytes,
  view: maybe(bytes),
  seenKeys,
  repeats: count,
};
const offered = {
  ...{ ...ownRun, offer: bytes, channel: bytes, w: bytes, share, nonce: bytes },
  refused: z.array(device).default([]), // rows of before have none
};
const confirming = {
  isLow: z.boolean(),
  hello: bytes,
  peerHello: bytes,
  confirm: bytes,
  expected: bytes,
  prk: bytes,
};

const verifiedRow = z.object({
  ...{ kind: z.literal('verified'), ...run },
  ...{ party, acceptHash: bytes, done: bytes, repeats: count },
});
const acceptedRow = z.object({
  ...{ kind: z.literal('accepted'), ...run, party, proofHash: bytes, accept: bytes },
  ...{ doneMac: bytes, hasOpened: z.boolean(), repeats: count },
});
const tailRow = z.discriminatedUnion('kind', [verifiedRow, acceptedRow]);

const runRow = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('offered'), ...offered }),
  z.object({ kind: z.literal('checking'), ...offered, reply: bytes, seenKeys }),
  z.object({ kind: z.literal('proved'), ...bound, proof: bytes, nonce: bytes, prekeys: maybe(prekeys) }),
  verifiedRow,
  z.object({ kind: z.literal('ringing'), ...run, offer: bytes, seenKeys, isTyping: z.boolean() }),
  z.object({ kind: z.literal('replied'), ...bound, expected: bytes, wantsSession: z.boolean() }),
  acceptedRow,
  z.object({ kind: z.literal('finished'), runId: bytes, party, isAcknowledged: z.boolean() }),
  z.object({ kind: z.literal('greeting'), ...ownRun, channel: bytes, password: bytes, share, hello: bytes }),
  z.object({ kind: z.literal('confirming'), ...ownRun, ...confirming, repeats: count }),
  z.object({
    ...{ kind: z.literal('closed'), runId: bytes, reason: z.enum(REASONS) },
    abort: maybe(z.enum(Object.keys(ABORT) as AbortReason[])),
  }),
]);

const slotRow = z.object({ version: z.literal(VERSION), run: maybe(runRow), tail: maybe(tailRow) });

export function encodeSlot(slot: Slot): Bytes {
  return new TextEncoder().encode(JSON.stringify(plain({ version: VERSION, ...slot })));
}

/** @returns undefined when this is no slot that this version knows */
export function decodeSlot(row: Uint8Array): Slot | undefined {
  const parsed = slotRow.safeParse(jsonOf(row));
  return parsed.success ? { run: parsed.data.run, tail: parsed.data.tail } : undefined;
}

/** Bytes as base64, and null where a field is undefined. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value ?? null;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

function jsonOf(row: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(row)) as unknown;
  } catch {
    return undefined;
  }
}
