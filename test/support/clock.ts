/** The clock of the tests, and a platform around it. */
import type { Clock, Log, Platform, Random } from '../../src/platform.ts';
import { silentLog, systemPlatform } from '../../src/platform.ts';
import { ManualClock } from '../../src/testing/clock.ts';

export { ManualClock, settle } from '../../src/testing/clock.ts';

export function testPlatform(parts: { clock?: Clock; random?: Random; log?: Log } = {}): Platform {
  const system = systemPlatform();
  return {
    clock: parts.clock ?? new ManualClock(),
    random: parts.random ?? system.random,
    log: parts.log ?? silentLog,
  };
}
