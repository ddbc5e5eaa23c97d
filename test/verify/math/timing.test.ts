/**
 * What time must not tell (verification brief, 14.11).
 */
import type * as crypto from 'node:crypto';
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { describe, expect, it, vi } from 'vitest';
import { nodePrimitives } from '../../../plugins/verify/math/node.ts';
import { pagePrimitives } from '../../../plugins/verify/math/page.ts';
import { opensslP256 } from '../../../plugins/verify/math/p256-openssl.ts';
import {
  confirm,
  confirmationKeys,
  drawScalar,
  finish,
  makeShare,
  type Group,
} from '../../../plugins/verify/math/spake2.ts';
import { EMPTY, type Bytes } from '../../../src/bytes.ts';

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof crypto>();
  return { ...real, timingSafeEqual: vi.fn(real.timingSafeEqual) };
});

const random = { bytes: (length: number): Bytes => new Uint8Array(randomBytes(length)) };

/** One side up to its MACs; the code is right where both have one w. */
function side(group: Group, w: Uint8Array, peerW: Uint8Array): () => void {
  const own = makeShare(group, 'B', w, random);
  const peerShare = makeShare(group, 'A', peerW, random).share;
  return () => {
    const alleged = finish(group, 'B', { w, own, peerShare, idA: EMPTY, idB: EMPTY });
    if (typeof alleged === 'string') throw new Error(alleged);
    const { kcA, kcB } = confirmationKeys(alleged.ka, EMPTY);
    confirm(kcA, alleged.transcript);
    confirm(kcB, alleged.transcript);
  };
}

describe('time', () => {
  it('V-11: MACs are compared by timingSafeEqual', () => {
    const [a, b] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(1)];
    expect(nodePrimitives.isEqual(a, b)).toBe(true);
    expect(vi.mocked(timingSafeEqual)).toHaveBeenCalledWith(a, b);
  });

  it.each([
    ['a bot', nodePrimitives],
    ['a page', pagePrimitives],
  ])('V-11: no difference escapes the comparison of %s', (_, { isEqual }) => {
    const mac = random.bytes(32);
    expect(isEqual(mac, Uint8Array.from(mac))).toBe(true);
    for (let bit = 0; bit < 256; bit++) {
      const other = Uint8Array.from(mac);
      other[bit >>> 3] = (other[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      expect(isEqual(mac, other)).toBe(false);
    }
    expect(isEqual(mac, mac.subarray(1))).toBe(false);
    expect(isEqual(mac, EMPTY)).toBe(false);
  });

  it('right and wrong codes take the same steps up to the MAC', () => {
    const steps = (isRight: boolean): string[] => {
      const taken: string[] = [];
      const watched: Group = {
        order: opensslP256.order,
        blinded: (...args) => {
          taken.push(`blinded ${args[0]}`);
          return opensslP256.blinded(...args);
        },
        shared: (...args) => {
          const k = opensslP256.shared(...args);
          taken.push(`shared ${args[0]}, ${String(k?.length)} bytes`);
          return k;
        },
      };
      const w = drawScalar(watched.order, random);
      side(watched, w, isRight ? w : drawScalar(watched.order, random))();
      return taken;
    };
    expect(steps(true)).toEqual(['blinded N', 'blinded M', 'shared M, 65 bytes']);
    expect(steps(false)).toEqual(steps(true));
  });

  it('right and wrong codes take equally long', { retry: 2 }, () => {
    const times: { right: number[]; wrong: number[] } = { right: [], wrong: [] };
    for (let i = 0; i < 500; i++) {
      const w = drawScalar(opensslP256.order, random);
      const right = side(opensslP256, w, w);
      const wrong = side(opensslP256, w, drawScalar(opensslP256.order, random));
      const order =
        i % 2 === 0
          ? ([
              ['right', right],
              ['wrong', wrong],
            ] as const)
          : ([
              ['wrong', wrong],
              ['right', right],
            ] as const);
      for (const [name, work] of order) {
        const before = performance.now();
        work();
        if (i >= 100) times[name].push(performance.now() - before);
      }
    }
    const medians = [times.right, times.wrong].map((all) => all.sort((a, b) => a - b)[200] ?? 0);
    const [right = 0, wrong = 0] = medians;
    expect(right / wrong).toBeGreaterThan(0.95);
    expect(right / wrong).toBeLessThan(1.05);
  });
});
