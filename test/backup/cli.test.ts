import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { systemPlatform } from '../../src/platform.ts';
import type { Store } from '../../src/store/store.ts';
import { answer } from '../../src/cli/calls.ts';
import { ControlServer } from '../../src/cli/control-server.ts';
import { makePeer, type Peer } from '../support/peer.ts';
import { openOrMake, PASSPHRASE } from '../support/store-folder.ts';
import { memoryIo, type MemoryIo } from '../support/memory-io.ts';

describe('backup and restore', () => {
  let folder: string;
  let peer: Peer;
  let store: Store;

  interface Ran {
    readonly code: number;
    readonly value: Record<string, unknown>;
    readonly io: MemoryIo;
  }
  const run = async (...argv: string[]): Promise<Ran> => {
    const io = memoryIo({ cwd: folder });
    const code = await main([...argv, '--json'], io);
    return { code, value: io.lines()[0] ?? {}, io };
  };
  const backUp = (...more: string[]): Promise<Ran> =>
    run(
      'backup',
      'file',
      '--data',
      'data',
      '--backup-passphrase-file',
      'backup.txt',
      '--passphrase-file',
      'store.txt',
      ...more,
    );
  const restore = (...more: string[]): Promise<Ran> =>
    run(
      'restore',
      'file',
      '--data',
      'new',
      '--backup-passphrase-file',
      'backup.txt',
      '--passphrase-file',
      'next.txt',
      ...more,
    );

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'backup-test-'));
    writeFileSync(join(folder, 'store.txt'), 'correct horse\n');
    writeFileSync(join(folder, 'backup.txt'), 'of the file\n');
    writeFileSync(join(folder, 'next.txt'), 'another horse\n');
    store = await openOrMake(join(folder, 'data'), PASSPHRASE);
    peer = await makePeer({ store });
  });

  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });

  it('of a bot that does not run bring it up in another folder, under another passphrase', async () => {
    await store.close();
    const made = await backUp();
    const shape = { file: join(folder, 'file'), createdAt: expect.any(Number) as number, aci: peer.aci };
    expect(made).toMatchObject({ code: 0, value: shape });
    expect(Object.keys(made.value)).toHaveLength(3);
    const restored = await restore();
    expect(restored).toMatchObject({ code: 0, value: made.value });
    const me = await run('me', '--data', 'new', '--passphrase-file', 'next.txt');
    expect(me).toMatchObject({ code: 0, value: { aci: peer.aci, deviceId: peer.account.deviceId } });
    expect(await restore()).toMatchObject({ code: 1, value: { error: { code: 'FOLDER_NOT_EMPTY' } } });
  });

  it('of a running bot go through its control socket', async () => {
    const parts = { store, platform: systemPlatform(), bot: undefined };
    const control = await ControlServer.open(join(folder, 'data'), (call, signal) =>
      answer(parts, call, signal),
    );
    try {
      // No passphrase of the store: the bot has it open.
      const made = await run('backup', 'file', '--data', 'data', '--backup-passphrase-file', 'backup.txt');
      expect(made).toMatchObject({ code: 0, value: { file: join(folder, 'file'), aci: peer.aci } });
    } finally {
      await control.close();
    }
    expect(await restore()).toMatchObject({ code: 0, value: { aci: peer.aci } });
  });

  it('ask for the passphrase on a terminal, twice for a new one', async () => {
    await store.close();
    const typing = memoryIo({ cwd: folder, terminal: true, stdin: 'secret\r' });
    const made = main(
      ['backup', 'file', '--data', 'data', '--passphrase-file', 'store.txt', '--json'],
      typing,
    );
    await expect.poll(() => typing.err()).toContain('Again: ');
    typing.stdin.emit('data', 'secret\r');
    expect(await made).toBe(0);
    const asked = memoryIo({ cwd: folder, terminal: true, stdin: 'secret\r' });
    expect(await main(['restore', 'file', '--data', 'new', '--passphrase-file', 'next.txt'], asked)).toBe(0);
    expect(asked.err()).toContain(`This is ${peer.aci} as of `);
    expect(asked.out()).toContain('is restored as of');
    expect(`${typing.out()}${typing.err()}${asked.out()}${asked.err()}`).not.toContain('secret');
  });

  it('do not write into the folder of the store', async () => {
    await store.close();
    symlinkSync(join(folder, 'data'), join(folder, 'way'));
    const before = readdirSync(join(folder, 'data'), { recursive: true }).sort();
    for (const place of ['data/db/CURRENT.x', 'data/bot.backup', 'way/db/x', 'data']) {
      const { code, value } = await run(
        ...[
          'backup',
          place,
          '--data',
          'data',
          '--backup-passphrase-file',
          'backup.txt',
          '--passphrase-file',
          'store.txt',
        ],
      );
      expect([place, code, value]).toMatchObject([place, 2, { error: { code: 'USAGE' } }]);
    }
    expect(readdirSync(join(folder, 'data'), { recursive: true }).sort()).toEqual(before);
    const beside = ['backup', 'data.backup', '--data', 'data', '--backup-passphrase-file', 'backup.txt'];
    expect(await run(...beside, '--passphrase-file', 'store.txt')).toMatchObject({ code: 0 });
  });

  it('name the option whose file cannot be read', async () => {
    await store.close();
    const cases: [string[], string][] = [
      [
        ['backup', 'file', '--data', 'data', '--backup-passphrase-file', 'nofile'],
        '--backup-passphrase-file',
      ],
      [['me', '--data', 'data', '--passphrase-file', 'nofile'], ' --passphrase-file'],
      [
        [
          'store',
          'rekey',
          '--data',
          'data',
          '--passphrase-file',
          'store.txt',
          '--new-passphrase-file',
          'nofile',
        ],
        '--new-passphrase-file',
      ],
    ];
    for (const [argv, option] of cases) {
      const { code, value } = await run(...argv);
      expect([argv, code, value]).toMatchObject([
        argv,
        1,
        { error: { code: 'PASSPHRASE_NEEDED', next: `Check the path given with ${option.trim()}.` } },
      ]);
    }
  });

  it('say what is wrong, and leave nothing behind', async () => {
    await store.close();
    const before = readdirSync(folder).sort();
    const failures: [string[], number, string][] = [
      [['backup', 'file', '--data', 'data', '--passphrase-file', 'store.txt'], 1, 'PASSPHRASE_NEEDED'],
      [['backup', 'file', '--backup-passphrase-file', 'backup.txt'], 2, 'USAGE'],
      [['backup', '--data', 'data'], 2, 'USAGE'],
      [['backup', 'file', '--data', 'none', '--backup-passphrase-file', 'backup.txt'], 1, 'NOT_LINKED'],
      [['restore', 'nothing', '--data', 'new', '--backup-passphrase-file', 'backup.txt'], 2, 'USAGE'],
      [
        ['restore', 'backup.txt', '--data', 'new', '--backup-passphrase-file', 'backup.txt'],
        1,
        'BACKUP_DAMAGED',
      ],
    ];
    for (const [argv, code, error] of failures)
      expect([argv, await run(...argv)]).toMatchObject([argv, { code, value: { error: { code: error } } }]);
    expect(readdirSync(folder).sort()).toEqual(before);
    await backUp();
    writeFileSync(join(folder, 'backup.txt'), 'wrong\n');
    expect(await restore()).toMatchObject({ code: 1, value: { error: { code: 'PASSPHRASE_WRONG' } } });
    const unlocked = ['restore', 'file', '--data', 'new', '--backup-passphrase-file', 'backup.txt'];
    expect(await run(...unlocked)).toMatchObject({
      code: 1,
      value: { error: { code: 'PASSPHRASE_NEEDED' } },
    });
    expect(readdirSync(folder).sort()).toEqual([...before, 'file'].sort());
  });
});
