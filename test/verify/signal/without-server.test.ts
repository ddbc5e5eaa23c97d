/** Commands that look at rows, and change them, on a data directory whose server nobody has named. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import verify from '../../../plugins/verify/index.ts';
import { charge } from '../../../plugins/verify/limits.ts';
import { changeCounters } from '../../../plugins/verify/rows.ts';
import { offlineHost, offlinePlugins } from '../../../src/bot/offline-host.ts';
import { main } from '../../../src/cli/main.ts';
import { systemPlatform } from '../../../src/platform.ts';
import { openLevel } from '../../../src/store/level.ts';
import type { Store } from '../../../src/store/store.ts';
import { account, identityRows } from '../../../src/store/tables.ts';
import { memoryIo } from '../../support/memory-io.ts';
import { makePeer, type Peer } from '../../support/peer.ts';

const platform = systemPlatform();

describe('verify status, cancel and unlock, and introduce list, without a server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'verify-offline-'));
  const data = join(folder, 'data');
  let bob: Peer;

  const run = async (...argv: string[]): Promise<{ code: number; value: Record<string, unknown> }> => {
    const io = memoryIo({ cwd: folder, env: { COUNTERSIGN_DATA: data } });
    const code = await main([...argv, '--json'], io);
    return { code, value: io.lines().at(-1) ?? {} };
  };

  const opened = async <T>(work: (store: Store) => Promise<T>): Promise<T> => {
    const store = await openLevel(data, { secret: { kind: 'plain' }, create: true, platform });
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  };

  /** A code has been made, and a wrong one been typed before. */
  const begin = async (store: Store): Promise<void> => {
    const { acts } = await offlinePlugins(store, platform, verify());
    const left = new AbortController();
    const tell = (): void => {
      left.abort(new Error('the operator has left'));
    };
    const call = { contact: bob.aci, input: {}, signal: left.signal, tell };
    await expect(acts.run('verify', 'start', call)).rejects.toThrow('has left');
    const host = await offlineHost(store, platform, verify());
    const guess = { runId: new Uint8Array(16), peer: bob.aci, time: platform.clock.now() };
    await host.update((tx) => changeCounters(tx, (counters) => charge(counters, guess)));
  };

  beforeAll(async () => {
    const us = await makePeer();
    bob = await makePeer();
    await opened(async (store) => {
      const batch = store.batch();
      account.put(batch, us.account);
      identityRows.put(batch, bob.aci, { key: bob.account.identity.publicKey, state: 'tofu', since: 1 });
      await batch.commit();
      await begin(store);
    });
  });

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('shows what is under way, and the guesses', async () => {
    expect(await run('verify', 'status')).toMatchObject({
      code: 0,
      value: {
        runs: [{ aci: bob.aci, state: 'offered' }],
        guesses: [{ aci: bob.aci, inARow: 1, locked: false }],
      },
    });
  });

  it('ends it; what the other side is told waits for the next run of the bot', async () => {
    const { rows: before } = (await run('outbox')).value as { rows: unknown[] };
    expect(await run('verify', 'cancel')).toEqual({ code: 0, value: { cancelled: [bob.aci] } });
    const { rows } = (await run('outbox')).value as { rows: { recipient: string; state: string }[] };
    expect(rows).toHaveLength(before.length + 1);
    expect(rows.at(-1)).toMatchObject({ recipient: bob.aci, state: 'queued' });
  });

  it('unlocks', async () => {
    expect(await run('verify', 'unlock', bob.aci)).toEqual({ code: 0, value: { unlocked: bob.aci } });
    expect((await run('verify', 'status')).value).toMatchObject({ guesses: [] });
  });

  it('lists introductions', async () => {
    expect(await run('introduce', 'list')).toEqual({ code: 0, value: { received: [], issued: [] } });
  });

  it('names the option that has a wrong number, and its range', async () => {
    for (const [option, given, range] of [
      ['lifetime', '0', '1 to 86400'],
      ['lifetime', '', '1 to 86400'],
      ['lifetime', '99999999', '1 to 86400'],
      ['profile', '3', '1 to 2'],
    ] as const)
      expect(await run('verify', 'start', bob.aci, `--${option}`, given)).toMatchObject({
        code: 2,
        value: { error: { code: 'USAGE', message: `--${option} is a whole number from ${range}` } },
      });
  });

  it('goes online for what needs the other side', async () => {
    expect(await run('verify', 'start', bob.aci)).toMatchObject({
      code: 2,
      value: { error: { code: 'USAGE', message: 'which server?' } },
    });
  });
});
