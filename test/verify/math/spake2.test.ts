import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { rfcEdwards25519 } from '../../../plugins/verify/math/edwards25519.ts';
import { opensslP256 } from '../../../plugins/verify/math/p256-openssl.ts';
import { FIXED_POINTS, nobleP256, Point } from '../../../plugins/verify/math/p256.ts';
import {
  confirm,
  confirmationKeys,
  drawScalar,
  finish,
  makeShare,
  shareOf,
  type Alleged,
  type Group,
  type Refusal,
} from '../../../plugins/verify/math/spake2.ts';
import { EMPTY, fromHex, toHex, type Bytes } from '../../../src/bytes.ts';
import { derived, rfcRows, runs, type RfcRow } from './vectors.ts';

const P256 = [
  ['OpenSSL', opensslP256],
  ['noble', nobleP256()],
  ['noble with tables', nobleP256({ tables: true })],
] as const;
const EDWARDS = [['edwards25519', rfcEdwards25519()]] as const;
const rows = [...rfcRows, ...derived.rfc9382];
const random = { bytes: (length: number): Bytes => new Uint8Array(randomBytes(length)) };

/** What both sides compute from a row's w, x and y. */
function play(group: Group, row: RfcRow): { a: Alleged; b: Alleged; pA: Bytes; pB: Bytes } {
  const w = fromHex(row.w);
  const pA = shareOf(group, 'A', w, fromHex(row.x));
  const pB = shareOf(group, 'B', w, fromHex(row.y));
  const ids = { idA: fromHex(row.A), idB: fromHex(row.B) };
  const a = finish(group, 'A', { w, own: { secret: fromHex(row.x), share: pA }, peerShare: pB, ...ids });
  const b = finish(group, 'B', { w, own: { secret: fromHex(row.y), share: pB }, peerShare: pA, ...ids });
  return { a: taken(a), b: taken(b), pA, pB };
}

function taken(outcome: Alleged | Refusal): Alleged {
  if (typeof outcome === 'string') throw new Error(outcome);
  return outcome;
}

/** K is the fifth part of the transcript. */
function kOf(transcript: Uint8Array): string {
  const view = new DataView(transcript.buffer, transcript.byteOffset);
  let at = 0;
  for (let part = 0; part < 4; part++) at += 8 + view.getUint32(at, true);
  return toHex(transcript.subarray(at + 8, at + 8 + view.getUint32(at, true)));
}

describe.each([...P256, ...EDWARDS])('SPAKE2 with %s', (name, group) => {
  const suite = name === 'edwards25519' ? name : 'P256';
  const own = rows.filter((row) => row.suite.startsWith(suite));

  it('has vectors', () => {
    expect(own).toHaveLength(suite === 'P256' ? 10 : 6);
  });

  it.each(own)('gives every value of the vector in both roles: A "$A", B "$B", aad "$aad", w $w', (row) => {
    const { a, b, pA, pB } = play(group, row);
    expect(toHex(pA)).toBe(row.pA);
    expect(toHex(pB)).toBe(row.pB);
    for (const side of [a, b]) {
      const { kcA, kcB } = confirmationKeys(side.ka, fromHex(row.aad));
      const hash = createHash('sha256').update(side.transcript).digest('hex');
      expect({
        K: kOf(side.transcript),
        TT: toHex(side.transcript),
        hashTT: hash,
        Ke: toHex(side.ke),
        Ka: toHex(side.ka),
        KcA: toHex(kcA),
        KcB: toHex(kcB),
        confA: toHex(confirm(kcA, side.transcript)),
        confB: toHex(confirm(kcB, side.transcript)),
      }).toEqual({
        K: row.K,
        TT: row.TT,
        hashTT: row.hashTT,
        Ke: row.Ke,
        Ka: row.Ka,
        KcA: row.KcA,
        KcB: row.KcB,
        confA: row.confA,
        confB: row.confB,
      });
    }
  });

  it('agrees with itself on random input, and not under another w', () => {
    const w = drawScalar(group.order, random);
    const [a, b] = [makeShare(group, 'A', w, random), makeShare(group, 'B', w, random)];
    const ids = { idA: fromHex('01'), idB: fromHex('02') };
    const right = taken(finish(group, 'A', { w, own: a, peerShare: b.share, ...ids }));
    expect(taken(finish(group, 'B', { w, own: b, peerShare: a.share, ...ids }))).toEqual(right);
    const other = drawScalar(group.order, random);
    const wrong = taken(finish(group, 'B', { w: other, own: b, peerShare: a.share, ...ids }));
    expect(wrong.ke).not.toEqual(right.ke);
    expect(wrong.ka).not.toEqual(right.ka);
  });

  it('V-6: names its own share a reflection', () => {
    const w = drawScalar(group.order, random);
    const own = makeShare(group, 'A', w, random);
    const exchange = { w, own, peerShare: own.share, idA: EMPTY, idB: EMPTY };
    expect(finish(group, 'A', exchange)).toBe('reflection');
  });

  it('refuses scalars that are 0, above the order minus two, or not 32 bytes', () => {
    const good = drawScalar(group.order, random);
    for (const bad of [0n, group.order - 1n, group.order, group.order + 1n]) {
      const scalar = fromHex(bad.toString(16).padStart(64, '0'));
      expect(() => shareOf(group, 'A', scalar, good)).toThrow(RangeError);
      expect(() => shareOf(group, 'A', good, scalar)).toThrow(RangeError);
    }
    expect(() => shareOf(group, 'A', good.subarray(1), good)).toThrow(RangeError);
    expect(() => shareOf(group, 'A', good, EMPTY)).toThrow(RangeError);
  });
});

