/** Bare runs of accounts: their identities, guesses and trust are in the store. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { passingSide, storedSide } from '../../../plugins/verify/bare/stored.ts';
import type { Side } from '../../../plugins/verify/bare/verify.ts';
import { hashCode, NO_COUNTERS, wasTyped } from '../../../plugins/verify/limits.ts';
import { localKey, putCounters, readCounters } from '../../../plugins/verify/rows.ts';
import { offlineHost, passingHost } from '../../../src/bot/offline-host.ts';
import { fromBase64, toBase64 } from '../../../src/bytes.ts';
import { main } from '../../../src/cli/main.ts';
import type { Host } from '../../../src/plugin/contract.ts';
import type { Aci } from '../../../src/address.ts';
import { sessions } from '../../../src/store/tables.ts';
import { openLevel } from '../../../src/store/level.ts';
import { memoryIo, type MemoryIo } from '../../support/memory-io.ts';
import { makePeer, type Peer } from '../../support/peer.ts';
import { ENV, random } from '../support/party.ts';
import { codes, nodeSide, peers, play, spoken, talk } from './sides.ts';
import { wire } from './wires.ts';

const PLUGIN = { name: 'verify', version: '1', permissions: ['identities'] } as const;
const DAY_MS = 86_400_000;

/** @returns `side`, with or without a contact that the operator names */
async function account(): Promise<{ peer: Peer; host: Host; side: (contact?: Aci) => Side }> {
  const peer = await makePeer();
  const host = await offlineHost(peer.store, peer.platform, PLUGIN);
  return { peer, host, side: await sides(peer, host) };
}

async function sides(peer: Peer, host: Host): Promise<(contact?: Aci) => Side> {
  const passing = await passingHost(peer.store, peer.platform, PLUGIN);
  return (contact) =>
    contact === undefined ? passingSide(host, passing, random, ENV) : storedSide(host, contact, random, ENV);
}

