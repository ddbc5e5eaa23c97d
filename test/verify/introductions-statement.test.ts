/** The form of introductions: one encoding each, and every field signed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copy, type Bytes } from '../../src/bytes.ts';
import {
  decodeStatement,
  encodeStatement,
  isSignedBy,
  type Statement,
} from '../../plugins/verify/introductions/statement.ts';
import { makeRunPrekeys } from '../../plugins/verify/session/run-prekeys.ts';
import { ownKeyOf } from '../../src/trust/own-key.ts';
import { makePeer } from '../support/peer.ts';
import { DAY, T0 } from './support/member.ts';
import { random } from './support/party.ts';

const peer = await makePeer();
const own = ownKeyOf(peer.account);
const subject = await makePeer();
const subjectOwn = ownKeyOf(subject.account);
const PREFIX = 32 + 'spake2-signal introduction v1'.length;

const statement: Statement = {
  ...{
    kind: 'introduction',
    id: new Uint8Array(16).fill(7),
    introducer: own.aci,
    introducerKey: own.identityKey,
  },
  ...{
    subject: subject.aci,
    subjectKey: subjectOwn.identityKey,
    method: 'pake',
    verifiedAt: T0 - (T0 % DAY),
  },
  ...{ issuedAt: T0, notAfter: T0 + DAY, audience: { kind: 'aci', aci: subject.aci }, depth: 0 },
  bundle: undefined,
};

function bundleOf(): Statement['bundle'] {
  const { deviceId: device, registrationId } = subjectOwn;
  const owner = { device, registrationId, signPrekey: (key: Bytes) => subjectOwn.signPrekey(key) };
  return makeRunPrekeys(owner, random, T0).bundle;
}

const forms: readonly (readonly [string, Statement, number])[] = [
  ['for one contact', statement, 1 + 16 + 17 + 33 + 17 + 33 + 1 + 8 + 8 + 8 + 1 + 2 + 17 + 1 + 2],
  [
    'for a group',
    { ...statement, audience: { kind: 'group', id: new Uint8Array(32).fill(9) } },
    1 + 16 + 17 + 33 + 17 + 33 + 1 + 8 + 8 + 8 + 1 + 2 + 32 + 1 + 2,
  ],
  ['with a bundle', { ...statement, bundle: bundleOf() }, 165 + 3 + 4 + 35 + 4 + 35 + 66 + 4 + 1571 + 66],
  ['of a revocation', { ...statement, kind: 'revocation', method: 'safety-number' }, 165],
];

describe.each(forms)('a statement %s', (_name, value, bytes) => {
  it('has the layout of section 10, and comes back as it went', () => {
    const encoded = encodeStatement(value, own);
    expect(encoded.length).toBe(PREFIX + bytes + 64);
    const signed = decodeStatement(encoded);
    expect(signed?.statement).toEqual(value);
    expect(encodeStatement(value, undefined).subarray(0, -64)).toEqual(encoded.subarray(0, -64));
  });

  it('is refused or badly signed with any bit of any field changed', () => {
    const encoded = encodeStatement(value, own);
    for (let i = 0; i < encoded.length; i++) {
      const changed = copy(encoded);
      changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
      const signed = decodeStatement(changed);
      if (signed !== undefined) expect([i, isSignedBy(own.identityKey, signed)]).toEqual([i, false]);
    }
  });

  it('is refused when it is cut, and with a byte behind it', () => {
    const encoded = encodeStatement(value, own);
    for (let length = 0; length < encoded.length; length++) {
      expect(decodeStatement(encoded.subarray(0, length))).toBeUndefined();
    }
    expect(decodeStatement(Uint8Array.of(...encoded, 0))).toBeUndefined();
  });
});

describe('statements', () => {
  it('are signed under a prefix that nothing else of this key has', () => {
    const signed = decodeStatement(encodeStatement(statement, own));
    if (signed === undefined) throw new Error('unreadable');
    expect(isSignedBy(own.identityKey, signed)).toBe(true);
    expect(isSignedBy(subjectOwn.identityKey, signed)).toBe(false);
    const elsewhere = own.sign('spake2-signal something else', signed.body);
    expect(isSignedBy(own.identityKey, { ...signed, signature: elsewhere })).toBe(false);
    expect(decodeStatement(encodeStatement(statement, undefined))?.signature).toBeUndefined();
  });

  it('name accounts by ACI, and give no time of day for the verification', () => {
    const at = (offset: number, byte: number): Bytes => {
      const encoded = encodeStatement(statement, own);
      encoded[PREFIX + offset] = byte;
      return encoded;
    };
    const pniAt = { introducer: 17, subject: 17 + 17 + 33 };
    for (const offset of Object.values(pniAt)) expect(decodeStatement(at(offset, 1))).toBeUndefined();
    const zeros = encodeStatement(statement, own).fill(
      0,
      PREFIX + pniAt.subject,
      PREFIX + pniAt.subject + 17,
    );
    expect(decodeStatement(zeros)).toBeUndefined();
    const noon = encodeStatement({ ...statement, verifiedAt: statement.verifiedAt + DAY / 2 }, own);
    expect(decodeStatement(noon)).toBeUndefined();
  });

  it('of whatever bytes are read, or not, and never throw', () => {
    const whole = encodeStatement({ ...statement, bundle: bundleOf() }, own);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2500 }), fc.nat(whole.length), (bytes, at) => {
        const spliced = Uint8Array.of(...whole.subarray(0, at), ...bytes);
        const signed = decodeStatement(spliced);
        if (signed !== undefined)
          expect(encodeStatement(signed.statement, undefined).subarray(0, -64)).toEqual(
            spliced.subarray(0, -64),
          );
      }),
      { numRuns: Math.ceil(Number(process.env['FUZZ_RUNS'] ?? 2000) / 4) },
    );
  });
});
