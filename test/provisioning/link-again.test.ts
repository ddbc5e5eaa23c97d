/** Linking after something: a removal, an interruption, a process that died anywhere. */
import { beforeEach, describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { resumeLink } from '../../src/provisioning/link.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Account } from '../../src/store/rows.ts';
import { account as accountCell, contacts, outboxRows, sessions } from '../../src/store/tables.ts';
import type { Request, Response } from '../../src/transport/request.ts';
import { settle } from '../support/clock.ts';
import { FaultyStore } from '../support/store-faults.ts';
import { FakeServer } from './fake-server.ts';
import { LinkStage, phone, profile } from './link-stage.ts';
import { phoneAccount } from './seal.ts';

let stage: LinkStage;

beforeEach(() => {
  stage = new LinkStage();
});

describe('a device that was removed', () => {
  async function unlink(): Promise<Account> {
    const account = await stage.linkWith();
    const batch = stage.store.batch();
    accountCell.put(batch, { ...account, unlinkedAt: stage.clock.now() });
    sessions.put(batch, 'aci', account.aci, 1, new Uint8Array([1]));
    contacts.put(batch, account.aci, { name: 'me' });
    for await (const [key] of outboxRows.scan(stage.store, [account.aci]))
      outboxRows.delete(batch, account.aci, Number(key));
    await batch.commit();
    stage.server.devices.length = 0;
    return account;
  }

  it('is linked anew with its data, but without its old sessions', async () => {
    const before = await unlink();
    const after = await stage.linkWith();
    expect(after.password).not.toBe(before.password);
    await stage.expectLinked();
    expect(await sessions.get(stage.store.batch(), 'aci', after.aci, 1)).toBeUndefined();
    expect(await contacts.get(stage.store.batch(), after.aci)).toEqual({ name: 'me' });
  });

  it('is not replaced by another account', async () => {
    await unlink();
    const other = new FakeServer({ ...phoneAccount(), aci: '00000000-0000-4000-8000-000000000001' });
    stage.server = other;
    await expect(stage.linkWith()).rejects.toMatchObject({
      code: 'ALREADY_LINKED',
      message: expect.stringContaining('another') as string,
    });
    expect(other.devices).toHaveLength(0);
  });
});

describe('a link that was interrupted', () => {
  const lost = (): never => {
    throw new BotError('SERVER_UNREACHABLE', 'the socket closed before the answer');
  };

  it('is taken up without a code when the device was registered and the answer lost', async () => {
    stage.server.fault = (request, take) => {
      const response = take();
      return request.path === '/v1/devices/link' ? lost() : response;
    };
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    stage.server.fault = (_, take) => take();
    stage.events = [];
    await stage.clock.advance(60_000);
    await stage.linkWith();
    expect(stage.events.map(({ kind }) => kind)).toEqual(['keys', 'linked']);
    await stage.expectLinked();
  });

  it('waits until a request that was given up has settled before it gives up the device', async () => {
    let register: (() => Response) | undefined;
    stage.server.fault = (request, take) => {
      if (request.path !== '/v1/devices/link') return take();
      register = take;
      return lost();
    };
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    const linking = stage.linkWith();
    await settle();
    register?.(); // the stage.server comes to it late
    await stage.clock.advance(10_000);
    expect(await linking).toMatchObject({ deviceId: 2 });
    await stage.expectLinked();
  });

  it('is forgotten with its keys when no device came of it', async () => {
    stage.server.fault = (request, take) => (request.path === '/v1/devices/link' ? lost() : take());
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await stage.clock.advance(60_000);
    expect(await resumeLink(stage.parts())).toBeUndefined();
    await stage.expectEmpty();
  });

  it('stays begun while the server cannot be asked', async () => {
    stage.server.fault = (request, take) => {
      take();
      return request.path === '/v1/devices/link' ? lost() : lost();
    };
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await stage.clock.advance(60_000);
    await expect(resumeLink(stage.parts())).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    stage.server.fault = (_, take) => take();
    expect(await resumeLink(stage.parts())).toMatchObject({ deviceId: 2, keysUploaded: true });
    await stage.expectLinked();
  });

  it('is not taken up with another server', async () => {
    stage.server.fault = (request, take) => (request.path === '/v1/devices/link' ? lost() : take());
    await expect(stage.linkWith()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    const other = { ...stage.parts(), profile: { ...profile, chat: 'https://other.example:443' } };
    await expect(resumeLink(other)).rejects.toMatchObject({ code: 'ALREADY_LINKED' });
    expect(stage.server.upgrades).toHaveLength(0);
  });
});

describe('the crash walk over link', () => {
  async function restart(): Promise<void> {
    await stage.clock.advance(60_000);
    stage.server.fault = (_, take) => take();
    await stage.linkWith().catch((error: unknown) => {
      // All was done before the crash, only nobody heard.
      expect(error).toMatchObject({ code: 'ALREADY_LINKED' });
    });
    await stage.expectLinked();
  }

  it('loses nothing and makes one device, whichever commit the process dies at', async () => {
    const counting = new FaultyStore(stage.store);
    await stage.linkWith(counting);
    expect(counting.commits).toBeGreaterThan(10);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        stage.store = openMemory();
        stage.server = new FakeServer(phone);
        await stage.linkWith(new FaultyStore(stage.store, { at, kind })).catch(() => undefined);
        await restart();
      }
    }
  });

  it('loses nothing and makes one device, whichever request the process dies at', async () => {
    await stage.linkWith();
    const total = stage.server.requests.length;
    expect(total).toBe(5);
    for (let at = 1; at <= total; at++) {
      for (const when of ['before', 'after'] as const) {
        stage.store = openMemory();
        stage.server = new FakeServer(phone);
        let count = 0;
        const dying = new FaultyStore(stage.store);
        stage.server.fault = (_: Request, take: () => Response): Response => {
          count += 1;
          if (count < at) return take();
          if (when === 'after' && count === at) take();
          dying.crash();
          throw new BotError('SERVER_UNREACHABLE', 'the process died here');
        };
        await stage.linkWith(dying).catch(() => undefined);
        await restart();
      }
    }
  });
});
