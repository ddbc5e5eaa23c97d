/**
 * State: what is known of one contact's identity key, as callers see it (verification brief, section 9).
 */
import { fromBase64, type Bytes } from '../bytes.ts';
import type { Evidence, HistoryEntry, Identity, PniBinding, TrustState } from '../store/identity-row.ts';

/** What is known of one contact's identity. */
export interface ContactIdentity {
  readonly state: TrustState;
  /** 33 bytes; undefined while `unknown`. Messages are sealed for this key and opened under it, and no other. */
  readonly pin: Bytes | undefined;
  /** ms; when the state was entered. */
  readonly since: number | undefined;
  /**
   * ms; when the pin took the place of another one; undefined where it is the first. It is a timestamp such as our messages
   * have: those of before are earlier, also where the clock was put back since, by up to a day.
   */
  readonly replacedAt: number | undefined;
  /** 33 bytes: a different key that appeared and is not trusted. */
  readonly candidate: Bytes | undefined;
  /** Whether the pin was ever verified, also while the state is `changed`. */
  readonly wasVerified: boolean;
  /** Keys that are known to be bad, 33 bytes each. */
  readonly revoked: readonly Bytes[];
  readonly pni: PniBinding | undefined;
  /** Oldest first, at most 50. */
  readonly evidence: readonly Evidence[];
  /** Oldest first, at most 200. */
  readonly history: readonly HistoryEntry[];
}

/** Reads a row; of a contact without one nothing is known. */
export function contactOf(row: Identity | undefined): ContactIdentity {
  const { key = '', state = 'unknown', since, candidate, verified = false } = row ?? {};
  return {
    state,
    pin: key === '' ? undefined : fromBase64(key),
    since,
    replacedAt: row?.replacedAt,
    candidate: candidate === undefined ? undefined : fromBase64(candidate),
    wasVerified: verified || state === 'verified',
    revoked: (row?.revoked ?? []).map(fromBase64),
    pni: row?.pni,
    evidence: row?.evidence ?? [],
    history: row?.history ?? [],
  };
}
