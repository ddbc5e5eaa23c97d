import { describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { toBase64, type Bytes } from '../../src/bytes.ts';
import {
  MAX_EVIDENCE,
  MAX_HISTORY,
  MAX_REVOKED,
  renewEvidence,
  transition,
  type TrustChange,
} from '../../src/identities/transitions.ts';
import type { Identity, Proof, TrustState } from '../../src/store/identity-row.ts';

const NOW = 1_700_000_000_000;
const [PIN, OTHER, THIRD] = [keyOf(1), keyOf(2), keyOf(3)];
const PAKE: Proof = {
  kind: 'pake',
  runId: '00'.repeat(16),
  vh: '11'.repeat(32),
  role: 'A',
  suite: 1,
  codeFormat: 1,
  device: 2,
  at: NOW,
};
const STATEMENT = {
  kind: 'introduction',
  statementId: '22'.repeat(16),
  introducer: parseAci('5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01'),
  verifiedAt: NOW,
  notAfter: NOW + 1,
  at: NOW,
} as const;

function keyOf(n: number): Bytes {
  return new Uint8Array(33).fill(n).fill(5, 0, 1);
}

/** A row in a state, with PIN as its pin and OTHER as the candidate of `changed`. */
function rowIn(state: TrustState, extra: Partial<Identity> = {}): Identity | undefined {
  if (state === 'unknown')
    return Object.keys(extra).length === 0 ? undefined : { key: '', state, since: 1, ...extra };
  return {
    key: toBase64(PIN),
    state,
    since: 1,
    ...(state === 'changed' ? { candidate: toBase64(OTHER) } : {}),
    ...(state === 'verified' ? { verified: true } : {}),
    ...(state === 'revoked' ? { revoked: [toBase64(PIN)] } : {}),
    ...extra,
  };
}

const seen = (key: Bytes, relaxed = false): TrustChange => ({ kind: 'seen', key, relaxed });
const proven = (key: Bytes): TrustChange => ({ kind: 'proven', key, proof: PAKE });
const introduced = (key: Bytes): TrustChange => ({ kind: 'introduced', key, evidence: STATEMENT });
const revoked = (key: Bytes): TrustChange => ({ kind: 'revoked', key });
const accepted = (key: Bytes): TrustChange => ({ kind: 'accepted', key });

type Line = readonly [
  from: TrustState,
  change: TrustChange,
  to: TrustState | 'same',
  pin?: Bytes | undefined,
  candidate?: Bytes | undefined,
  extra?: Partial<Identity> | undefined,
];
const bad = (key: Bytes): Partial<Identity> => ({ revoked: [toBase64(key)] });

describe('replacedAt', () => {
  it('is when a key took the place of another one, and stays', () => {
    const first = transition(undefined, seen(PIN), 5);
    expect(first?.replacedAt).toBeUndefined();
    const followed = transition(first, seen(OTHER, true), 6);
    expect(followed).toMatchObject({ key: toBase64(OTHER), replacedAt: 6 });
    const verified = transition(followed, proven(OTHER), 7);
    expect(verified?.replacedAt).toBe(6);
    const accepted3 = transition(transition(verified, seen(THIRD), 8), accepted(THIRD), 9);
    expect(accepted3).toMatchObject({ state: 'tofu', replacedAt: 9 });
  });
});

/** The table of section 9 with V-14 and V-37; `same`: the row stays as it is, byte by byte. */
const TABLE: Readonly<Record<string, readonly Line[]>> = {
  'a key is seen': [
    ['unknown', seen(PIN), 'tofu', PIN],
    ['unknown', seen(PIN), 'revoked', PIN, undefined, bad(PIN)],
    ['tofu', seen(PIN), 'same'],
    ['tofu', seen(OTHER), 'changed', PIN, OTHER],
    ['tofu', seen(OTHER, true), 'tofu', OTHER],
    ['introduced', seen(OTHER), 'changed', PIN, OTHER],
    ['introduced', seen(OTHER, true), 'changed', PIN, OTHER],
    ['verified', seen(PIN), 'same'],
    ['verified', seen(OTHER), 'changed', PIN, OTHER],
    ['verified', seen(OTHER, true), 'changed', PIN, OTHER],
    ['verified', seen(OTHER), 'same', PIN, undefined, bad(OTHER)],
    ['changed', seen(PIN), 'same'],
    ['changed', seen(OTHER), 'same'],
    ['changed', seen(THIRD), 'changed', PIN, THIRD],
    ['revoked', seen(OTHER), 'revoked', PIN, OTHER],
  ],
  'a run, safety number or import succeeds': [
    ['unknown', proven(PIN), 'verified', PIN],
    ['unknown', proven(PIN), 'changed', undefined, PIN, bad(PIN)],
    ['tofu', proven(PIN), 'verified', PIN],
    ['tofu', proven(OTHER), 'verified', OTHER],
    ['tofu', proven(OTHER), 'changed', PIN, OTHER, bad(OTHER)],
    ['introduced', proven(OTHER), 'verified', OTHER],
    ['revoked', proven(OTHER), 'verified', OTHER],
    ['revoked', proven(PIN), 'changed', PIN, PIN],
    ['verified', proven(PIN), 'verified', PIN],
    ['verified', proven(OTHER), 'changed', PIN, OTHER],
    ['changed', proven(PIN), 'verified', PIN],
    ['changed', proven(OTHER), 'verified', OTHER],
    ['changed', proven(OTHER), 'verified', OTHER, undefined, bad(OTHER)],
    ['changed', proven(THIRD), 'changed', PIN, THIRD],
  ],
  'an introduction comes or ends': [
    ['unknown', introduced(PIN), 'introduced', PIN],
    ['unknown', introduced(PIN), 'same', undefined, undefined, bad(PIN)],
    ['tofu', introduced(PIN), 'introduced', PIN],
    ['tofu', introduced(OTHER), 'changed', PIN, OTHER],
    ['introduced', introduced(PIN), 'introduced', PIN],
    ['introduced', introduced(OTHER), 'changed', PIN, OTHER],
    ['verified', introduced(PIN), 'verified', PIN],
    ['verified', introduced(OTHER), 'same'],
    ['changed', introduced(THIRD), 'same'],
    ['revoked', introduced(OTHER), 'same'],
    ['introduced', { kind: 'unintroduced' }, 'tofu', PIN],
    ['verified', { kind: 'unintroduced' }, 'same'],
    ['unknown', { kind: 'unintroduced' }, 'same'],
  ],
  'the operator names a key': [
    ['unknown', revoked(PIN), 'unknown'],
    ['tofu', revoked(PIN), 'revoked', PIN],
    ['verified', revoked(PIN), 'revoked', PIN],
    ['verified', revoked(OTHER), 'verified', PIN],
    ['changed', revoked(OTHER), 'changed', PIN],
    ['changed', accepted(OTHER), 'tofu', OTHER],
    ['changed', accepted(PIN), 'tofu', PIN],
    ['changed', accepted(THIRD), 'same'],
    ['revoked', accepted(PIN), 'tofu', PIN],
    ['tofu', accepted(OTHER), 'same'],
    ['verified', accepted(PIN), 'same'],
    ['verified', accepted(OTHER), 'verified', PIN, undefined, bad(OTHER)],
  ],
};

describe('the transitions of trust', () => {
  for (const [event, lines] of Object.entries(TABLE)) {
    describe(event, () => {
      lines.forEach(([from, change, to, pin, candidate, extra], i) => {
        it(`V-29: ${from} -> ${to} (line ${String(i + 1)})`, () => {
          const row = rowIn(from, extra);
          const next = transition(row, change, NOW);
          if (to === 'same') {
            expect(next).toBe(row);
            return;
          }
          expect(next?.state).toBe(to);
          expect(next?.key).toBe(pin === undefined ? '' : toBase64(pin));
          expect(next?.candidate).toBe(candidate && toBase64(candidate));
          expect(next?.history?.at(-1)).toMatchObject({ at: NOW, from, to });
          if (to === 'verified' && pin !== undefined)
            expect(next?.revoked ?? []).not.toContain(toBase64(pin));
          if (change.kind === 'proven') expect(next?.evidence).toContainEqual(PAKE);
        });
      });
    });
  }

  it('V-14: two runs replace a verified pin, one does not', () => {
    const once = transition(rowIn('verified'), proven(OTHER), NOW);
    expect(once).toMatchObject({ state: 'changed', key: toBase64(PIN), verified: true });
    const twice = transition(once, proven(OTHER), NOW + 1);
    expect(twice).toMatchObject({ state: 'verified', key: toBase64(OTHER) });
  });

  it('V-14: a candidate that a run has set is not replaced by a key that is merely seen', () => {
    const once = transition(rowIn('verified'), proven(OTHER), NOW);
    expect(transition(once, seen(THIRD), NOW + 1)).toBe(once);
    const twice = transition(once, proven(THIRD), NOW + 1);
    expect(twice).toMatchObject({ state: 'changed', key: toBase64(PIN), candidate: toBase64(THIRD) });
    const shown = transition(rowIn('verified'), seen(OTHER), NOW);
    expect(transition(shown, seen(THIRD), NOW + 1)).toMatchObject({ candidate: toBase64(THIRD) });
  });

  it('V-14: a false key is noted and revoked, unless it was a verified pin', () => {
    const found = { kind: 'substituted', falseKey: PIN } as const;
    const healed = transition(rowIn('tofu'), { kind: 'proven', key: OTHER, proof: PAKE, found }, NOW);
    expect(healed).toMatchObject({ state: 'verified', key: toBase64(OTHER), revoked: [toBase64(PIN)] });
    expect(healed?.evidence).toContainEqual({ kind: 'substituted', key: toBase64(PIN), at: NOW });

    const before = transition(rowIn('verified'), seen(OTHER), NOW);
    const after = transition(before, { kind: 'proven', key: OTHER, proof: PAKE, found }, NOW);
    expect(after?.state).toBe('verified');
    expect(after?.revoked).toBeUndefined();
  });

  it('takes the verified mark away when the operator accepts on first-use terms, and says so in the history', () => {
    const changed = transition(rowIn('verified'), seen(OTHER), NOW);
    const accepted = transition(changed, { kind: 'accepted', key: OTHER }, NOW + 1);
    expect(accepted?.verified).toBeUndefined();
    expect(accepted?.history?.map(({ from, to }) => `${from} ${to}`)).toEqual([
      'verified changed',
      'changed tofu',
    ]);
  });

  it('reads rows from before there was evidence', () => {
    const old = { key: toBase64(PIN), state: 'changed', since: 1, candidate: toBase64(OTHER) } as const;
    expect(transition(old, proven(OTHER), NOW)).toMatchObject({ state: 'verified', key: toBase64(OTHER) });
    const verified = { key: toBase64(PIN), state: 'verified', since: 1 } as const;
    expect(transition(verified, seen(OTHER), NOW)).toMatchObject({ state: 'changed', verified: true });
  });

  it('keeps a binding of a PNI as long as the pin', () => {
    const pni = { pni: 'PNI:5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01', key: '', at: 1 } as NonNullable<
      Identity['pni']
    >;
    const row = rowIn('tofu', { pni });
    expect(transition(row, proven(PIN), NOW)?.pni).toBe(pni);
    expect(transition(row, proven(OTHER), NOW)?.pni).toBeUndefined();
  });

  it('bounds what it keeps', () => {
    let row = rowIn('verified');
    for (let i = 0; i < MAX_HISTORY + 20; i++) {
      row = transition(row, proven(PIN), NOW + i);
      row = transition(row, revoked(keyOf(10 + (i % 100))), NOW + i);
    }
    expect(row?.history).toHaveLength(MAX_HISTORY);
    expect(row?.evidence).toHaveLength(MAX_EVIDENCE);
    expect(row?.revoked).toHaveLength(MAX_REVOKED);
  });
});

describe('a run that is noted twice', () => {
  const row = transition(undefined, proven(PIN), NOW);
  const whole = { ...PAKE, vh: '33'.repeat(32) };

  it('has its newer evidence in the place of the older, and nothing else', () => {
    const renewed = renewEvidence(row, { kind: 'proven', key: PIN, proof: whole });
    expect(renewed).toEqual({ ...row, evidence: [whole] });
  });

  it('is a run of its own for another key, another run id, or before it was noted', () => {
    const other = { ...whole, runId: '01'.repeat(16) };
    for (const change of [
      { kind: 'proven', key: OTHER, proof: whole },
      { kind: 'proven', key: PIN, proof: other },
      { kind: 'proven', key: PIN, proof: { kind: 'safety-number', by: 'operator', at: NOW } },
      seen(PIN),
    ] as const)
      expect(renewEvidence(row, change)).toBeUndefined();
    const before = renewEvidence(undefined, { kind: 'proven', key: PIN, proof: whole });
    expect(before).toBeUndefined();
  });
});

describe('keys that were substituted together', () => {
  it('V-14: are all noted, and each revoked unless it was a verified pin', () => {
    const found = { kind: 'substituted', falseKey: OTHER, alsoFalse: [PIN, keyOf(4)] } as const;
    const held = rowIn('changed', { candidate: toBase64(THIRD), verified: true });
    const after = transition(held, { kind: 'proven', key: THIRD, proof: PAKE, found }, NOW);
    expect(after?.revoked).toEqual([toBase64(OTHER), toBase64(keyOf(4))]);
    const noted = after?.evidence?.flatMap((item) => (item.kind === 'substituted' ? [item.key] : []));
    expect(noted).toEqual([OTHER, PIN, keyOf(4)].map(toBase64));
  });

  it('V-14: are bad to nobody where they are only out of date', () => {
    const found = { kind: 'replaced', falseKey: PIN, alsoFalse: [OTHER] } as const;
    const after = transition(rowIn('tofu'), { kind: 'proven', key: THIRD, proof: PAKE, found }, NOW);
    expect(after?.revoked).toBeUndefined();
    expect(after?.evidence).toEqual([PAKE]);
  });
});