async function allRows({ store }: Peer): Promise<Record<string, string>> {
  const rows: Record<string, string> = {};
  for await (const [key, value] of store.scan('')) rows[key] = toBase64(value);
  return rows;
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
      const outcomes = await play(
        { create, profile },
        { code },
        { left: a.side(b.peer.aci), right: b.side(a.peer.aci) },
      );
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
    const before = await allRows(a.peer);
    const { create, code } = spoken();
    const other = (await makePeer()).aci;
    const outcomes = await play({ create }, { code }, { left: a.side(other), right: b.side(a.peer.aci) });
    expect(codes(outcomes)[0]).toBe('IDENTITY_CHANGED');
    const { message } = outcomes[0] as Error;
    expect(message).toContain(`calls itself ${b.peer.aci} and not ${other}`);
    expect(await a.host.trust.get(b.peer.aci)).toMatchObject({ state: 'unknown' });
    expect(Object.keys(await allRows(a.peer)).filter((key) => !(key in before))).toEqual([
      expect.stringContaining('counters'),
      expect.stringContaining('local-key'),
    ]);
  });

  it.each([1, 2] as const)(
    'V-12: are told a name, write to each other, and keep nothing, where no contact is named, in profile %d',
    async (profile) => {
      const [a, carol] = [await account(), await account()];
      const before = await allRows(a.peer);
      // Nobody has ever spoken of Carol. In profile 1 it is somebody else who calls himself so.
      const mallory = nodeSide(a.peer.platform.clock);
      const asCarol = { ...mallory, own: { ...mallory.own, aci: carol.peer.aci } };
      const end = profile === 1 ? asCarol : carol.side();
      const { create, code } = spoken();
      const [left, right] = peers(await play({ create, profile }, { code }, { left: a.side(), right: end }));
      expect(left.aci).toBe(carol.peer.aci);
      expect(right.identityKey).toEqual(keyOf(a.peer));
      expect(await talk(left, right)).toHaveLength(2);
      expect(await a.host.trust.get(carol.peer.aci)).toMatchObject({ state: 'unknown', evidence: [] });
      const kept = Object.keys(await allRows(a.peer)).filter((key) => !(key in before));
      expect(kept).toEqual([expect.stringContaining('counters'), expect.stringContaining('local-key')]);
    },
  );

  it('are no verified contacts by a key that was known, where no contact is named', async () => {
    const [a, b] = [await account(), await account()];
    const batch = a.peer.store.batch();
    await a.peer.identities.save(batch, b.peer.aci, keyOf(b.peer));
    await batch.commit();
    const { create, code } = spoken();
    const outcomes = await play({ create }, { code }, { left: a.side(), right: b.side() });
    expect(peers(outcomes)[0].aci).toBe(b.peer.aci);
    expect(await a.host.trust.get(b.peer.aci)).toMatchObject({ state: 'tofu', pin: keyOf(b.peer) });
  });

  it('are refused with a key that the operator has revoked', async () => {
    const [a, b] = [await account(), await account()];
    const revoked = { kind: 'revoke', key: keyOf(b.peer) } as const;
    await a.host.update((tx) => tx.trust.identities.setState(b.peer.aci, revoked));
    const { create, code } = spoken();
    const outcomes = await play({ create }, { code }, { left: a.side(), right: b.side() });
    expect(codes(outcomes)[0]).toBe('IDENTITY_CHANGED');
  });

  it('take another key of a verified contact with the second run (V-14)', async () => {
    const [a, b] = [await account(), await account()];
    const pin = (await makePeer()).account.identity.publicKey;
    const proof = { kind: 'safety-number', by: 'operator', at: 1 } as const;
    await a.host.update((tx) => tx.trust.identities.pin(b.peer.aci, fromBase64(pin), proof));
    const run = async (): Promise<Awaited<ReturnType<typeof play>>> => {
      const { create, code } = spoken();
      return play({ create }, { code }, { left: a.side(b.peer.aci), right: b.side(a.peer.aci) });
    };
    const [refused] = await run();
    expect(refused).toMatchObject({
      code: 'IDENTITY_CHANGED',
      message: expect.stringContaining(b.peer.aci) as string,
    });
    const [taken] = peers(await run());
    expect(taken.aci).toBe(b.peer.aci);
    expect(await a.host.trust.get(b.peer.aci)).toMatchObject({ state: 'verified', pin: keyOf(b.peer) });
  });

  it('and a program without one meet as well', async () => {
    const a = await account();
    const { create, code } = spoken();
    const [left, right] = peers(
      await play({ create }, { code }, { left: a.side(), right: nodeSide(a.peer.platform.clock) }),
    );
    expect(right.aci).toBe(a.peer.aci);
    expect(await a.host.trust.get(left.aci)).toMatchObject({ state: 'unknown' });
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
    const outcomes = await play({ create }, { code }, { right: (await sides(peer, later))() });
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
    const [locked] = await play({ create }, { code }, { left: side() });
    expect(locked).toMatchObject({
      code: 'VERIFY_LOCKED',
      next: expect.stringContaining('countersign verify unlock --bare') as string,
    });
  });
});

