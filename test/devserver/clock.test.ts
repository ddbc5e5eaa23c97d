import { describe, expect, it } from 'vitest';
import { ServerClock } from '../../src/devserver/clock.ts';
import { systemPlatform } from '../../src/platform.ts';
import { ManualClock, settle } from '../support/clock.ts';

describe('the server clock', () => {
  it('wakes those whose time an advance has brought, and lets the others sleep for the rest', async () => {
    const base = new ManualClock(1_000);
    const clock = new ServerClock(base);
    const woken: string[] = [];
    const short = clock.sleep(100).then(() => woken.push('short'));
    const long = clock.sleep(1_000).then(() => woken.push('long'));
    clock.advance(500);
    await settle();
    expect([clock.now(), woken]).toEqual([1_500, ['short']]);
    await base.advance(499);
    expect(woken).toEqual(['short']);
    await base.advance(1);
    expect(woken).toEqual(['short', 'long']);
    await Promise.all([short, long]);
  });

  it("rejects with the signal's reason, also after an advance", async () => {
    const clock = new ServerClock(systemPlatform().clock);
    const stop = new AbortController();
    const slept = clock.sleep(10_000, stop.signal);
    clock.advance(1_000);
    await settle();
    stop.abort(new Error('enough'));
    await expect(slept).rejects.toThrow('enough');
  });
});
