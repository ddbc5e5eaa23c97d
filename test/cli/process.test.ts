/** The process around `main`: signals, exit codes, streams. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const entry = fileURLToPath(new URL('../../src/cli/countersign.ts', import.meta.url));

describe('the countersign process', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'process-test-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const start = (
    ...argv: string[]
  ): { child: ChildProcess; out: () => string; ended: Promise<number | null> } => {
    const tsx = import.meta.resolve('tsx');
    const child = spawn(process.execPath, ['--import', tsx, entry, ...argv], { cwd: folder });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    return { child, out: () => out, ended: new Promise((resolve) => child.once('close', resolve)) };
  };

  it('says its version and ends with 0', async () => {
    const run = start('--version');
    expect(await run.ended).toBe(0);
    expect(run.out()).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('ends with 2 and a coded error when the call is wrong', async () => {
    const run = start('me', '--json');
    expect(await run.ended).toBe(2);
    expect(JSON.parse(run.out())).toMatchObject({ error: { code: 'USAGE' } });
  });

  it('lends it to a TypeScript plugin of two files as well', async () => {
    writeFileSync(
      join(folder, 'part.ts'),
      "import { definePlugin } from 'countersign';\nexport const make = (name: string) => definePlugin({ name, version: '1', setup() {} });",
    );
    writeFileSync(
      join(folder, 'whole.ts'),
      "import { make } from './part.ts';\nexport default make('whole');",
    );
    writeFileSync(join(folder, 'server.json'), '{"name": "none", "chat": "http://127.0.0.1:1"}');
    const file = join(folder, 'whole.ts');
    const run = start('run', '--json', '--server', 'server.json', '--data', 'none', '--plugin', file);
    expect(await run.ended).toBe(1);
    expect(JSON.parse(run.out())).toMatchObject({ reason: 'NOT_LINKED' });
  });

  it.each(['mjs', 'ts'])('lends its own package to a plugin anywhere, as .%s', async (extension) => {
    const file = join(folder, `plugin.${extension}`);
    writeFileSync(
      file,
      `import { definePlugin } from 'countersign';
       import { testPlugin } from 'countersign/testing';
       import { z } from 'zod';
       export default definePlugin({ name: typeof testPlugin, version: '1', config: z.object({}), setup() {} });`,
    );
    writeFileSync(join(folder, 'server.json'), '{"name": "none", "chat": "http://127.0.0.1:1"}');
    const run = start('run', '--json', '--server', 'server.json', '--data', 'none', '--plugin', file);
    expect(await run.ended).toBe(1);
    expect(JSON.parse(run.out())).toMatchObject({ reason: 'NOT_LINKED' }); // the plugin was loaded before
  });

  it('lends it to a CommonJS plugin that imports it, and tells one that requires it how', async () => {
    writeFileSync(join(folder, 'server.json'), '{"name": "none", "chat": "http://127.0.0.1:1"}');
    const end = async (source: string): Promise<unknown> => {
      const file = join(folder, 'plugin.cjs');
      writeFileSync(file, source);
      const run = start('run', '--json', '--server', 'server.json', '--data', 'none', '--plugin', file);
      expect(await run.ended).toBe(1);
      return JSON.parse(run.out());
    };
    const make = "definePlugin({ name: 'common', version: '1', setup() {} })";
    expect(
      await end(`const { definePlugin } = require('countersign'); module.exports = ${make};`),
    ).toMatchObject({
      reason: 'PLUGIN_INVALID',
      error: { next: expect.stringContaining('await import') as string },
    });
    expect(
      await end(
        `module.exports = async () => { const { definePlugin } = await import('countersign'); return ${make}; };`,
      ),
    ).toMatchObject({ reason: 'NOT_LINKED' });
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('stops cleanly at %s', async (signal) => {
    const run = start('devserver', '--json');
    await expect.poll(run.out, { timeout: 20_000 }).toContain('"ready"');
    run.child.kill(signal);
    expect(await run.ended).toBe(0);
  });

  it('plays the demo to its end, a JSON value per line', async () => {
    const run = start('demo', '--json');
    expect(await run.ended).toBe(0);
    const steps = run
      .out()
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { step: string }).step);
    expect(steps).toEqual([
      'server',
      ...['phone', 'code', 'linked', 'ready'],
      ...['phone', 'code', 'linked', 'ready'],
      ...['text', 'answer', 'app', 'app-answer', 'nothing-shown', 'done'],
    ]);
  });
});