describe('countersign verify bare --data', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'bare-data-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  async function dataOf(
    name: string,
    change?: (peer: Peer) => Promise<void>,
  ): Promise<{ data: string; own: Peer }> {
    const data = join(folder, name);
    const store = await openLevel(data, { secret: { kind: 'plain' }, create: true });
    const own = await makePeer({ store });
    await change?.(own);
    await store.close();
    return { data, own };
  }

  /** Runs `verify bare` at both ends: the first listens, and makes the code. */
  async function both(
    first: string[],
    second: string[],
    json = ['--json'],
  ): Promise<[MemoryIo, MemoryIo, number[]]> {
    const a = memoryIo({ cwd: folder, stdin: '' });
    const running = main(['verify', 'bare', '--listen', '0', '--create', '--json', ...first], a);
    const { port } = await a.line(({ event }) => event === 'listening');
    const { code } = await a.line(({ event }) => event === 'code');
    const b = memoryIo({ cwd: folder, stdin: `${String(code)}\n` });
    const other = main(['verify', 'bare', '--connect', String(port), '--code-stdin', ...json, ...second], b);
    return [a, b, await Promise.all([running, other])];
  }

  async function contactsOf(data: string): Promise<unknown> {
    const list = memoryIo({ cwd: folder });
    expect(await main(['trust', 'list', '--json', '--data', data], list)).toBe(0);
    return list.lines()[0]?.['contacts'];
  }

  it('verifies the contact that is named, with the identity of the account', async () => {
    const [a, b] = [await dataOf('a'), await dataOf('b')];
    const [first, second, exits] = await both(
      ['--data', a.data, '--contact', b.own.aci],
      ['--data', b.data, '--contact', a.own.aci.toUpperCase()],
    );
    expect(exits).toEqual([0, 0]);
    const verified = await first.line(({ event }) => event === 'verified');
    expect(verified).toMatchObject({ aci: b.own.aci, peerIdentityKey: toBase64(keyOf(b.own)), pinned: true });
    expect(second.lines()[0]).toMatchObject({ aci: a.own.aci, peerIdentityKey: toBase64(keyOf(a.own)) });
    const [known] = [{ aci: b.own.aci, state: 'verified', identityKey: toBase64(keyOf(b.own)) }];
    expect(await contactsOf(a.data)).toMatchObject([known]);
  });

  it('shows who the other side says it is where nobody is named, and keeps nothing of it', async () => {
    const [a, b] = [await dataOf('a'), await dataOf('b')];
    const [first, second, exits] = await both(['--data', a.data], ['--data', b.data], []);
    expect(exits).toEqual([0, 0]);
    const verified = await first.line(({ event }) => event === 'verified');
    expect(verified).toMatchObject({
      aci: b.own.aci,
      peerIdentityKey: toBase64(keyOf(b.own)),
      pinned: false,
    });
    expect(second.out()).toContain(`It calls itself ${a.own.aci}, which is its word alone`);
    expect([await contactsOf(a.data), await contactsOf(b.data)]).toEqual([[], []]);
  });

  it('tells that a key which was known before is replaced (V-14)', async () => {
    const b = await dataOf('b');
    const older = keyOf(await makePeer());
    const a = await dataOf('a', async ({ store, identities }) => {
      const batch = store.batch();
      await identities.save(batch, b.own.aci, older);
      await batch.commit();
    });
    const [first] = await both(['--data', a.data, '--contact', b.own.aci], ['--data', b.data]);
    expect(await first.line(({ event }) => event === 'replaced')).toMatchObject({
      ...{ code: 'IDENTITY_REPLACED', aci: b.own.aci, falseKey: toBase64(older) },
      identityKey: toBase64(keyOf(b.own)),
    });
  });

  it.each([
    ['self', 'USAGE', 2],
    ['nobody known', 'RECIPIENT_UNKNOWN', 1],
    [undefined, 'USAGE', 2],
  ])('takes no contact that is %s', async (contact, code, exit) => {
    const { data } = await dataOf('a');
    const io = memoryIo({ cwd: folder });
    const named = contact === undefined ? ['--contact', 'x'] : ['--data', data, '--contact', contact];
    expect(await main(['verify', 'bare', '--listen', '0', '--create', '--json', ...named], io)).toBe(exit);
    expect(io.lines()).toMatchObject([{ error: { code } }]);
  });

  it('says what to do beside a bot that runs', async () => {
    const { data } = await dataOf('a');
    const store = await openLevel(data, { secret: { kind: 'plain' }, create: false });
    const io = memoryIo({ cwd: folder });
    expect(await main(['verify', 'bare', '--listen', '0', '--create', '--json', '--data', data], io)).toBe(1);
    expect(io.lines()).toMatchObject([
      { error: { code: 'STORE_LOCKED', next: expect.stringContaining('Stop the bot') as string } },
    ]);
    await store.close();
  });

  it('is unlocked by the operator after five failures in a row (V-23)', async () => {
    const { data, own } = await dataOf('a', async ({ store, platform }) => {
      const host = await offlineHost(store, platform, PLUGIN);
      await host.update((tx) => {
        putCounters(tx, { ...NO_COUNTERS, inARow: [{ peer: 'bare', count: 5 }] });
      });
    });
    const locked = memoryIo({ cwd: folder });
    const call = ['verify', 'bare', '--listen', '0', '--create', '--json', '--data', data];
    expect(await main(call, locked)).toBe(1);
    expect(locked.lines().at(-1)).toMatchObject({ error: { code: 'VERIFY_LOCKED' } });
    expect(JSON.stringify(locked.lines().at(-1))).toContain('verify unlock --bare');
    const unlocking = memoryIo({ cwd: folder });
    expect(await main(['verify', 'unlock', '--bare', '--json', '--data', data], unlocking)).toBe(0);
    expect(unlocking.lines()).toEqual([{ unlocked: 'bare' }]);
    const [, second, exits] = await both(['--data', data], []);
    expect(exits).toEqual([0, 0]);
    expect(second.lines()[0]).toMatchObject({ aci: own.aci });
  });
});
