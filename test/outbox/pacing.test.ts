import { describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { Pacing } from '../../src/outbox/pacing.ts';
import { NOW } from '../support/outbox-scene.ts';

describe('Pacing', () => {
  it('fills up again after the clock was set back', () => {
    const pacing = new Pacing();
    const to = parseAci('00000000-0000-4000-8000-000000000001');
    for (let n = 0; n < 60; n++) expect(pacing.take(to, NOW)).toBe(0);
    expect(pacing.take(to, NOW)).toBe(1000);
    expect(pacing.take(to, NOW - 3_600_000)).toBe(1000);
    expect(pacing.take(to, NOW - 3_600_000 + 1000)).toBe(0);
  });
});
