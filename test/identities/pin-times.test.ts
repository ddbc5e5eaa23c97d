import { describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import { timesAsPin } from '../../src/identities/pin-times.ts';
import { contactOf } from '../../src/identities/state.ts';
import { transition, type TrustChange } from '../../src/identities/transitions.ts';
import type { Identity, Proof } from '../../src/store/identity-row.ts';

const [FIRST, OTHER] = [keyOf(1), keyOf(2)];
const proof: Proof = { kind: 'safety-number', by: 'operator', at: 0 };

function keyOf(n: number): Bytes {
  return new Uint8Array(33).fill(n).fill(5, 0, 1);
}

/** After these changes, one at each of 1, 2, 3, ... */
function after(changes: readonly TrustChange[], row?: Identity): ReturnType<typeof contactOf> {
  return contactOf(changes.reduce((known, change, at) => transition(known, change, at + 1), row));
}

describe('timesAsPin', () => {
  it('tells from when to when a key was the pin', () => {
    const found = { kind: 'substituted', falseKey: FIRST } as const;
    const contact = after([
      { kind: 'seen', key: FIRST, relaxed: false },
      { kind: 'proven', key: OTHER, proof, found },
    ]);
    expect(timesAsPin(contact, FIRST)).toEqual([{ from: 1, to: 2 }]);
    expect(timesAsPin(contact, OTHER)).toEqual([{ from: 2, to: Infinity }]);
  });

  it('counts a candidate from when it is taken, and a key that comes back again', () => {
    const contact = after([
      { kind: 'seen', key: FIRST, relaxed: false },
      { kind: 'seen', key: OTHER, relaxed: false },
      { kind: 'accepted', key: OTHER },
      { kind: 'seen', key: FIRST, relaxed: true },
      { kind: 'revoked', key: FIRST },
    ]);
    expect(timesAsPin(contact, FIRST)).toEqual([
      { from: 1, to: 3 },
      { from: 4, to: Infinity },
    ]);
    expect(timesAsPin(contact, OTHER)).toEqual([{ from: 3, to: 4 }]);
  });

  it('knows the key of an introduction, where it was the first', () => {
    const times = { verifiedAt: 0, notAfter: 0, at: 0 };
    const evidence = { kind: 'introduction', statementId: '', introducer: '' as never, ...times } as const;
    const contact = after([{ kind: 'introduced', key: FIRST, evidence }]);
    expect(timesAsPin(contact, FIRST)).toEqual([{ from: 1, to: Infinity }]);
    expect(timesAsPin(contact, OTHER)).toEqual([]);
  });

  it('takes a key for the pin of the time that a history says nothing of', () => {
    const old: Identity = { key: 'BQ==', state: 'tofu', since: 0 };
    const contact = after([{ kind: 'proven', key: OTHER, proof }], old);
    expect(timesAsPin(contact, FIRST)).toEqual([{ from: 0, to: 1 }]);
    expect(timesAsPin(contact, OTHER)).toEqual([{ from: 1, to: Infinity }]);
  });
});
