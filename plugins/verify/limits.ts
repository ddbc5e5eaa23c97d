/**
 * Limits: how many guesses a peer and an account have, as pure functions over one counter record.
 *
 * Every code is charged before it is checked, and given back only when the run has succeeded (V-22), so a charge that is
 * still there is a failed guess, or one that may yet become one. The record is stored, and changes in the batch of the
 * transition that charges or refunds; no start, migration or new device of the peer resets it (V-24).
 *
 *   per peer     3 in 24 h lock the peer for 24 h; 5 in a row without success lock it until the operator unlocks
 *   per account  10 in 24 h lock new codes, until one of them is older
 *
 * All runs of mode 2, which has no names yet, count as one peer, apart from mode 1. A lock stops new runs, drops no trust.
 * Spec: verification brief, section 5, V-21 to V-24 and V-26.
 */
import { mac } from './keys.ts';
import type { Aci, Bytes } from '../../src/index.ts';
import { isSame } from './messages/wire.ts';
import { utf8ToBytes } from '@noble/hashes/utils.js';

export const DAY_MS = 86_400_000;
export const PEER_GUESSES = 3;
export const GUESSES_IN_A_ROW = 5;
export const ACCOUNT_GUESSES = 10;

/** Whom a guess counts for: a contact, or all of mode 2. */
export type CounterKey = Aci | 'bare';

export interface Charge {
  readonly peer: CounterKey;
  /** 16 bytes: a run is charged once, and refunded once. */
  readonly runId: Bytes;
  /** ms since 1970. */
  readonly time: number;
}

/** A code that was typed here, as `HMAC-SHA-256(local key, code)`. */
export interface TypedCode {
  readonly hash: Bytes;
  /** ms since 1970. */
  readonly time: number;
}

export interface Counters {
  /** Not refunded, oldest first; older than 48 h are dropped. */
  readonly charges: readonly Charge[];
  /** Since the last success; only peers that have any. */
  readonly inARow: readonly { readonly peer: CounterKey; readonly count: number }[];
  /** Of the last 24 h. */
  readonly typed: readonly TypedCode[];
}

/** `until` undefined: until the operator unlocks. */
export type Gate =
  | { readonly kind: 'open' }
  | { readonly kind: 'locked'; readonly who: 'peer' | 'account'; readonly until: number | undefined };

export const NO_COUNTERS: Counters = { charges: [], inARow: [], typed: [] };

export function counterKey(peer: Aci | undefined): CounterKey {
  return peer ?? 'bare';
}

/** Whether a new run with this peer may start, or a code of theirs be typed. */
export function gateOf(counters: Counters, peer: CounterKey, now: number): Gate {
  if (failuresInARow(counters, peer) >= GUESSES_IN_A_ROW)
    return { kind: 'locked', who: 'peer', until: undefined };
  const peerUntil = peerLock(counters, peer);
  if (peerUntil > now) return { kind: 'locked', who: 'peer', until: peerUntil };
  const accountUntil = peer === 'bare' ? 0 : accountLock(counters, now);
  return accountUntil > now ? { kind: 'locked', who: 'account', until: accountUntil } : { kind: 'open' };
}

/** One guess (V-22). Charging a run again changes nothing, so a repeated transition is safe. */
export function charge(counters: Counters, entry: Charge): Counters {
  if (counters.charges.some(({ runId }) => isSame(runId, entry.runId))) return counters;
  const kept = counters.charges.filter(({ time }) => entry.time - time < 2 * DAY_MS);
  const count = failuresInARow(counters, entry.peer) + 1;
  return { ...counters, charges: [...kept, entry], inARow: withCount(counters, entry.peer, count) };
}

/** A run has succeeded: its guess is given back, and the row of failures is over. Only a run that was charged counts. */
export function refund(counters: Counters, runId: Bytes): Counters {
  const found = counters.charges.find((entry) => isSame(entry.runId, runId));
  if (found === undefined) return counters;
  const charges = counters.charges.filter((entry) => entry !== found);
  return { ...counters, charges, inARow: withCount(counters, found.peer, 0) };
}

/** The operator's word: the peer's guesses are forgotten, and count no more for the account either. */
export function unlock(counters: Counters, peer: CounterKey): Counters {
  const charges = counters.charges.filter((entry) => entry.peer !== peer);
  return { ...counters, charges, inARow: withCount(counters, peer, 0) };
}

/** Charged runs of this peer since the last success; the current one is among them. From 2 on, V-26 warns. */
export function failuresInARow(counters: Counters, peer: CounterKey): number {
  return counters.inARow.find((row) => row.peer === peer)?.count ?? 0;
}

/** @param localKey 32 random bytes of this store, so that the hash tells nobody else the code */
export function hashCode(localKey: Bytes, code: string): Bytes {
  return mac(localKey, utf8ToBytes(code));
}

/** V-21: a code typed a second time would be a second guess for whoever withheld the first run's frames. */
export function wasTyped(counters: Counters, hash: Bytes, now: number): boolean {
  return counters.typed.some((code) => now - code.time < DAY_MS && isSame(code.hash, hash));
}

/** In the batch of the charge. */
export function rememberTyped(counters: Counters, hash: Bytes, now: number): Counters {
  return {
    ...counters,
    typed: [...counters.typed.filter(({ time }) => now - time < DAY_MS), { hash, time: now }],
  };
}

/** What a failed run is told with; never which of the two it was (V-26). @param failures in a row, this one included */
export function failureText(failures: number): string {
  const text = 'The code was mistyped or somebody interfered. Ask for a new code.';
  return failures < 2 ? text : `${text} Repeated failures can be an attack. Meet, or compare safety numbers.`;
}

/** ms until which three guesses within 24 h lock a peer; 0 when there are none such. */
function peerLock({ charges }: Counters, peer: CounterKey): number {
  const times = charges.filter((entry) => entry.peer === peer).map(({ time }) => time);
  const locks = times.flatMap((time, i) => {
    const first = times[i - PEER_GUESSES + 1];
    return first !== undefined && time - first < DAY_MS ? [time + DAY_MS] : [];
  });
  return Math.max(0, ...locks);
}

/** ms when the tenth-last guess of the account is 24 h old; 0 when there are fewer. A clock set back unlocks nothing. */
function accountLock({ charges }: Counters, now: number): number {
  const recent = charges.filter(({ peer, time }) => peer !== 'bare' && now - time < DAY_MS);
  return (recent.at(-ACCOUNT_GUESSES)?.time ?? -DAY_MS) + DAY_MS;
}

function withCount({ inARow }: Counters, peer: CounterKey, count: number): Counters['inARow'] {
  const others = inARow.filter((row) => row.peer !== peer);
  return count === 0 ? others : [...others, { peer, count }];
}