it.each(P256)('V-6: a share whose K is the identity is refused, with %s', (_, group) => {
  const w = drawScalar(group.order, random);
  const scalar = BigInt(`0x${toHex(w)}`);
  const blind = (name: 'M' | 'N'): Bytes => Point.fromHex(FIXED_POINTS[name]).multiply(scalar).toBytes(false);
  const none = { w, idA: EMPTY, idB: EMPTY };
  const [a, b] = [makeShare(group, 'A', w, random), makeShare(group, 'B', w, random)];
  expect(finish(group, 'A', { ...none, own: a, peerShare: blind('N') })).toBe('bad-share');
  expect(finish(group, 'B', { ...none, own: b, peerShare: blind('M') })).toBe('bad-share');
});

describe('a whole run', () => {
  it.each(runs.runs)('has the transcript and MACs of the vector: $name', (run) => {
    const [idA, idB] = partsOf(fromHex(run.TT));
    const w = fromHex(run.w);
    const pA = shareOf(opensslP256, 'A', w, fromHex(run.x));
    const pB = shareOf(opensslP256, 'B', w, fromHex(run.y));
    const own = { secret: fromHex(run.x), share: pA };
    const { transcript, ka } = taken(finish(opensslP256, 'A', { w, own, peerShare: pB, idA, idB }));
    expect(toHex(transcript)).toBe(run.TT);
    const { kcA, kcB } = confirmationKeys(ka, fromHex(run.AAD));
    expect(toHex(confirm(kcA, transcript))).toBe(run.cA);
    expect(toHex(confirm(kcB, transcript))).toBe(run.cB);
  });
});

function partsOf(transcript: Bytes): [Bytes, Bytes] {
  const lengthA = transcript[0] ?? 0;
  const atB = 8 + lengthA;
  return [transcript.slice(8, atB), transcript.slice(atB + 8, atB + 8 + (transcript[atB] ?? 0))];
}

describe('the confirmation keys', () => {
  it('take 8176 bytes of associated data and no more', () => {
    const ka = new Uint8Array(16);
    expect(confirmationKeys(ka, new Uint8Array(8176)).kcA).toHaveLength(16);
    expect(() => confirmationKeys(ka, new Uint8Array(8177))).toThrow(RangeError);
  });
});

describe('the scalar', () => {
  const scripted = (...draws: string[]): typeof random => ({
    bytes: (length) => {
      const bytes = fromHex(draws.shift() ?? '');
      expect(bytes).toHaveLength(length);
      return bytes;
    },
  });
  const hex = (value: bigint): string => value.toString(16).padStart(64, '0');

  it('is drawn again while it is 0 or above the order minus two, and never reduced', () => {
    const { order } = opensslP256;
    const good = hex(order - 2n);
    const source = scripted('ff'.repeat(32), hex(order), hex(order - 1n), hex(0n), good);
    expect(toHex(drawScalar(order, source))).toBe(good);
    expect(toHex(drawScalar(order, scripted(hex(1n))))).toBe(hex(1n));
  });

  it('loses the bits above the order before it is judged', () => {
    const { order } = rfcEdwards25519();
    expect(toHex(drawScalar(order, scripted('ff'.repeat(32), `e0${hex(7n).slice(2)}`)))).toBe(hex(7n));
  });

  it('is as likely in each sixteenth of the range', () => {
    const { order } = rfcEdwards25519();
    const counts = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < 16_000; i++) {
      const sixteenth = Number((BigInt(`0x${toHex(drawScalar(order, random))}`) * 16n) / order);
      counts[sixteenth] = (counts[sixteenth] ?? 0) + 1;
    }
    // 1,000 expected, standard deviation 31; six of them for any of sixteen is one run in 30 million.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(186);
  });
});
