/**
 * Registering on the development server with a process that dies anywhere.
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { account as accountRow, pendingRegistration, sessions } from '../../src/store/tables.ts';
import { answers, freeNumber, registerHere } from '../support/primary.ts';
import { Registering } from '../support/registering.ts';
import { FaultyStore } from '../support/store-faults.ts';

const registering = await Registering.start();
const { server, profile } = registering;

afterAll(async () => {
  await server.close();
});

describe('the crash walk over register', () => {
  async function restart(store: Store, number: string): Promise<void> {
    const { account } = await registerHere(profile, store, number).catch((error: unknown) => {
      // All was done before the crash, only nobody heard.
      expect(error).toMatchObject({ code: 'CONFIRMATION_NEEDED' });
      return { account: undefined };
    });
    const row = await accountRow.get(store.batch());
    if (account !== undefined) expect(row).toEqual(account);
    expect(await pendingRegistration.get(store.batch())).toBeUndefined();
    if (row === undefined) throw new Error('there is no account');
    await registering.expectWhole(store, row);
  }

  it('is whole after a restart, whichever commit the process dies at', { timeout: 120_000 }, async () => {
    const counting = new FaultyStore(openMemory());
    await registerHere(profile, counting, freeNumber());
    expect(counting.commits).toBeGreaterThan(10);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        const store = openMemory();
        const number = freeNumber();
        await registerHere(profile, new FaultyStore(store, { at, kind }), number).catch(() => undefined);
        await restart(store, number);
      }
    }
  });

  it('is whole also where an account with sessions is registered again', { timeout: 240_000 }, async () => {
    const other = '00000000-0000-4000-8000-0000000000bb' as Aci;
    const prepare = async (): Promise<{ store: Store; number: string; before: Account }> => {
      const [store, number] = [openMemory(), freeNumber()];
      const { account: before } = await registerHere(profile, store, number);
      const batch = store.batch();
      for (const device of [1, 2]) sessions.put(batch, 'aci', other, device, fromUtf8('an old ratchet'));
      await batch.commit();
      return { store, number, before };
    };
    const check = async (store: Store, before: Account, account: Account): Promise<void> => {
      expect([account.aci, account.identity]).toEqual([before.aci, before.identity]);
      expect(account.password).not.toBe(before.password);
      for await (const [key] of sessions.scan(store)) expect(key).toBe('no session');
      await registering.expectWhole(store, account);
    };
    const first = await prepare();
    const counting = new FaultyStore(first.store);
    const { account } = await registerHere(profile, counting, first.number, answers(true));
    await check(first.store, first.before, account);
    expect(counting.commits).toBeGreaterThan(10);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        const { store, number, before } = await prepare();
        await registerHere(profile, new FaultyStore(store, { at, kind }), number, answers(true)).catch(
          () => undefined,
        );
        await check(store, before, (await registerHere(profile, store, number, answers(true))).account);
      }
    }
  });

  it('is whole after a restart, whichever request the process dies at', { timeout: 120_000 }, async () => {
    let total = 0;
    await registering.with(openMemory(), freeNumber(), answers(), (_, take) => {
      total += 1;
      return take();
    });
    expect(total).toBe(10);
    for (let at = 1; at <= total; at++) {
      for (const when of ['before', 'after'] as const) {
        const store = openMemory();
        const dying = new FaultyStore(store);
        const number = freeNumber();
        let count = 0;
        await registering
          .with(dying, number, answers(), async (_, take) => {
            count += 1;
            if (count < at) return take();
            if (when === 'after' && count === at) await take();
            dying.crash();
            throw new BotError('SERVER_UNREACHABLE', 'the process died here');
          })
          .catch(() => undefined);
        await restart(store, number);
      }
    }
  });
});
