/** Bare runs of accounts: their identities, guesses and trust are in the store. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { storedSide } from '../../../plugins/verify/bare/stored.ts';
import { wasTyped, hashCode } from '../../../plugins/verify/limits.ts';
import { localKey, readCounters } from '../../../plugins/verify/signal/rows.ts';
import { offlineHost } from '../../../src/bot/offline-host.ts';
import { fromBase64, toBase64 } from '../../../src/bytes.ts';
import { main } from '../../../src/cli/main.ts';
import type { Host } from '../../../src/plugin.ts';
import type { Aci } from '../../../src/address.ts';
import { sessions } from '../../../src/store/tables.ts';
import { openLevel } from '../../../src/store/level.ts';
import { memoryIo } from '../../cli/memory-io.ts';
import { makePeer, type Peer } from '../../support/peer.ts';
import { ENV, random } from '../support/party.ts';
import { codes, nodeSide, peers, play, spoken, talk } from './sides.ts';
import { wire } from './wires.ts';

const PLUGIN = { name: 'verify', version: '1', permissions: ['identities'] } as const;
const DAY_MS = 86_400_000;

async function account(): Promise<{
  peer: Peer;
  host: Host;
  side: (contact?: Aci) => ReturnType<typeof storedSide>;
}> {
  const peer = await makePeer();
  const host = await offlineHost(peer.store, peer.platform, PLUGIN);
  return { peer, host, side: (contact) => storedSide(host, random, ENV, contact) };
}

function keyOf({ account: { identity } }: Peer): Uint8Array {
  return fromBase64(identity.publicKey);
}

describe('two accounts', () => {
  it.each([1, 2] as const)(
    'are verified contacts of each other afterwards, in profile %d',
    async (profile) => {
      const [a, b] = [await account(), await account()];
      const { create, code } = spoken();
      const outcomes = await play({ create, profile }, { code }, { left: a.side(), right: b.side() });
      const [left, right] = peers(outcomes);
      expect([left.aci, right.aci]).toEqual([b.peer.aci, a.peer.aci]);
      expect(left.identityKey).toEqual(keyOf(b.peer));
      expect(await talk(left, right)).toEqual([
        ['r one', 'r ', 'r three ✓'],
        ['l one', 'l ', 'l three ✓'],
      ]);
      for (const [own, other] of [
        [a, b],
        [b, a],
      ] as const) {
        const known = await own.host.trust.get(other.peer.aci);
        expect(known).toMatchObject({ state: 'verified', pin: keyOf(other.peer) });
        expect(known.evidence.at(-1)).toMatchObject({ kind: 'pake', suite: 1 });
        expect((await own.host.update(readCounters))?.charges).toEqual([]);
      }
    },
  );

  it('do not change a verified pin by one run (V-14)', async () => {
    const [a, b] = [await account(), await account()];
    const pin = (await makePeer()).account.identity.publicKey;
    const proof = { kind: 'safety-number', by: 'operator', at: 1 } as const;
    await a.host.update((tx) => tx.trust.identities.pin(b.peer.aci, fromBase64(pin), proof));
    const { create, code } = spoken();
    const outcomes = await play({ create }, { code }, { left: a.side(b.peer.aci), right: b.side() });
    expect(codes(outcomes)[0]).toBe('IDENTITY_CHANGED');
    expect(await a.host.trust.get(b.peer.aci)).toMatchObject({
      state: 'changed',
      pin: fromBase64(pin),
      candidate: keyOf(b.peer),
    });
  });

  it.each([1, 2] as const)(
    'V-12: are nobody whose key is known as another, unless the operator has named them, in profile %d',
    async (profile) => {
      const [a, carol] = [await account(), await account()];
      const before = async (): Promise<object> => a.host.trust.get(carol.peer.aci);
      const batch = a.peer.store.batch();
      await a.peer.identities.save(batch, carol.peer.aci, keyOf(carol.peer));
      await batch.commit();
      const known = await before();
      // Who is verified rightly, by a code, and calls himself Carol.
      const mallory = nodeSide(a.peer.platform.clock);
      const asCarol = { ...mallory, own: { ...mallory.own, aci: carol.peer.aci } };
      for (const create of [true, false]) {
        const { create: made, code } = spoken();
        const [left, right] = create
          ? [{ create: made, profile }, { code }]
          : [{ code }, { create: made, profile }];
        const outcomes = await play(left, right, { left: a.side(), right: asCarol });
        expect(codes(outcomes)[0]).toBe('IDENTITY_CHANGED');
        expect(await before()).toEqual(known);
      }
    },
  );

  it.each([1, 2] as const)(
    'V-14: heal what was known of a contact whom the operator has named, in profile %d',
    async (profile) => {
      const [a, b] = [await account(), await account()];
      const events: string[] = [];
      a.host.trust.onEvent(({ kind }) => events.push(kind));
      const batch = a.peer.store.batch();
      await a.peer.identities.save(batch, b.peer.aci, keyOf(await makePeer()));
      sessions.put(batch, 'aci', b.peer.aci, 7, new Uint8Array([1]));
      await batch.commit();
      const { create, code } = spoken();
      const { left, right } = { left: a.side(b.peer.aci), right: b.side() };
      peers(await play({ create, profile }, { code }, { left, right }));
      expect(await a.host.trust.get(b.peer.aci)).toMatchObject({ state: 'verified', pin: keyOf(b.peer) });
      expect(events).toContain('replaced');
      expect(await sessions.get(a.peer.store.batch(), 'aci', b.peer.aci, 7)).toBeUndefined();
    },
  );

  it('are refused where the operator has named somebody else', async () => {
    const [a, b] = [await account(), await account()];
    const { create, code } = spoken();
    const other = (await makePeer()).aci;
    const outcomes = await play({ create }, { code }, { left: a.side(other), right: b.side() });
    expect(codes(outcomes)[0]).toBe('IDENTITY_CHANGED');
    expect(await a.host.trust.get(b.peer.aci)).toMatchObject({ state: 'unknown' });
  });

  it('and a program without one meet as well', async () => {
    const a = await account();
    const { create, code } = spoken();
    const [left, right] = peers(
      await play({ create }, { code }, { left: a.side(), right: nodeSide(a.peer.platform.clock) }),
    );
    expect(right.aci).toBe(a.peer.aci);
    expect(await a.host.trust.get(left.aci)).toMatchObject({ state: 'verified' });
    await talk(left, right);
  });
});

describe('guesses of a store', () => {
  it('outlive the program, and count all bare runs as one peer (V-23, V-24)', async () => {
    const { peer, side } = await account();
    const fail = async (): Promise<(string | undefined)[]> =>
      codes(await play({ create: spoken().create }, { code: spoken().code }, { right: side() }));
    for (let i = 0; i < 3; i++) expect(await fail()).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
    const later = await offlineHost(peer.store, peer.platform, PLUGIN);
    const { create, code } = spoken();
    const outcomes = await play({ create }, { code }, { right: storedSide(later, random, ENV) });
    expect(codes(outcomes)).toEqual(['PEER_GONE', 'VERIFY_LOCKED']);
    const locked = outcomes[1] as unknown as { retryAt: number };
    expect(locked.retryAt).toBe(peer.platform.clock.now() + DAY_MS);
  });

  it('are charged before the frame that spends them leaves, with the code that was typed (V-21, V-22)', async () => {
    const { host, side } = await account();
    const { create, code } = spoken();
    const now = host.clock.now();
    const spending = wire(({ type, bytes, cut }) => {
      if (type === 'reply') cut();
      return [bytes];
    });
    await play({ create }, { code }, { wire: spending, right: side() });
    const counters = await host.update(readCounters);
    const key = await host.update((tx) => localKey(tx, random));
    expect(counters?.charges).toMatchObject([{ peer: 'bare' }]);
    expect(counters && wasTyped(counters, hashCode(key, create.text), now)).toBe(true);
    const again = codes(await play({ create }, { code }, { right: side() }));
    expect(again).toEqual(['PEER_GONE', 'CODE_REJECTED']);
  });

  it('that cannot be read let no run start', async () => {
    const { host, side } = await account();
    await host.update((tx) => {
      tx.state.put('counters', new Uint8Array(3));
    });
    const { create, code } = spoken();
    const outcomes = await play({ create }, { code }, { left: side() });
    expect(codes(outcomes)[0]).toBe('VERIFY_LOCKED');
  });
});

describe('countersign verify bare --data', () => {
  it('verifies with the identity of the account, and leaves the contact in its store', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bare-data-'));
    const data = join(folder, 'data');
    try {
      const open = (create: boolean): ReturnType<typeof openLevel> =>
        openLevel(data, { secret: { kind: 'plain' }, create });
      const store = await open(true);
      const own = await makePeer({ store });
      await store.close();
      const a = memoryIo({ cwd: folder, stdin: '' });
      const running = main(['verify', 'bare', '--listen', '0', '--create', '--json', '--data', data], a);
      const { port } = await a.line(({ event }) => event === 'listening');
      const { code } = await a.line(({ event }) => event === 'code');
      const b = memoryIo({ cwd: folder, stdin: `${String(code)}\n` });
      const other = main(['verify', 'bare', '--connect', String(port), '--code-stdin', '--json'], b);
      expect(await Promise.all([running, other])).toEqual([0, 0]);
      expect(b.lines()[0]).toMatchObject({ peerIdentityKey: own.account.identity.publicKey });
      const list = memoryIo({ cwd: folder });
      expect(await main(['trust', 'list', '--json', '--data', data], list)).toBe(0);
      const verified = await a.line(({ event }) => event === 'verified');
      expect(list.lines()).toMatchObject([
        { contacts: [{ state: 'verified', identityKey: verified['peerIdentityKey'] }] },
      ]);
      expect(toBase64(keyOf(own))).not.toBe(verified['peerIdentityKey']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
