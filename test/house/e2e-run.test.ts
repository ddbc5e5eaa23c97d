/** The script behind `npm run e2e`, as far as it ends before a test runs. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { top } from './documents.ts';

function run(...argv: string[]): { code: number | null; out: string; err: string } {
  const file = join(top, 'test/e2e/run.ts');
  const ended = spawnSync(process.execPath, ['--import', 'tsx', file, ...argv], {
    cwd: top,
    encoding: 'utf8',
  });
  return { code: ended.status, out: ended.stdout, err: ended.stderr };
}

it('says what it takes, and that a call is wrong, in words', () => {
  const help = run('--help');
  expect([help.code, help.out.includes('--profile FILE'), help.err]).toEqual([0, true, '']);
  for (const argv of [['--nonsense'], ['--profile'], ['--profile', '/nowhere.json']]) {
    const wrong = run(...argv);
    expect(wrong.code).toBe(2);
    expect(wrong.err).not.toMatch(/^\s+at /m);
    expect(wrong.err).toMatch(/--nonsense|--profile|nowhere\.json/);
  }
});
