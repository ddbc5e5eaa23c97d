/**
 * Crash walk in one process: the echo scene with a fault at each commit and at each thing that leaves, every kind of fault.
 *
 * The first run of a scene has no fault and counts; then there is one run for each place and kind. A run whose fault never
 * struck says so, for it has proven nothing.
 */
import { describe, expect, it } from 'vitest';
import { CrashScene, type WalkFault } from '../support/crash-scene.ts';
import { SEND_FAULT_KINDS } from '../support/crash-server.ts';
import { FAULT_KINDS } from '../support/store-faults.ts';

const TIMEOUT_MS = 120_000;

async function play(sealed: boolean, fault?: WalkFault): Promise<CrashScene & { broken: readonly string[] }> {
  const scene = await CrashScene.make({ sealed, ...(fault === undefined ? {} : { fault }) });
  const broken = await scene.play().catch((error: unknown) => [String(error)]);
  return Object.assign(scene, { broken: [...broken] });
}

describe.each([
  ['unsealed', false],
  ['sealed', true],
] as const)('the echo scene, %s', (_, sealed) => {
  it('keeps every promise when nothing goes wrong, in one start', async () => {
    const scene = await play(sealed);
    expect(scene.broken).toEqual([]);
    expect(scene.starts).toBe(2);
    expect(scene.sealed > 0).toBe(sealed);
  });

  it.each(FAULT_KINDS)('keeps them with %s at each commit', { timeout: TIMEOUT_MS }, async (kind) => {
    const { commits } = await play(sealed);
    await walk(commits, (at) => play(sealed, { where: 'commit', fault: { at, kind } }));
  });

  it.each(SEND_FAULT_KINDS)('keeps them with %s at each send', { timeout: TIMEOUT_MS }, async (kind) => {
    const { sends } = await play(sealed);
    await walk(sends, (at) => play(sealed, { where: 'send', fault: { at, kind } }));
  });
});

async function walk(
  steps: number,
  run: (at: number) => Promise<CrashScene & { broken: readonly string[] }>,
): Promise<void> {
  const failures: string[] = [];
  let struck = 0;
  for (let at = 1; at <= steps; at++) {
    const scene = await run(at);
    if (scene.struck) struck++;
    failures.push(...scene.broken.map((text) => `at ${String(at)}: ${text}`));
  }
  expect(failures).toEqual([]);
  // Jitter may move the last steps of a scene behind its end.
  expect(struck).toBeGreaterThanOrEqual(steps - 3);
}
