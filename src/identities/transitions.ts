/**
 * Transitions: every change of the trust in one contact, as one pure function over its row (verification brief,
 * section 9, V-14 and V-37). The table in test/identities/transitions.test.ts is the section's, line by line.
 *
 * A pin is replaced only by what the user or a run has proven, never by what was merely seen (unless the operator lets
 * first-use keys follow), and a verified pin not by one run alone: the other key becomes the candidate, and a run for
 * the candidate may make it the pin. A candidate may also have come from the directory, and the operator been told: then
 * one run is enough, as section 9's table says ("changed ... for the candidate"), and V-14 ("not already the candidate").
 * That is less than the words of V-14, "one lucky guess overturns no pin", promise where a service shows its key first. A
 * candidate that a run has set is not replaced by one that is merely seen, so that the second run is for the same key.
 */
import { toBase64, type Bytes } from '../bytes.ts';
import type { Evidence, HistoryEntry, Identity, Proof, TrustState } from '../store/identity-row.ts';

export const MAX_EVIDENCE = 50;
export const MAX_HISTORY = 200;
export const MAX_REVOKED = 50;

export type TrustChange =
  /** A key came with a message or from the directory. `relaxed`: the operator lets a first-use key be followed by another. */
  | { readonly kind: 'seen'; readonly key: Bytes; readonly relaxed: boolean }
  /** A run, a safety number or an import has succeeded for this key. */
  | { readonly kind: 'proven'; readonly key: Bytes; readonly proof: Proof; readonly found?: Found }
  | {
      readonly kind: 'introduced';
      readonly key: Bytes;
      readonly evidence: Extract<Evidence, { kind: 'introduction' }>;
    }
  | { readonly kind: 'unintroduced' }
  | { readonly kind: 'revoked'; readonly key: Bytes }
  /** The operator takes the key on first-use terms. */
  | { readonly kind: 'accepted'; readonly key: Bytes };

/** What V-14 found out about a key that is not the proven one. */
export interface Found {
  readonly kind: 'substituted' | 'replaced';
  readonly falseKey: Bytes;
  /** Others that were found with it. */
  readonly alsoFalse?: readonly Bytes[];
}

/** What a row is made of while it is changed. */
interface Draft {
  key: string;
  state: TrustState;
  candidate: string | undefined;
  verified: boolean;
  revoked: readonly string[];
  evidence: readonly Evidence[];
}

/**
 * @param now ms
 * @returns the row as it is now; the same object where nothing changes
 */
export function transition(
  row: Identity | undefined,
  change: TrustChange,
  now: number,
): Identity | undefined {
  const before = draftOf(row);
  const draft = { ...before };
  const event = apply(draft, change, row, now);
  if (event === undefined) return row;
  const key = 'key' in change ? toBase64(change.key) : before.key;
  const entry: HistoryEntry = { at: now, event, from: before.state, to: draft.state, key };
  return rowOf(row, draft, entry, now);
}

/**
 * A run may be noted twice: when its session is opened, and once its last frame is there, which holds that session's first
 * message. The second is no event; its evidence takes the place of the first.
 * @returns undefined where the run is not noted yet, or not of the pin
 */
export function renewEvidence(row: Identity | undefined, change: TrustChange): Identity | undefined {
  if (change.kind !== 'proven' || change.proof.kind !== 'pake') return undefined;
  if (row?.evidence === undefined || row.state !== 'verified' || row.key !== toBase64(change.key))
    return undefined;
  const { proof } = change;
  const at = row.evidence.findIndex((item) => item.kind === 'pake' && item.runId === proof.runId);
  return at < 0 ? undefined : { ...row, evidence: row.evidence.with(at, proof) };
}

/** Changes the draft. @returns what happened, in a word; undefined when nothing did */
function apply(
  draft: Draft,
  change: TrustChange,
  row: Identity | undefined,
  now: number,
): string | undefined {
  switch (change.kind) {
    case 'seen':
      return seen(draft, toBase64(change.key), change.relaxed, row);
    case 'proven':
      return proven(draft, toBase64(change.key), change, row, now);
    case 'introduced':
      return introduced(draft, toBase64(change.key), change.evidence);
    case 'unintroduced':
      if (draft.state !== 'introduced') return undefined;
      draft.state = 'tofu';
      return 'introduction ended';
    case 'revoked':
      return revoked(draft, toBase64(change.key));
    case 'accepted':
      return accepted(draft, toBase64(change.key));
  }
}

function seen(draft: Draft, key: string, relaxed: boolean, row: Identity | undefined): string | undefined {
  if (draft.key === key) return undefined;
  const isBad = draft.revoked.includes(key);
  if (draft.state === 'unknown') {
    draft.key = key;
    draft.state = isBad ? 'revoked' : 'tofu';
    return isBad ? 'revoked key seen' : 'first seen';
  }
  // What is known to be bad is refused, and no reason to doubt the pin: else the middle could end what a run has healed.
  if (isBad || draft.candidate === key) return undefined;
  if (draft.state === 'tofu' && relaxed) {
    draft.key = key;
    return 'replaced by policy';
  }
  // Whoever serves keys must not put one of theirs where a run has put one: the next run would make it the pin (V-14).
  if (isProvenCandidate(row)) return undefined;
  draft.candidate = key;
  if (draft.state !== 'revoked') draft.state = 'changed';
  return 'other key seen';
}

