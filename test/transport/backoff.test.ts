import { expect, it } from 'vitest';
import type { Random } from '../../src/platform.ts';
import { backoffMs, retryMs, shortDelayMs } from '../../src/transport/backoff.ts';
import { parseRetryAfter } from '../../src/transport/retry-after.ts';

const lowest: Random = { bytes: (length) => new Uint8Array(length) };
/** Random words that count upwards quickly. */
function spread(): Random {
  let word = 0;
  return {
    bytes: () => {
      word = (word + 0x1234_5678) >>> 0;
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, word);
      return bytes;
    },
  };
}

it('waits one second at least and five minutes at most, over the whole range', () => {
  const random = spread();
  for (const [attempt, ceiling] of [
    [0, 2000],
    [3, 16_000],
    [8, 300_000],
    [5000, 300_000],
  ] as const) {
    const delays = Array.from({ length: 500 }, () => backoffMs(attempt, random));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(1000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(ceiling);
    expect(Math.max(...delays)).toBeGreaterThan(ceiling * 0.9);
  }
  expect(shortDelayMs(lowest)).toBe(100);
});

it('waits as long as the server asked, up to an hour', () => {
  expect(retryMs(5000, lowest)).toBe(5000);
  expect(retryMs(-5, lowest)).toBe(0);
  expect(retryMs(10 ** 9, lowest)).toBe(3_600_000);
});

it('reads Retry-After as seconds and nothing else', () => {
  expect(parseRetryAfter('7')).toBe(7000);
  expect(parseRetryAfter(' 0 ')).toBe(0);
  expect(parseRetryAfter('99999999999')).toBe(86_400_000);
  for (const bad of [undefined, '', '-1', '1.5', 'Wed, 21 Oct 2026 07:28:00 GMT', '9'.repeat(20)]) {
    expect(parseRetryAfter(bad)).toBeUndefined();
  }
});
