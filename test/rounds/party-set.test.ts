import { describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { encodeParties, parseGroup, partySet, readParties } from '../../src/rounds/party-set.ts';
import {
  ceremonyId,
  decodeProposal,
  encodeProposal,
  topicOf,
  type Proposal,
} from '../../src/rounds/proposal.ts';
import { Reader } from '../../src/rounds/wire.ts';
import { testParties } from '../../src/testing/parties.ts';

const { set } = testParties(3);

function lineOf({ aci, deviceId, identityKey }: (typeof set)[number]): Record<string, unknown> {
  return { aci, deviceId, identityKey: toBase64(identityKey), name: 'ignored', server: 'http://localhost' };
}

function fileOf(lines: readonly Record<string, unknown>[]): string {
  return lines.map((line) => JSON.stringify(line)).join('\n');
}

describe('a party set', () => {
  it('is read from lines in any order, with fields that do not matter and empty lines', () => {
    const lines = set.map(lineOf);
    expect(parseGroup(fileOf(lines))).toEqual(set);
    expect(parseGroup(`\n${fileOf(lines.reverse())}\r\n\n`)).toEqual(set);
    expect(set.map(({ index }) => index)).toEqual([1, 2, 3]);
  });

  it.each<[string, (lines: Record<string, unknown>[]) => Record<string, unknown>[]]>([
    ['an account twice', ([a, b, c]) => [a ?? {}, b ?? {}, { ...c, aci: b?.['aci'] }]],
    ['a key twice', ([a, b, c]) => [a ?? {}, b ?? {}, { ...c, identityKey: a?.['identityKey'] }]],
    ['no key', ([a]) => [{ ...a, identityKey: undefined }]],
    ['something that is no key', ([a]) => [{ ...a, identityKey: toBase64(new Uint8Array(33)) }]],
    ['a key that is too short', ([a]) => [{ ...a, identityKey: 'BQ==' }]],
    ['no account id', ([a]) => [{ ...a, aci: 'bob' }]],
    ['a device 0', ([a]) => [{ ...a, deviceId: 0 }]],
    ['nobody', () => []],
  ])('is refused with %s', (_, change) => {
    expect(() => parseGroup(fileOf(change(set.map(lineOf))))).toThrow(
      expect.objectContaining({ code: 'GROUP_INVALID' }) as Error,
    );
  });

  it('is refused when a line is no JSON, and says which', () => {
    expect(() => parseGroup(`${fileOf(set.map(lineOf))}\n{`)).toThrow('line 4');
  });

  it('has at most 64 parties', () => {
    const many = testParties(64).set;
    expect(many).toHaveLength(64);
    expect(() => partySet([...many, ...testParties(1).set])).toThrow('65 parties');
  });

  it('is the same after being written, and only in its order', () => {
    expect(readParties(new Reader(encodeParties(set)))).toEqual(set);
    const swapped = encodeParties([...set].reverse());
    expect(() => readParties(new Reader(swapped))).toThrow('order');
  });
});

describe('a ceremony id', () => {
  const proposal: Proposal = {
    protocol: 'p',
    version: 1,
    params: Uint8Array.of(1),
    message: Uint8Array.of(2),
    epoch: 3,
    parties: set,
    signers: [1, 3],
  };
  const others: Partial<Proposal>[] = [
    { protocol: 'q' },
    { version: 2 },
    { params: Uint8Array.of(1, 2), message: new Uint8Array(0) },
    { message: Uint8Array.of(3) },
    { epoch: 4 },
    { signers: [1, 2] },
    { parties: testParties(3, 'others').set },
    { parties: set.map((party) => ({ ...party, deviceId: 3 })) },
  ];

  it('is bound to all that is proposed', () => {
    const topics = [proposal, ...others.map((other) => ({ ...proposal, ...other }))].map(topicOf);
    expect(new Set(topics).size).toBe(others.length + 1);
  });

  it('is bound to who is there and to the nonce of each', () => {
    const nonce = (byte: number): Uint8Array<ArrayBuffer> => new Uint8Array(32).fill(byte);
    const topic = topicOf(proposal);
    const rosters = [
      [{ index: 1, nonce: nonce(1) }, { index: 3, nonce: nonce(3) }],
      [{ index: 1, nonce: nonce(1) }, { index: 2, nonce: nonce(3) }],
      [{ index: 1, nonce: nonce(2) }, { index: 3, nonce: nonce(3) }],
      [{ index: 1, nonce: nonce(1) }],
    ]; // prettier-ignore
    expect(new Set(rosters.map((present) => String(ceremonyId(topic, present)))).size).toBe(4);
  });

  it('is of a proposal that is the same after being written', () => {
    expect(decodeProposal(encodeProposal(proposal))).toEqual(proposal);
    for (const signers of [[], [3, 1], [1, 1], [4], [0]])
      expect(() => decodeProposal(encodeProposal({ ...proposal, signers }))).toThrow('signers');
  });
});
