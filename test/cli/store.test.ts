import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { openOrMake, PASSPHRASE } from '../support/store-folder.ts';
import { memoryIo } from '../support/memory-io.ts';

describe('store rekey', () => {
  let folder: string;
  const run = async (...argv: string[]): Promise<{ code: number; value: Record<string, unknown> }> => {
    const io = memoryIo({ cwd: folder });
    const code = await main([...argv, '--data', 'data', '--json'], io);
    return { code, value: io.lines()[0] ?? {} };
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rekey-test-'));
    writeFileSync(join(folder, 'old.txt'), 'correct horse\n');
    writeFileSync(join(folder, 'wrong.txt'), 'wrong horse\n');
    writeFileSync(join(folder, 'key'), Buffer.alloc(32, 7));
    await (await openOrMake(join(folder, 'data'), PASSPHRASE)).close();
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('changes what opens the store', async () => {
    expect(await run('status', '--passphrase-file', 'old.txt')).toMatchObject({ code: 0 });
    const changed = await run('store', 'rekey', '--passphrase-file', 'old.txt', '--new-key-file', 'key');
    expect(changed).toEqual({ code: 0, value: { protection: 'key-file' } });
    expect(await run('status', '--key-file', 'key')).toMatchObject({ code: 0, value: { linked: false } });
    expect(await run('status', '--passphrase-file', 'old.txt')).toMatchObject({
      code: 1,
      value: { error: { code: 'PASSPHRASE_NEEDED' } },
    });
  });

  it('changes nothing with a wrong passphrase, without a new one, and where there is no store', async () => {
    const wrong = await run('store', 'rekey', '--passphrase-file', 'wrong.txt', '--new-key-file', 'key');
    expect(wrong).toMatchObject({ code: 1, value: { error: { code: 'PASSPHRASE_WRONG' } } });
    const none = await run('store', 'rekey', '--passphrase-file', 'old.txt');
    expect(none).toMatchObject({ code: 1, value: { error: { code: 'PASSPHRASE_NEEDED' } } });
    expect(await run('status', '--passphrase-file', 'old.txt')).toMatchObject({ code: 0 });
    rmSync(join(folder, 'data'), { recursive: true });
    const missing = await run('store', 'rekey', '--new-key-file', 'key');
    expect(missing).toMatchObject({ code: 1, value: { error: { code: 'NOT_LINKED' } } });
  });
});
