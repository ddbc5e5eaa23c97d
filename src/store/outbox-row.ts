/**
 * Outbox rows: what each kind of message asks of the outbox. Whoever leaves a row makes it here.
 */
import type { DeviceId, ServiceId } from '../address.ts';
import { EMPTY, type Bytes } from '../bytes.ts';
import type { OutboxKind, OutboxRow, Policy } from './rows.ts';
import { outboxRows } from './tables.ts';

export interface NewRow {
  readonly recipient: ServiceId;
  /** ms; never given twice. */
  readonly timestamp: number;
  readonly kind: OutboxKind;
  /** Content, not padded; empty for a retry request. */
  readonly content: Bytes;
  /** Only these get it, the others a filler. */
  readonly devices?: readonly DeviceId[];
  readonly tag?: string;
  /** Kind `retry`: a serialized PlaintextContent. */
  readonly plaintext?: Bytes;
  /** What is asked of the recipient; `tofu` if unsaid. */
  readonly policy?: Policy;
  /** A verification frame that goes by the carrier. */
  readonly carrier?: boolean;
  /** False: not even what is logged of its kind. */
  readonly logged?: boolean;
}

/** What people wait for wakes phones and is kept for resends; only texts are shown on our own other devices. */
const TRAITS: Readonly<Record<OutboxKind, { urgent: boolean; log: boolean; transcript: boolean }>> = {
  text: { urgent: true, log: true, transcript: true },
  app: { urgent: true, log: true, transcript: false },
  announce: { urgent: false, log: true, transcript: false },
  receipt: { urgent: false, log: false, transcript: false },
  sync: { urgent: false, log: true, transcript: false },
  null: { urgent: false, log: false, transcript: false },
  retry: { urgent: false, log: false, transcript: false },
  resend: { urgent: true, log: false, transcript: false },
};

export function newRow({ policy = 'tofu', carrier = false, logged = true, ...row }: NewRow): OutboxRow {
  const traits = TRAITS[row.kind];
  return {
    devices: [],
    tag: '',
    plaintext: EMPTY,
    ...row,
    ...traits,
    // A retry request is answered in the ordinary session, where a frame of the carrier has no business.
    log: traits.log && logged && !carrier,
    ...(policy === 'tofu' ? {} : { policy }),
    ...(carrier ? { carrier } : {}),
    attempts: 0,
    retryAt: 0,
    state: 'queued',
    error: '',
  };
}

/** What a row asks of its recipient. */
export function policyOf({ policy = '' }: { readonly policy?: OutboxRow['policy'] | undefined }): Policy {
  return policy === '' ? 'tofu' : policy;
}

/** Which row a key of the outbox names. */
export function readOutboxKey(key: string): Pick<OutboxRow, 'recipient' | 'timestamp'> {
  const [recipient, timestamp] = key.slice(outboxRows.key().length).split('/');
  return { recipient: recipient as ServiceId, timestamp: Number(timestamp) };
}
