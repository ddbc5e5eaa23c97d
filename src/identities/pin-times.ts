/**
 * Pin times: when a key was the one that messages to a contact were sealed for, as the contact's history tells.
 */
import { toBase64, type Bytes } from '../bytes.ts';
import type { HistoryEntry } from '../store/identity-row.ts';
import type { ContactIdentity } from './state.ts';

/** ms, both ends included. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * The times at which `key` was the pin. A history that does not begin with the first key (rows are older than their
 * history, and it has 200 entries at most) says nothing of the time before: then it counts as the pin of that time, unless
 * the history tells later how it became the pin.
 */
export function timesAsPin({ history }: Pick<ContactIdentity, 'history'>, key: Bytes): readonly Span[] {
  const text = toBase64(key);
  const pins = history.filter(isPinned);
  const spans: Span[] = [];
  const isKnownFrom = history[0]?.from === 'unknown' || pins.some((entry) => entry.key === text);
  let from = isKnownFrom ? undefined : 0;
  for (const { at, key: pin } of pins) {
    if (pin === text) from ??= at;
    else if (from !== undefined) {
      spans.push({ from, to: at });
      from = undefined;
    }
  }
  return from === undefined ? spans : [...spans, { from, to: Infinity }];
}

/** Whether the entry's key is the pin from then on; events are those of `transitions.ts`. */
function isPinned({ event, from }: HistoryEntry): boolean {
  if (event === 'introduced') return from === 'unknown';
  return PINNING.includes(event) || event.startsWith('verified by ');
}

const PINNING: readonly string[] = [
  'first seen',
  'revoked key seen',
  'replaced by policy',
  'accepted by the operator',
];
