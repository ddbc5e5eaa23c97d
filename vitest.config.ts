/** Tests: one process per file, two at a time, as CI has two cores. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What has no time of its own takes 7 s at most alone: eight times that, for a machine that does more than this.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is polled comes over sockets or from other processes: its second would be the load's.
    expect: { poll: { timeout: 20_000 } },
    pool: 'forks',
    maxWorkers: 2,
  },
});
