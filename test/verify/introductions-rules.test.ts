/** Which introductions count: section 10, rule by rule, and what several of them mean together. */
import { describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import type { ContactIdentity } from '../../src/identities/state.ts';
import { contactOf } from '../../src/identities/state.ts';
import { ownKeyOf } from '../../src/trust/own-key.ts';
import {
  judge,
  judgeRevocation,
  MAX_AHEAD_MS,
  MAX_LIFE_MS,
  MAX_SUBJECTS,
  type View,
} from '../../plugins/verify/introductions/acceptance.ts';
import { contradicts, settle, type Live } from '../../plugins/verify/introductions/settlement.ts';
import {
  decodeStatement,
  encodeStatement,
  type Signed,
  type Statement,
} from '../../plugins/verify/introductions/statement.ts';
import { makePeer } from '../support/peer.ts';
import { DAY, T0 } from './support/member.ts';

const [alice, bob, carol, mallory] = [
  ownKeyOf((await makePeer()).account),
  ownKeyOf((await makePeer()).account),
  ownKeyOf((await makePeer()).account),
  ownKeyOf((await makePeer()).account),
];

const statement: Statement = {
  ...{ kind: 'introduction', id: new Uint8Array(16).fill(7) },
  ...{ introducer: alice.aci, introducerKey: alice.identityKey },
  ...{ subject: bob.aci, subjectKey: bob.identityKey, method: 'pake', verifiedAt: T0 - (T0 % DAY) },
  ...{ issuedAt: T0, notAfter: T0 + 30 * DAY, audience: { kind: 'aci', aci: carol.aci }, depth: 0 },
  bundle: undefined,
};

/** Where Carol gets it, who has verified Alice. */
const view: View = {
  ...{ own: carol.aci, now: T0 + 1, introducer: { state: 'verified', pin: alice.identityKey } },
  ...{
    isShared: false,
    isRevoked: false,
    isHeld: false,
    otherSubjects: 0,
    isDirectory: false,
    directKey: undefined,
  },
};

function signed(change: Partial<Statement>, by: Signer = alice): Signed {
  const signer = by === 'nobody' ? undefined : by;
  const decoded = decodeStatement(encodeStatement({ ...statement, ...change }, signer));
  if (decoded === undefined) throw new Error('unreadable');
  return decoded;
}

const group = { kind: 'group', id: new Uint8Array(32).fill(3) } as const;
const introducer = (
  state: ContactIdentity['state'],
  pin: Bytes | undefined = alice.identityKey,
): Partial<View> => ({
  introducer: { state, pin },
});

type Signer = typeof alice | 'nobody';
type Line = readonly [
  what: string,
  verdict: string,
  change: Partial<Statement>,
  view?: Partial<View>,
  by?: Signer,
];

const lines: readonly Line[] = [
  ['V-34: from a verified introducer, for us', 'used', {}],
  ['V-34: from a contact of whom only the first key was seen', 'introducer', {}, introducer('tofu')],
  ['V-34: from somebody of whom nothing is known', 'introducer', {}, introducer('unknown', undefined)],
  ['V-34: from an introducer whose key has changed', 'introducer', {}, introducer('changed')],
  ['V-34: from an introducer whose key is revoked', 'introducer', {}, introducer('revoked')],
  [
    'V-34: from an introducer with another key than the pin',
    'introducer',
    {},
    introducer('verified', mallory.identityKey),
  ],
  ['V-34: signed by another key than the pin', 'signature', {}, {}, mallory],
  ['V-34: about us', 'self', { subject: carol.aci }],
  ['V-34: from us', 'self', { introducer: carol.aci }],
  ['V-34: about the introducer', 'self', { subject: alice.aci }],
  ['V-34: for another contact', 'audience', { audience: { kind: 'aci', aci: mallory.aci } }],
  ['V-34: for a group that both are in', 'used', { audience: group }, { isShared: true }],
  ['V-34: replayed to a group that not both are in', 'audience', { audience: group }],
  ['V-34: issued ten minutes ahead', 'used', { issuedAt: view.now + MAX_AHEAD_MS }],
  ['V-34: issued more than ten minutes ahead', 'dates', { issuedAt: view.now + MAX_AHEAD_MS + 1 }],
  ['V-34: for ninety days', 'used', { notAfter: T0 + MAX_LIFE_MS }],
  ['V-34: for more than ninety days', 'dates', { notAfter: T0 + MAX_LIFE_MS + 1 }],
  ['V-34: that ends before it begins', 'dates', { notAfter: T0 }],
  ['V-34: in its last moment', 'used', { notAfter: view.now + 1 }],
  ['V-34: expired', 'expired', {}, { now: statement.notAfter }],
  ['V-34: revoked', 'revoked', {}, { isRevoked: true }],
  ['V-34: of a chain', 'depth', { depth: 1 }],
  ['V-35: from a contact who is introduced themselves', 'shown', {}, introducer('introduced')],
  ['V-35: about the fiftieth contact of the introducer', 'used', {}, { otherSubjects: MAX_SUBJECTS - 1 }],
  ['V-35: about one contact more', 'subjects', {}, { otherSubjects: MAX_SUBJECTS }],
  [
    'V-35: about one more, of a key directory',
    'used',
    {},
    { otherSubjects: MAX_SUBJECTS, isDirectory: true },
  ],
  ['unsigned, from the introducer directly', 'used', {}, { directKey: alice.identityKey }, 'nobody'],
  ['unsigned, in a session under another key', 'signature', {}, { directKey: mallory.identityKey }, 'nobody'],
  ['unsigned, handed on by somebody else', 'signature', {}, {}, 'nobody'],
];

it('V-34, V-35: has ten minutes, ninety days and fifty contacts for its limits', () => {
  expect([MAX_AHEAD_MS, MAX_LIFE_MS, MAX_SUBJECTS]).toEqual([10 * 60_000, 90 * 24 * 3_600_000, 50]);
});

describe('an introduction', () => {
  for (const [what, verdict, change, seen = {}, by = alice] of lines) {
    it(`${what}: ${verdict}`, () => {
      expect(judge(signed(change, by), { ...view, ...seen })).toBe(verdict);
    });
  }
});

describe('a revocation', () => {
  const revocation: Partial<Statement> = { kind: 'revocation' };
  const cases: readonly Line[] = [
    ['V-39: by the introducer', 'used', {}],
    ['V-39: by somebody else', 'signature', {}, {}, mallory],
    [
      'V-39: by an introducer who is not verified any more, of what we hold',
      'used',
      {},
      { ...introducer('tofu'), isHeld: true },
    ],
    ['V-39: by somebody who is not verified, of what we do not hold', 'introducer', {}, introducer('tofu')],
    ['V-39: for a group that we have left', 'used', { audience: group }],
    ['V-39: that has expired', 'expired', {}, { now: statement.notAfter }],
    ['V-39: from the future', 'dates', { issuedAt: view.now + MAX_AHEAD_MS + 1 }],
  ];
  for (const [what, verdict, change, seen = {}, by = alice] of cases) {
    it(`${what}: ${verdict}`, () => {
      expect(judgeRevocation(signed({ ...revocation, ...change }, by), { ...view, ...seen })).toBe(verdict);
    });
  }
});

describe('the introductions of one contact', () => {
  const says = (by: typeof alice, key: Bytes, id = by.aci): Live => ({
    introducer: by.aci,
    id,
    subjectKey: key,
  });
  const known = (state: ContactIdentity['state'], key = bob.identityKey): ContactIdentity => ({
    ...contactOf({ key: state === 'unknown' ? '' : Buffer.from(key).toString('base64'), state, since: T0 }),
  });
  const a = says(alice, bob.identityKey);
  const b = says(mallory, bob.identityKey);
  const other = says(mallory, mallory.identityKey);
  const noted = (...live: Live[]): ContactIdentity => ({
    ...known('introduced'),
    evidence: live.map(({ introducer: by, id: statementId }) => ({
      ...{ kind: 'introduction', statementId, introducer: by, verifiedAt: T0, notAfter: T0 + DAY, at: T0 },
    })),
  });

  it.each<[string, string, ContactIdentity, Live[], number]>([
    ['V-37: make somebody introduced of whom nothing is known', 'introduce', known('unknown'), [a], 1],
    ['V-37: make a contact introduced whose key was seen', 'introduce', known('tofu'), [a], 1],
    ['V-37: change nothing about a verified contact', 'none', known('verified'), [a], 1],
    ['V-37: change nothing about a contact in changed', 'none', known('changed'), [a], 1],
    ['V-37: change nothing about a contact whose key is revoked', 'none', known('revoked'), [a], 1],
    ['V-37: replace no key', 'none', known('tofu'), [other], 1],
    [
      'V-37: do not make somebody introduced whose key they differ on',
      'none',
      known('unknown'),
      [a, other],
      1,
    ],
    ['V-37: that differ end it', 'unintroduce', noted(a), [a, other], 1],
    ['end with the last of them', 'unintroduce', noted(a), [], 1],
    ['stay when one of two is left', 'none', noted(a, b), [b], 1],
    ['are noted when one more says the same', 'introduce', noted(a), [a, b], 1],
    ['V-35: wait for a second introducer where two have to agree', 'none', known('tofu'), [a], 2],
    [
      'V-35: count one introducer once',
      'none',
      known('tofu'),
      [a, says(alice, bob.identityKey, alice.aci)],
      2,
    ],
    ['V-35: count when two agree', 'introduce', known('unknown'), [a, b], 2],
    ['V-35: end when one of two is left', 'unintroduce', noted(a, b), [b], 2],
  ])('%s: %s', (_what, kind, contact, live, needed) => {
    expect(settle(contact, live, needed).kind).toBe(kind);
  });

  it('V-37: contradict what is known of the key, what is known to be bad, and each other', () => {
    expect(contradicts(a, known('unknown'), [])).toBe(false);
    expect(contradicts(a, known('tofu'), [other])).toBe(false);
    expect(contradicts(other, known('tofu'), [])).toBe(true);
    expect(contradicts(other, known('verified'), [])).toBe(true);
    expect(contradicts(a, known('unknown'), [other])).toBe(true);
    expect(contradicts(a, { ...known('unknown'), revoked: [bob.identityKey] }, [])).toBe(true);
  });
});
