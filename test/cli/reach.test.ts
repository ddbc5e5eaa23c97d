import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reachAccount } from '../../src/cli/account.ts';
import { ControlServer } from '../../src/cli/control-server.ts';
import { BotError } from '../../src/errors.ts';
import { memoryIo } from '../support/memory-io.ts';

const CALL = { call: 'me' } as const;

describe('an account that another process holds', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'reach-test-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const locked = (): never => {
    throw new BotError('STORE_LOCKED', 'another process holds it');
  };

  it('is asked again until that process answers', async () => {
    const controls: ControlServer[] = [];
    let tries = 0;
    const found = await reachAccount(memoryIo(), { data: folder }, CALL, async (answered) => {
      if (answered !== undefined) return answered;
      tries += 1;
      // A bot that is starting: it has the lock, and serves its socket a moment later.
      if (tries === 2) controls.push(await ControlServer.open(folder, () => Promise.resolve({ name: 'it' })));
      return locked();
    });
    expect([found, tries]).toEqual([{ name: 'it' }, 2]);
    for (const control of controls) await control.close();
  });

  it('is opened here once that process has let go', async () => {
    let tries = 0;
    const found = await reachAccount(memoryIo(), { data: folder }, CALL, () =>
      ++tries === 3 ? 'opened' : locked(),
    );
    expect(found).toBe('opened');
  });

  it('is given up after ten tries, and at once when the command ends or something else is wrong', async () => {
    let tries = 0;
    const count = (): never => {
      tries += 1;
      return locked();
    };
    await expect(reachAccount(memoryIo(), { data: folder }, CALL, count)).rejects.toMatchObject({
      code: 'STORE_LOCKED',
    });
    expect(tries).toBe(10);
    const io = memoryIo();
    const ended = reachAccount(io, { data: folder }, CALL, locked);
    io.stop.abort();
    await expect(ended).rejects.toMatchObject({ name: 'AbortError' });
    const wrong = new BotError('PASSPHRASE_WRONG', 'no');
    await expect(reachAccount(memoryIo(), { data: folder }, CALL, () => Promise.reject(wrong))).rejects.toBe(
      wrong,
    );
  }, 20_000);
});