/** Whether it was a proof that contradicted the pin. */
function isProvenCandidate(row: Identity | undefined): boolean {
  const last = row?.history?.findLast(({ key }) => key === row.candidate);
  return row?.candidate !== undefined && last?.event.startsWith('contradicted by ') === true;
}

function proven(
  draft: Draft,
  key: string,
  { proof, found }: Extract<TrustChange, { kind: 'proven' }>,
  row: Identity | undefined,
  now: number,
): string {
  draft.evidence = [...draft.evidence, proof];
  if (!mayPin(draft, key)) {
    draft.candidate = key;
    draft.state = 'changed';
    return `contradicted by ${proof.kind}`;
  }
  for (const falseKey of falseKeysOf(found)) noteFalse(draft, toBase64(falseKey), row, now);
  pin(draft, key);
  draft.state = 'verified';
  draft.verified = true;
  return found === undefined
    ? `verified by ${proof.kind}`
    : `verified by ${proof.kind}, ${found.kind} key healed`;
}

/** Whether a proof for this key makes it the pin; else it contradicts what is known (V-14). */
function mayPin(draft: Draft, key: string): boolean {
  const { state } = draft;
  if (state === 'verified' || state === 'changed') {
    return key === draft.key || (state === 'changed' && key === draft.candidate);
  }
  return !draft.revoked.includes(key);
}

/** A reinstall makes no key bad. */
export function falseKeysOf(found: Found | undefined): readonly Bytes[] {
  return found?.kind === 'substituted' ? [found.falseKey, ...(found.alsoFalse ?? [])] : [];
}

function noteFalse(draft: Draft, falseKey: string, row: Identity | undefined, now: number): void {
  draft.evidence = [...draft.evidence, { kind: 'substituted', key: falseKey, at: now }];
  if (!wasVerifiedPin(row, falseKey)) draft.revoked = withKey(draft.revoked, falseKey);
}

/** Whether this key was ever a verified pin of the contact. */
function wasVerifiedPin(row: Identity | undefined, key: string): boolean {
  if (row?.key === key && (row.verified === true || row.state === 'verified')) return true;
  return (row?.history ?? []).some(
    ({ to, event, key: about }) => to === 'verified' && about === key && event.startsWith('verified by'),
  );
}

function introduced(draft: Draft, key: string, evidence: Evidence): string | undefined {
  const { state } = draft;
  if (draft.revoked.includes(key)) return undefined;
  if (state !== 'unknown' && draft.key !== key) {
    if (state === 'verified' || state === 'changed' || state === 'revoked') return undefined;
    draft.candidate = key;
    draft.state = 'changed';
    return 'introduction of another key';
  }
  draft.evidence = [...draft.evidence, evidence];
  if (state === 'unknown') draft.key = key;
  if (state === 'unknown' || state === 'tofu') draft.state = 'introduced';
  return 'introduced';
}

function revoked(draft: Draft, key: string): string {
  draft.revoked = withKey(draft.revoked, key);
  if (draft.candidate === key) draft.candidate = undefined;
  if (draft.key === key) draft.state = 'revoked';
  return 'key revoked by the operator';
}

function accepted(draft: Draft, key: string): string | undefined {
  const { state } = draft;
  const isListed = draft.revoked.includes(key);
  const isPin = key === draft.key && (state === 'changed' || state === 'revoked');
  if (key !== draft.candidate && !isPin) {
    if (!isListed) return undefined;
    draft.revoked = without(draft.revoked, key);
    return 'key taken off the revoked list';
  }
  pin(draft, key);
  draft.state = 'tofu';
  draft.verified = false;
  return 'accepted by the operator';
}

function pin(draft: Draft, key: string): void {
  draft.key = key;
  draft.candidate = undefined;
  draft.revoked = without(draft.revoked, key);
}

function withKey(keys: readonly string[], key: string): readonly string[] {
  return keys.includes(key) ? keys : [...keys, key].slice(-MAX_REVOKED);
}

function without(keys: readonly string[], key: string): readonly string[] {
  return keys.filter((other) => other !== key);
}

function draftOf(row: Identity | undefined): Draft {
  return {
    key: row?.key ?? '',
    state: row?.state ?? 'unknown',
    candidate: row?.candidate,
    // Rows from before there was this field were never verified in another state.
    verified: row?.verified ?? row?.state === 'verified',
    revoked: row?.revoked ?? [],
    evidence: row?.evidence ?? [],
  };
}

function rowOf(row: Identity | undefined, draft: Draft, entry: HistoryEntry, now: number): Identity {
  const { key, state, candidate, verified, revoked, evidence } = draft;
  const samePin = row?.key === key;
  const hadOther = row !== undefined && row.key !== '' && !samePin;
  const replacedAt = hadOther ? now : row?.replacedAt;
  return {
    key,
    state,
    since: row?.state === state && samePin ? row.since : now,
    ...(replacedAt === undefined ? {} : { replacedAt }),
    ...(candidate === undefined ? {} : { candidate }),
    ...(verified ? { verified } : {}),
    ...(revoked.length === 0 ? {} : { revoked }),
    // Signed under the old key: another pin has to show its own.
    ...(row?.pni === undefined || !samePin ? {} : { pni: row.pni }),
    ...(evidence.length === 0 ? {} : { evidence: evidence.slice(-MAX_EVIDENCE) }),
    history: [...(row?.history ?? []), entry].slice(-MAX_HISTORY),
    ...(row?.hold === undefined ? {} : { hold: row.hold }),
    ...(row?.boundTo === undefined ? {} : { boundTo: row.boundTo }),
  };
}
