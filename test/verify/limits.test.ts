import { describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import { fromUtf8, type Bytes } from '../../src/bytes.ts';
import { decodeCounters, encodeCounters } from '../../plugins/verify/counters-row.ts';
import {
  charge,
  counterKey,
  DAY_MS,
  failuresInARow,
  failureText,
  gateOf,
  hashCode,
  NO_COUNTERS,
  refund,
  rememberTyped,
  unlock,
  wasTyped,
  type CounterKey,
  type Counters,
} from '../../plugins/verify/limits.ts';

const bob = '00000000-0000-4000-8000-00000000000b' as Aci;
const carol = '00000000-0000-4000-8000-00000000000c' as Aci;
const HOUR = 3_600_000;
const OPEN = { kind: 'open' };

const run = (n: number): Bytes => new Uint8Array(16).fill(n);

/** Charges at these times, with the run ids 1, 2, 3 and so on, each through its row. */
function charged(peer: CounterKey, ...times: number[]): Counters {
  return times.reduce(
    (counters, time, i) => stored(charge(counters, { peer, runId: run(i + 1), time })),
    NO_COUNTERS,
  );
}

function stored(counters: Counters): Counters {
  const decoded = decodeCounters(encodeCounters(counters));
  if (decoded === undefined) throw new Error('the row cannot be read');
  return decoded;
}

describe('guesses', () => {
  it('V-22: are charged once per run, and given back only for a run that succeeded', () => {
    const once = charge(NO_COUNTERS, { peer: bob, runId: run(1), time: 0 });
    expect(charge(once, { peer: bob, runId: run(1), time: 5 })).toBe(once);
    expect(failuresInARow(once, bob)).toBe(1);
    expect(refund(once, run(2))).toBe(once);
    const back = refund(once, run(1));
    expect(back.charges).toEqual([]);
    expect(failuresInARow(back, bob)).toBe(0);
    expect(refund(back, run(1))).toBe(back);
  });

  it('V-21, V-23: count for a day', () => {
    expect(DAY_MS).toBe(24 * HOUR);
  });

  it('V-23: lock a peer for 24 h after the third within 24 h', () => {
    const two = charged(bob, 0, HOUR);
    expect(gateOf(two, bob, HOUR)).toEqual(OPEN);
    const three = charged(bob, 0, HOUR, 2 * HOUR);
    expect(gateOf(three, bob, 2 * HOUR)).toEqual({ kind: 'locked', who: 'peer', until: 2 * HOUR + DAY_MS });
    expect(gateOf(three, bob, 2 * HOUR + DAY_MS - 1)).toMatchObject({ kind: 'locked' });
    expect(gateOf(three, bob, 2 * HOUR + DAY_MS)).toEqual(OPEN);
    expect(gateOf(three, carol, 2 * HOUR)).toEqual(OPEN);
    expect(gateOf(charged(bob, 0, HOUR, DAY_MS), bob, DAY_MS)).toEqual(OPEN); // not within 24 h
    expect(gateOf(refund(three, run(3)), bob, 2 * HOUR)).toEqual(OPEN);
  });

  it('V-23: lock a peer until the operator unlocks after five in a row without success', () => {
    const times = [0, 1, 2, 3, 4].map((n) => n * 2 * DAY_MS);
    const five = charged(bob, ...times);
    const later = 1000 * DAY_MS;
    expect(gateOf(charged(bob, ...times.slice(0, 4)), bob, later)).toEqual(OPEN);
    expect(gateOf(five, bob, later)).toEqual({ kind: 'locked', who: 'peer', until: undefined });
    expect(gateOf(unlock(five, bob), bob, later)).toEqual(OPEN);
    const success = refund(charged(bob, ...times.slice(0, 4)), run(4));
    const again = charge(success, { peer: bob, runId: run(9), time: later });
    expect(gateOf(again, bob, later)).toEqual(OPEN);
  });

  it('V-23: lock new codes of the account at ten in 24 h', () => {
    let counters = NO_COUNTERS;
    for (let i = 0; i < 10; i++) {
      expect(gateOf(counters, carol, i)).toEqual(OPEN);
      const peer = `00000000-0000-4000-8000-0000000001${String(i).padStart(2, '0')}` as Aci;
      counters = charge(counters, { peer, runId: run(i), time: i });
    }
    expect(gateOf(counters, carol, 10)).toEqual({ kind: 'locked', who: 'account', until: DAY_MS });
    expect(gateOf(counters, carol, DAY_MS)).toEqual(OPEN);
  });

  it('V-23: count all runs of mode 2 as one peer, apart from mode 1', () => {
    expect(counterKey(undefined)).toBe('bare');
    const bare = charged('bare', 0, 0, 0);
    expect(gateOf(bare, 'bare', 1)).toMatchObject({ kind: 'locked', who: 'peer' });
    expect(gateOf(bare, bob, 1)).toEqual(OPEN);
    const many = charged('bare', ...Array.from({ length: 10 }, () => 0));
    expect(gateOf(many, bob, 1)).toEqual(OPEN);
  });

  it('V-24: survive a row and a clock that is set back, and are listed with their times', () => {
    const three = charged(bob, HOUR, 2 * HOUR, 3 * HOUR);
    expect(stored(three)).toEqual(three);
    expect(three.charges.map(({ time }) => time)).toEqual([HOUR, 2 * HOUR, 3 * HOUR]);
    expect(gateOf(three, bob, 0)).toMatchObject({ kind: 'locked' });
    expect(gateOf(charge(three, { peer: bob, runId: run(4), time: 0 }), bob, 0)).toMatchObject({
      kind: 'locked',
    });
  });

  it('V-24: are not taken for none where the row is damaged', () => {
    for (const text of ['', '{}', 'null', '{"version":2,"charges":[],"inARow":[],"typed":[]}']) {
      expect(decodeCounters(fromUtf8(text))).toBeUndefined();
    }
  });

  it('V-21: remember a typed code for 24 h, under a local key', () => {
    const [key, other] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const hash = hashCode(key, '482913');
    const counters = stored(rememberTyped(NO_COUNTERS, hash, 0));
    expect(wasTyped(counters, hash, DAY_MS - 1)).toBe(true);
    expect(wasTyped(counters, hash, DAY_MS)).toBe(false);
    expect(wasTyped(counters, hashCode(key, '482914'), 0)).toBe(false);
    expect(wasTyped(counters, hashCode(other, '482913'), 0)).toBe(false);
    expect(rememberTyped(counters, hash, DAY_MS).typed).toHaveLength(1);
  });

  it('V-26: are told without saying which of the two it was, and from the second on with what to do', () => {
    expect(failureText(1)).toBe('The code was mistyped or somebody interfered. Ask for a new code.');
    expect(failureText(2)).toMatch(/Repeated failures can be an attack\. Meet, or compare safety numbers\.$/);
  });

  it('are kept within bounds, however many runs fail', () => {
    let counters = NO_COUNTERS;
    for (let i = 0; i < 300; i++) {
      const runId = Uint8Array.of(i >>> 8, i & 0xff, ...run(0).subarray(2));
      counters = charge(counters, { peer: bob, runId, time: i * HOUR });
    }
    expect(counters.charges.length).toBeLessThanOrEqual(48);
  });
});
