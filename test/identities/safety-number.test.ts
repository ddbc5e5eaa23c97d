import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseAci, serviceIdToBytes } from '../../src/address.ts';
import { fromHex, type Bytes } from '../../src/bytes.ts';
import { safetyNumber } from '../../src/identities/safety-number.ts';

/** libsignal, rust/protocol/src/fingerprint.rs, tests: keys, names and the digits for 5,200 iterations. */
const ALICE_KEY = fromHex('0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868');
const BOB_KEY = fromHex('05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b');
const SAMPLE = '300354477692869396892869876765458257569162576843440918079131';
const [ALICE, BOB] = [
  parseAci('9d0652a3-dcc3-4d11-975f-74d61598733f'),
  parseAci('796abedb-ca4e-4f18-8803-1fde5b921f9f'),
];

/** The definition, written anew: SHA-512 over version, key and name, 5,200 times; the smaller half first. */
function digitsOf(parties: readonly { readonly name: Uint8Array; readonly key: Bytes }[]): string {
  const halves = parties.map(({ name, key }) => {
    let hash: Buffer = Buffer.concat([Buffer.from([0, 0]), key, name]);
    for (let i = 0; i < 5200; i++) hash = createHash('sha512').update(hash).update(key).digest();
    return [0, 5, 10, 15, 20, 25]
      .map((at) => String(hash.readUIntBE(at, 5) % 100_000).padStart(5, '0'))
      .join('');
  });
  return halves.sort().join('');
}

describe('safety numbers', () => {
  it("are libsignal's sample where its names are used, and the same rule over ACIs", () => {
    const sample = [
      { name: Buffer.from('+14152222222'), key: ALICE_KEY },
      { name: Buffer.from('+14153333333'), key: BOB_KEY },
    ];
    expect(digitsOf(sample)).toBe(SAMPLE);
    const { digits } = safetyNumber({ aci: ALICE, key: ALICE_KEY }, { aci: BOB, key: BOB_KEY });
    const named = [
      { name: serviceIdToBytes(ALICE), key: ALICE_KEY },
      { name: serviceIdToBytes(BOB), key: BOB_KEY },
    ];
    expect(digits).toBe(digitsOf(named));
  });

  it('are the same on both sides, and the scanned code of the other side matches', () => {
    const [alice, bob] = [
      { aci: ALICE, key: ALICE_KEY },
      { aci: BOB, key: BOB_KEY },
    ];
    const [hers, his] = [safetyNumber(alice, bob), safetyNumber(bob, alice)];
    expect(hers.digits).toBe(his.digits);
    expect(hers.digits).toMatch(/^\d{60}$/);
    expect(hers.matches(his.scannable)).toBe(true);
    expect(hers.matches(hers.scannable)).toBe(false);
    const other = safetyNumber({ aci: BOB, key: ALICE_KEY }, alice);
    expect(hers.matches(other.scannable)).toBe(false);
    expect(hers.matches(new Uint8Array(3))).toBe(false);
  });
});
