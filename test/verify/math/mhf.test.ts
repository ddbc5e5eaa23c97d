import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Mhf, mhfSalt, STANDARD, type ScryptCost } from '../../../plugins/verify/math/mhf.ts';
import { nodePrimitives, opensslScrypt } from '../../../plugins/verify/math/node.ts';
import { nobleScrypt } from '../../../plugins/verify/math/page.ts';
import { opensslP256 } from '../../../plugins/verify/math/p256-openssl.ts';
import { fromHex, toHex } from '../../../src/bytes.ts';
import { derived, runs } from './vectors.ts';

const CHEAP = { params: { log2N: 2, r: 8, p: 1 }, minLog2N: 1, maxLog2N: 17 };
const runId = new Uint8Array(16);
const input = { code: '482913', suite: 1, runId, params: CHEAP.params };

describe.each([
  ['OpenSSL', opensslScrypt],
  ['noble', nobleScrypt],
])("a code's scalar, with %s", (_, scrypt) => {
  const mhf = new Mhf(scrypt, CHEAP);

  it.each(derived.codeToScalar)('V-1: is that of the vector: "$code", 2^$log2N', async (row) => {
    const { code, suite, log2N, r, p } = row;
    const id = fromHex(row.runId);
    expect(toHex(mhfSalt(suite, id))).toBe(row.salt);
    const cost = { N: 2 ** log2N, r, p, maxmem: 256 * 2 ** log2N * r };
    expect(toHex(await scrypt(Buffer.from(code), fromHex(row.salt), cost, 40))).toBe(row.okm);
    const w = await mhf.codeToW({ code, suite, runId: id, params: { log2N, r, p } });
    expect(toHex(w)).toBe(row.w);
  });

  it('V-1: is that of the runs, under the standard profile', async () => {
    const standard = new Mhf(scrypt);
    expect(standard.params).toEqual({ log2N: 15, r: 8, p: 1 });
    // The parameters of the OFFER stand behind mode, profile, code format and kind.
    for (const { code, OFFER, w, name } of runs.runs) {
      const offer = fromHex(OFFER);
      const [log2N = 0, r = 0, p = 0] = offer.subarray(32, 35);
      const fields = { code, suite: 1, runId: offer.subarray(8, 24), params: { log2N, r, p } };
      expect([name, toHex(await standard.codeToW(fields))]).toEqual([name, w]);
    }
  });
});

describe('the scalar', () => {
  const okmOf = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(80, '0'));
  const { order } = opensslP256;
  const from = (value: bigint): Promise<Uint8Array> =>
    new Mhf(() => Promise.resolve(okmOf(value)), CHEAP).codeToW(input);

  it('V-1: is refused when it is 0, or one that OpenSSL could not add 1 to', async () => {
    for (const value of [0n, order, order << 60n, order - 1n, 2n * order - 1n]) {
      await expect(from(value)).rejects.toThrow(RangeError);
    }
  });

  it('V-1: is all 40 bytes mod the order, big-endian', async () => {
    expect(BigInt(`0x${toHex(await from(1n))}`)).toBe(1n);
    expect(BigInt(`0x${toHex(await from(order + 5n))}`)).toBe(5n);
    const most = 2n ** 320n - 1n;
    expect(BigInt(`0x${toHex(await from(most))}`)).toBe(most % order);
  });

  it('V-1: differs by code, suite and run', async () => {
    const mhf = new Mhf(opensslScrypt, CHEAP);
    const all = [
      input,
      { ...input, code: '482914' },
      { ...input, suite: 2 },
      { ...input, suite: 0x0100 },
      { ...input, runId: new Uint8Array(16).fill(1) },
    ];
    const scalars = await Promise.all(all.map((one) => mhf.codeToW(one)));
    expect(new Set(scalars.map(toHex)).size).toBe(all.length);
  });
});

describe('scrypt', () => {
  it('V-2: may take 256 * N * r bytes, which is enough for every accepted N', async () => {
    const costs: ScryptCost[] = [];
    const mhf = new Mhf((_code, _salt, cost) => {
      costs.push(cost);
      return Promise.resolve(new Uint8Array(40).fill(1));
    });
    for (const log2N of [14, 15, 16, 17]) {
      await mhf.codeToW({ ...input, params: { log2N, r: 8, p: 1 } });
    }
    expect(costs.map(({ maxmem }) => maxmem / 2 ** 20)).toEqual([32, 64, 128, 256]);
    const dearest = { code: '1', suite: 1, runId, params: { log2N: 17, r: 8, p: 1 } };
    expect(await nodePrimitives.mhf.codeToW(dearest)).toHaveLength(32);
  });

  it('V-2: runs once at a time, in order, and goes on after one that failed', async () => {
    const events: string[] = [];
    const mhf = new Mhf(async (code) => {
      const name = Buffer.from(code).toString();
      events.push(`${name} begins`);
      await sleep(5);
      events.push(`${name} ends`);
      if (name === 'b') throw new Error('no memory');
      return new Uint8Array(40).fill(1);
    }, CHEAP);
    const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((code) => mhf.codeToW({ ...input, code })));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(events).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  it('V-2: leaves the event loop free', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await nodePrimitives.mhf.codeToW({ ...input, params: STANDARD.params });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
  });

  it('V-3: takes 14 to 17, r = 8, p = 1 and nothing else', async () => {
    const { mhf } = nodePrimitives;
    const accepted = (log2N: number, r = 8, p = 1): boolean => mhf.accepts({ log2N, r, p });
    expect([14, 15, 16, 17].map((log2N) => accepted(log2N))).toEqual([true, true, true, true]);
    for (const log2N of [0, 1, 2, 13, 18, 20, 255, 14.5, -15, NaN]) expect(accepted(log2N)).toBe(false);
    for (const other of [0, 1, 7, 9, 16, 255]) expect(accepted(15, other)).toBe(false);
    for (const other of [0, 2, 8, 255]) expect(accepted(15, 8, other)).toBe(false);
    const params = { log2N: 13, r: 8, p: 1 };
    await expect(mhf.codeToW({ ...input, params })).rejects.toThrow(RangeError);
  });
});
