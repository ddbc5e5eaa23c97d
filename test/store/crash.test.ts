import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openOrMake, PASSPHRASE, tempFolder } from '../support/store-folder.ts';
import { ROWS_PER_COMMIT } from '../support/store-numbers.ts';
import { keysOf } from '../support/store-rows.ts';

const WRITER = fileURLToPath(new URL('../support/store-writer.ts', import.meta.url));

/** Starts the writer, kills it `afterMs` after its first commit, and gives the last number that it reported. */
async function writeAndKill(folder: string, mode: string, afterMs: number): Promise<number> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, mode, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let started = false;
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    text += chunk;
    if (!started) setTimeout(() => child.kill('SIGKILL'), afterMs);
    started = true;
  });
  await new Promise((resolve) => child.on('close', resolve));
  // The last line may be cut.
  return Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1));
}

describe('a process that is killed while it commits', () => {
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  beforeEach(async () => {
    folder = await tempFolder();
  });
  afterEach(() => folder.remove());

  it.each([
    [5, 'write'],
    [60, 'write'],
    [150, 'write'],
    [20, 'compact'],
    [90, 'compact'],
    [240, 'compact'],
    [500, 'compact'],
  ])('has every commit that resolved and none by half, killed after %i ms: %s', async (afterMs, mode) => {
    const last = await writeAndKill(folder.data, mode, afterMs);
    const store = await openOrMake(folder.data, PASSPHRASE);
    const keys = await keysOf(store.scan('row/'));
    await store.close();
    const numbers = keys.map((key) => Number(key.split('/')[1]));
    const written = new Set(numbers);
    expect(keys).toHaveLength(written.size * ROWS_PER_COMMIT);
    for (let number = 0; number <= last; number++) expect(written.has(number)).toBe(true);
    // No gaps either: commits become durable in their order.
    expect(Math.max(...numbers)).toBe(written.size - 1);
  });
});
