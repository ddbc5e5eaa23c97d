import { beforeEach, describe, expect, it } from 'vitest';
import { fromBase64 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { advanceId } from '../../src/session/prekey-generation.ts';
import type { Store } from '../../src/store/store.ts';
import type { PrekeyRow } from '../../src/store/rows.ts';
import { prekeys, prekeyStates } from '../../src/store/tables.ts';
import { PrekeyUpkeep, ROTATE_KEYS_MS } from '../../src/upkeep/prekey-upkeep.ts';
import { FaultyStore } from '../support/store-faults.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { answer, FakeKeyServer, identity, linkedStore, pniIdentity } from './fixtures.ts';

let store: Store;
let clock: ManualClock;
let server: FakeKeyServer;
let upkeep: PrekeyUpkeep;

beforeEach(async () => {
  store = await linkedStore();
  clock = new ManualClock();
  server = new FakeKeyServer();
  upkeep = newUpkeep();
});

function newUpkeep(): PrekeyUpkeep {
  return new PrekeyUpkeep({ store, requester: server, platform: testPlatform({ clock }) });
}

async function rows(
  kind: 'ec' | 'signed' | 'kyber',
  of: 'aci' | 'pni' = 'aci',
): Promise<(PrekeyRow & { id: number })[]> {
  const found: (PrekeyRow & { id: number })[] = [];
  for await (const [id, row] of prekeys.scan(store, [of, kind])) found.push({ ...row, id: Number(id) });
  return found;
}

const died = (): never => {
  throw new BotError('SERVER_UNREACHABLE', 'no answer');
};

describe('prekey upkeep', () => {
  it('makes the first signed and last-resort keys of both identities, rightly signed', async () => {
    await upkeep.check();
    expect(server.uploads.map((upload) => upload.identity)).toEqual(['aci', 'pni']);
    for (const upload of server.uploads) {
      const signer = (upload.identity === 'aci' ? identity : pniIdentity).getPublicKey();
      for (const key of [upload.signedPreKey, upload.pqLastResortPreKey]) {
        expect(signer.verify(fromBase64(key?.publicKey ?? ''), fromBase64(key?.signature ?? ''))).toBe(true);
      }
    }
    const state = await prekeyStates.get(store.batch(), 'aci');
    expect(state).toMatchObject({ signedId: server.uploads[0]?.signedPreKey?.keyId, signedAt: clock.now() });
  });

  it('rotates after 36 hours and keeps the old keys', async () => {
    await upkeep.check();
    await upkeep.check();
    expect(server.uploads).toHaveLength(2);
    await clock.advance(ROTATE_KEYS_MS);
    await upkeep.check();
    expect(server.uploads).toHaveLength(4);
    const signed = await rows('signed');
    expect(signed.map((row) => row.replacedAt !== 0).sort()).toEqual([false, true]);
  });

  it('uploads fresh keys when the server holds other ones', async () => {
    await upkeep.check();
    const before = (await prekeyStates.get(store.batch(), 'aci'))?.signedId;
    server.check = 409;
    await upkeep.check();
    expect((await prekeyStates.get(store.batch(), 'aci'))?.signedId).not.toBe(before);
    server.check = 404;
    server.uploads.length = 0;
    await upkeep.check();
    expect(server.uploads).toHaveLength(0);
  });

  /** What is uploaded of an identity, in order. */
  const uploadsOf = (of: string): string[] =>
    server.uploads
      .filter((upload) => upload.identity === of)
      .map(({ preKeys, pqPreKeys }) => (preKeys.length > 0 ? 'ec' : pqPreKeys?.length ? 'kyber' : 'signed'));

  it('replaces the one-time keys, too, when the server holds other ones, and before the signed ones', async () => {
    await upkeep.check();
    for (const isDue of [false, true]) {
      if (isDue) await clock.advance(ROTATE_KEYS_MS);
      server.uploads.length = 0;
      server.check = 409;
      await upkeep.check();
      for (const of of ['aci', 'pni'] as const) {
        expect(uploadsOf(of)).toEqual(['ec', 'kyber', 'signed']);
        const current = (await rows('ec', of)).filter((row) => row.replacedAt === 0);
        expect(current.map(({ id }) => id)).toEqual(
          server.uploads.find((upload) => upload.identity === of)?.preKeys.map(({ keyId }) => keyId),
        );
      }
    }
    server.uploads.length = 0;
    server.check = 200;
    await upkeep.check();
    expect(server.uploads).toEqual([]);
  });

  it('finishes the replacement of foreign keys after a crash, and makes no new ones with every refusal', async () => {
    await upkeep.check();
    server.uploads.length = 0;
    server.check = 409;
    const isSigned = (body: Uint8Array | undefined): boolean =>
      Buffer.from(body ?? []).includes('signedPreKey');
    server.fault = (request, take) => (isSigned(request.body) ? answer(422) : take());
    for (let times = 0; times < 3; times++)
      await expect(upkeep.check()).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
    expect(uploadsOf('aci')).toEqual(['ec', 'kyber']);
    server.fault = (_, take) => take();
    await newUpkeep().check();
    expect(uploadsOf('aci')).toEqual(['ec', 'kyber', 'ec', 'kyber', 'signed']);
  });

  it('takes up a rotation of its own that the server has and did not answer, and nothing more', async () => {
    await upkeep.check();
    server.uploads.length = 0;
    server.check = 409;
    server.fault = (request, take) => {
      const response = take();
      return request.verb === 'PUT' && Buffer.from(request.body ?? []).includes('signedPreKey')
        ? died()
        : response;
    };
    await expect(upkeep.check()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(uploadsOf('aci')).toEqual(['ec', 'kyber', 'signed']);
    const statuses = [409, 200]; // of the keys in force, and of those that were begun
    server.fault = (request, take) =>
      request.path === '/v2/keys/check' ? answer(statuses.shift() ?? 200) : take();
    await newUpkeep().check();
    expect(uploadsOf('aci')).toEqual(['ec', 'kyber', 'signed', 'signed']);
    const signed = server.uploads.flatMap(({ identity: of, signedPreKey }) =>
      of === 'aci' && signedPreKey ? [signedPreKey.keyId] : [],
    );
    expect(new Set(signed).size).toBe(1);
    expect((await prekeyStates.get(store.batch(), 'aci'))?.signedId).toBe(signed[0]);
  });

  it('offers Kyber keys in place of foreign ones again where the server did not take them', async () => {
    await upkeep.check();
    server.uploads.length = 0;
    server.check = 409;
    server.fault = (request, take) =>
      request.verb === 'PUT' && Buffer.from(request.body ?? []).includes('pqPreKeys') ? answer(500) : take();
    await upkeep.check();
    expect(uploadsOf('aci')).toEqual(['ec', 'signed']);
    server.check = 200;
    server.fault = (_, take) => take();
    await clock.advance(7 * 60 * 60_000);
    await upkeep.check();
    expect(uploadsOf('aci')).toEqual(['ec', 'signed', 'kyber']);
  });

  it('keeps the old keys in force when an upload fails, and offers the same new ones again', async () => {
    await upkeep.check();
    const before = await prekeyStates.get(store.batch(), 'aci');
    await clock.advance(ROTATE_KEYS_MS);
    const offered: number[] = [];
    server.fault = (request, take) => {
      if (request.verb !== 'PUT') return take();
      take();
      offered.push(server.uploads.at(-1)?.signedPreKey?.keyId ?? 0);
      return died();
    };
    await expect(upkeep.check()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect((await prekeyStates.get(store.batch(), 'aci'))?.signedId).toBe(before?.signedId);
    await expect(newUpkeep().check()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(new Set(offered).size).toBe(1);
    server.fault = (_, take) => take();
    await newUpkeep().check();
    expect((await prekeyStates.get(store.batch(), 'aci'))?.signedId).toBe(offered[0]);
    expect((await rows('signed')).filter((row) => row.replacedAt === 0)).toHaveLength(1);
  });

  it('refills below ten, EC and Kyber in requests of their own, and keeps the replaced private halves', async () => {
    server.counts.set('aci ec', 0).set('aci kyber', 0);
    await upkeep.refill();
    expect(server.uploads.map((upload) => [upload.preKeys.length, upload.pqPreKeys?.length])).toEqual([
      [100, undefined],
      [0, 100],
    ]);
    server.counts.set('aci ec', 10);
    await upkeep.refill();
    expect(server.uploads).toHaveLength(2);
    server.counts.set('aci ec', 9);
    await upkeep.refill();
    const ec = await rows('ec');
    expect(ec.filter((row) => row.replacedAt !== 0)).toHaveLength(100);
    expect(ec.filter((row) => row.replacedAt === 0 && row.confirmedAt !== 0)).toHaveLength(100);
    expect(new Set(ec.map((row) => row.id)).size).toBe(200);
  });

  it('does not mark keys as replaced that a session has used', async () => {
    server.counts.set('aci ec', 0);
    await upkeep.refill();
    const [used] = await rows('ec');
    if (!used) throw new Error('no key');
    const batch = store.batch();
    prekeys.put(batch, 'aci', 'ec', used.id, { ...used, usedAt: clock.now() });
    await batch.commit();
    server.counts.set('aci ec', 5);
    await upkeep.refill();
    expect((await rows('ec')).find((row) => row.id === used.id)).toMatchObject({
      replacedAt: 0,
      usedAt: clock.now(),
    });
  });

  it('notices keys that the server took although its answer was lost', async () => {
    server.counts.set('aci ec', 3);
    server.fault = (request, take) => {
      const response = take();
      return request.verb === 'PUT' ? died() : response;
    };
    await expect(upkeep.refill()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect((await rows('ec')).every((row) => row.confirmedAt === 0)).toBe(true);
    server.fault = (_, take) => take();
    await newUpkeep().refill();
    expect(server.uploads).toHaveLength(1);
    expect((await rows('ec')).every((row) => row.confirmedAt !== 0)).toBe(true);
  });

  it('goes on where the server cannot store Kyber keys, and does not insist', async () => {
    server.counts.set('aci ec', 0).set('aci kyber', 0);
    server.fault = (request, take) => {
      const isKyber = request.verb === 'PUT' && Buffer.from(request.body ?? []).includes('pqPreKeys');
      return isKyber ? answer(500) : take();
    };
    await upkeep.refill();
    await upkeep.refill();
    expect(server.log.filter((line) => line.startsWith('PUT'))).toHaveLength(2);
    await clock.advance(7 * 60 * 60_000);
    server.fault = (_, take) => take();
    await upkeep.refill();
    expect((await rows('kyber')).filter((row) => row.confirmedAt !== 0)).toHaveLength(100);
  });

  it('leaves the PNI alone where there is none', async () => {
    store = await linkedStore({ pni: null, pniIdentity: null });
    await newUpkeep().check();
    expect(server.uploads.map((upload) => upload.identity)).toEqual(['aci']);
  });

  it('numbers keys in 24 bits and skips 0', () => {
    expect([advanceId(1, 1), advanceId(0xffffff, 1), advanceId(0xfffffe, 3)]).toEqual([2, 1, 2]);
  });

  it('holds the private half of every key on the server, whichever commit the process dies at', async () => {
    const scenario = async (on: Store): Promise<void> => {
      const dying = new PrekeyUpkeep({ store: on, requester: server, platform: testPlatform({ clock }) });
      server.counts.set('aci ec', 0).set('aci kyber', 0);
      await dying.check();
      server.counts.set('aci ec', 4);
      await clock.advance(ROTATE_KEYS_MS);
      await dying.check();
    };
    const counting = new FaultyStore(store);
    await scenario(counting);
    expect(counting.commits).toBeGreaterThan(15);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        store = await linkedStore();
        server = new FakeKeyServer();
        await scenario(new FaultyStore(store, { at, kind })).catch(() => undefined);
        await expectPrivateHalves();
        await newUpkeep().check();
        await expectPrivateHalves();
        for (const key of ['signed', 'kyber'] as const) {
          const current = (await rows(key)).filter(
            (row) => row.replacedAt === 0 && (key === 'signed' || row.lastResort),
          );
          expect(current.map((row) => row.confirmedAt !== 0)).toEqual([true]);
        }
      }
    }
  });

  async function expectPrivateHalves(): Promise<void> {
    const held = new Map<string, Set<number>>();
    for (const kind of ['ec', 'signed', 'kyber'] as const)
      held.set(kind, new Set((await rows(kind)).map((row) => row.id)));
    for (const upload of server.uploads.filter(({ identity: of }) => of === 'aci')) {
      const uploaded: [string, number | undefined][] = [
        ...upload.preKeys.map((key): [string, number] => ['ec', key.keyId]),
        ...(upload.pqPreKeys ?? []).map((key): [string, number] => ['kyber', key.keyId]),
        ['signed', upload.signedPreKey?.keyId],
        ['kyber', upload.pqLastResortPreKey?.keyId],
      ];
      for (const [kind, id] of uploaded) if (id !== undefined) expect(held.get(kind)?.has(id)).toBe(true);
    }
  }
});
