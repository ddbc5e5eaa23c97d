import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { secretFor } from '../../src/cli/unlocking.ts';
import { openLevel } from '../../src/store/level.ts';
import { memoryIo } from '../support/memory-io.ts';

describe('unlocking a store', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'unlocking-test-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('takes the first line of a passphrase file', async () => {
    writeFileSync(join(folder, 'pass.txt'), 'correct horse\nsecond line\n');
    const io = memoryIo({ cwd: folder, env: { COUNTERSIGN_PASSPHRASE: 'other' } });
    expect(await secretFor(io, join(folder, 'data'), { passphraseFile: 'pass.txt' })).toEqual({
      kind: 'passphrase',
      passphrase: 'correct horse',
    });
  });

  it('takes a key file, the environment, and --insecure-plain-store for a new store, in this order', async () => {
    const data = join(folder, 'data');
    const env = { COUNTERSIGN_PASSPHRASE: 'from env' };
    const both = { keyFile: 'k', insecurePlainStore: true };
    expect(await secretFor(memoryIo({ cwd: folder, env }), data, both)).toEqual({
      kind: 'key-file',
      file: join(folder, 'k'),
    });
    expect(await secretFor(memoryIo({ env }), data, { insecurePlainStore: true })).toMatchObject({
      passphrase: 'from env',
    });
    expect(await secretFor(memoryIo(), data, { insecurePlainStore: true })).toEqual({ kind: 'plain' });
  });

  it('needs nothing for a plain store that exists', async () => {
    const data = join(folder, 'data');
    await (await openLevel(data, { secret: { kind: 'plain' }, create: true })).close();
    expect(await secretFor(memoryIo(), data, {})).toEqual({ kind: 'plain' });
  });

  it('asks on a terminal without showing the answer, and twice for a new store', async () => {
    const io = memoryIo({ terminal: true, stdin: 'secrex\u007ft\r' });
    const asked = secretFor(io, join(folder, 'data'), {});
    await expect.poll(() => io.err()).toContain('Again: ');
    (io.stdin as unknown as NodeJS.WritableStream).write('secret\r');
    expect(await asked).toEqual({ kind: 'passphrase', passphrase: 'secret' });
    expect(io.err()).not.toContain('secre');
  });

  it('refuses two different answers, Ctrl-C, an unreadable file, and silence where there is no terminal', async () => {
    const data = join(folder, 'data');
    const io = memoryIo({ terminal: true, stdin: 'one\r' });
    const asked = secretFor(io, data, {});
    await expect.poll(() => io.err()).toContain('Again: ');
    (io.stdin as unknown as NodeJS.WritableStream).write('two\r');
    await expect(asked).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });

    const interrupted = secretFor(memoryIo({ terminal: true, stdin: '\u0003' }), data, {});
    await expect(interrupted).rejects.toMatchObject({ code: 'PASSPHRASE_NEEDED' });
    const unreadable = secretFor(memoryIo({ cwd: folder }), data, { passphraseFile: 'none.txt' });
    await expect(unreadable).rejects.toMatchObject({ code: 'PASSPHRASE_NEEDED' });
    await expect(secretFor(memoryIo(), data, {})).rejects.toMatchObject({ code: 'PASSPHRASE_NEEDED' });
  });
});
