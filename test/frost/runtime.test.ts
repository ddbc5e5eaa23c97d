/**
 * FROST on the runtime of rounds and LevelDB: what becomes of its nonces, wherever a party stops.
 */
import { createPublicKey, verify } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isKept } from '../../src/backup/kept-tables.ts';
import { FreshRows } from '../../src/backup/fresh-start.ts';
import { isVolatile, volatileTags } from '../../src/backup/volatile-tags.ts';
import { fromUtf8, own, toHex, type Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import { silentLog, systemPlatform } from '../../src/platform.ts';
import { decodeFrame, partySet, type PartySet } from '../../src/rounds/index.ts';
import type { Store } from '../../src/store/store.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { outboxRows, pluginVolatile } from '../../src/store/tables.ts';
import { ManualClock, settle } from '../../src/testing/clock.ts';
import frostPlugin, { deal, frostEntries, publicKeyOf, type FrostKey } from '../../plugins/frost/index.ts';
import { frostSign } from '../../plugins/frost/sign.ts';
import { checkPlugin } from '../../src/plugin/check-plugin.ts';
import { makePeer } from '../support/peer.ts';
import { exchange, RoundsMember } from '../support/rounds-member.ts';
import { FAULT_KINDS, FaultyStore, type Fault } from '../support/store-faults.ts';
import { openOrMake, PLAIN, tempFolder } from '../support/store-folder.ts';

const { random } = systemPlatform();
const MESSAGE = fromUtf8('pay 3 to nobody');
/** Of the first party, from when both have opened to the end. */
const COMMITS = 14;

type Folder = Awaited<ReturnType<typeof tempFolder>>;

describe('FROST on the runtime', { timeout: 120_000 }, () => {
  let clock: ManualClock;
  let folders: Folder[];
  let stores: FaultyStore[];
  let members: RoundsMember[];
  let parties: PartySet;
  let keys: FrostKey[];
  /** A store of theirs has met its fault. */
  let died: Promise<void>;

  beforeEach(async () => {
    clock = new ManualClock();
    let onDeath: () => void = () => undefined;
    died = new Promise((resolve) => {
      onDeath = resolve;
    });
    folders = [];
    stores = [];
    members = [];
    for (let at = 0; at < 2; at++) {
      folders.push(await tempFolder());
      const store = new FaultyStore(await openOrMake(folders[at]?.data ?? '', PLAIN), undefined, onDeath);
      stores.push(store);
      const peer = await makePeer({ platform: { ...systemPlatform(silentLog), clock }, store });
      members.push(await RoundsMember.start(clock, frostEntries(), { peer }));
    }
    const [first, second] = members as [RoundsMember, RoundsMember];
    await first.verify(second);
    await second.verify(first);
    for (const member of members) await member.sent();
    parties = partySet(members.map(({ party }) => party));
    keys = deal({ min: 2, max: 2 }, (length = 32) => random.bytes(length));
  });

  afterEach(async () => {
    for (const member of members) await member.stop();
    for (const store of stores) await store.inner.close();
    for (const folder of folders) await folder.remove();
  });

  function keyAt(at: number): FrostKey {
    const index = parties.find(({ aci }) => aci === members[at]?.peer.aci)?.index ?? 0;
    const key = keys[index - 1];
    if (key === undefined) throw new Error('there are two');
    return key;
  }

  async function open(at: number, message = MESSAGE): Promise<string> {
    const params = { min: 2, publicKey: publicKeyOf(keyAt(at)) };
    const request = { protocol: frostSign.name, params, input: keyAt(at), parties, message };
    return (await members[at]?.rounds.open(request)) ?? '';
  }

  /** The secret nonces that a party's ceremony has in its state now. */
  async function noncesAt(at: number): Promise<readonly Bytes[]> {
    const found: Bytes[] = [];
    const store = stores[at]?.inner;
    if (store === undefined) return [];
    for await (const [key, value] of pluginVolatile.scan(store, ['parties'])) {
      if (!key.endsWith('/state')) continue;
      const state = frostSign.state.decode(value);
      if (state.kind === 'committed') found.push(state.hiding, state.binding);
    }
    return found;
  }

  /** Keys of rows in which one of these is, as bytes or as text. */
  async function rowsWith(secrets: readonly Bytes[], store: Store | undefined): Promise<string[]> {
    const found: string[] = [];
    if (store === undefined) return found;
    for await (const [key, value] of store.scan('')) {
      const bytes = Buffer.from(value);
      if (secrets.some((secret) => bytes.includes(Buffer.from(secret)) || bytes.includes(toHex(secret))))
        found.push(key);
    }
    return found;
  }

  function signed(view: Awaited<ReturnType<RoundsMember['rounds']['show']>>): boolean {
    const key = publicKeyOf(keyAt(0));
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key]);
    const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
    return view?.state === 'done' && verify(null, MESSAGE, publicKey, view.output as Bytes);
  }

  /** Bodies of a round that a row carries: commitments are in round 1, a share of the signature in round 2. */
  function messageIn(row: OutboxRow): { round: number; body: string; id: string } | undefined {
    const content = decodeContent(row.content);
    const frame = content.kind === 'app' ? decodeFrame(content.payload) : undefined;
    return frame?.kind === 'message'
      ? { round: frame.round, body: toHex(own(frame.body)), id: toHex(frame.id) }
      : undefined;
  }

  /** The process of a party ends, and starts on what is durable. */
  async function restart(at: number): Promise<void> {
    const { member, store, folder } = party(at);
    await member.stop();
    await store.inner.close();
    const again = new FaultyStore(await openOrMake(folder.data, PLAIN));
    stores[at] = again;
    members[at] = await RoundsMember.start(clock, frostEntries(), { peer: member.peer, store: again });
  }

  function party(at: number): { member: RoundsMember; store: FaultyStore; folder: Folder } {
    const [member, store, folder] = [members[at], stores[at], folders[at]];
    if (member === undefined || store === undefined || folder === undefined) throw new Error('there are two');
    return { member, store, folder };
  }

  /** What waits at a party, as the server takes it: no step of the party. */
  async function take(at: number): Promise<readonly OutboxRow[]> {
    const { inner } = party(at).store;
    const batch = inner.batch();
    const rows: OutboxRow[] = [];
    for await (const [, row] of outboxRows.scan(inner)) {
      if (row.kind === 'app') rows.push(row);
      outboxRows.delete(batch, row.recipient, row.timestamp);
    }
    await batch.commit();
    return rows;
  }

  /** Hands a message on; a party that dies of it starts again, and is given it again. */
  async function deliver(from: number, to: number, { content }: OutboxRow): Promise<void> {
    const decoded = decodeContent(content);
    if (decoded.kind !== 'app') return;
    const hand = (): Promise<void> => party(to).member.receive(party(from).member, decoded.payload);
    await Promise.race([hand().catch(() => undefined), died]);
    if (!party(to).store.struck) return;
    await restart(to);
    await hand();
  }

  /** All that is sent until nothing is. */
  async function play(): Promise<readonly OutboxRow[]> {
    const sent: OutboxRow[] = [];
    for (;;) {
      const before = sent.length;
      for (const at of [0, 1]) {
        for (const row of await take(at)) {
          sent.push(row);
          await deliver(at, 1 - at, row);
        }
      }
      await settle();
      if (sent.length === before) return sent;
    }
  }

  it('signs over two LevelDB stores, and leaves no nonce', async () => {
    const topic = await open(0);
    await open(1);
    expect(await noncesAt(0)).toEqual([]);
    await exchange(members, (_, row) => messageIn(row)?.round === 1);
    const nonces = [...(await noncesAt(0)), ...(await noncesAt(1))];
    expect(nonces).toHaveLength(4);
    for (let i = 0; i < 5; i++) {
      await clock.advance(15_000);
      await exchange(members);
    }
    for (const { rounds } of members) expect(signed(await rounds.show(topic))).toBe(true);
    for (const store of stores) expect(await rowsWith(nonces, store.inner)).toEqual([]);
  });

  it('has its nonces in no row that a backup would hold', async () => {
    await open(0);
    await open(1);
    await exchange(members, (_, row) => messageIn(row)?.round === 1);
    const nonces = await noncesAt(0);
    expect(nonces).toHaveLength(2);
    const rows = await rowsWith(nonces, stores[0]?.inner);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.filter(isKept)).toEqual([]);
  });

  it('burns the nonces of a ceremony that has ended otherwise, and draws others', async () => {
    const topic = await open(0);
    await open(1);
    await exchange(members, (_, row) => messageIn(row)?.round === 1);
    const first = await noncesAt(0);
    await members[0]?.rounds.abort(topic);
    expect(await rowsWith(first, stores[0]?.inner)).toEqual([]);
    await exchange(members);
    await open(0);
    await open(1);
    await exchange(members, (_, row) => messageIn(row)?.round === 1);
    const second = await noncesAt(0);
    expect(second).toHaveLength(2);
    expect(second.map(toHex)).not.toEqual(first.map(toHex));
  });

  it('has as many commits as are walked over here', async () => {
    await open(0);
    await open(1);
    const before = party(0).store.commits;
    await play();
    expect(party(0).store.commits - before).toBe(COMMITS);
  });

  it.each(
    Array.from({ length: COMMITS }, (_, i) => FAULT_KINDS.map((kind): Fault => ({ at: i + 1, kind }))).flat(),
  )('signs once under each nonce when the store stops at commit $at ($kind)', async (fault) => {
    const topic = await open(0);
    await open(1);
    const { store } = party(0);
    store.arm(fault);
    const sent = [...(await play())];
    for (let i = 0; i < 6; i++) {
      await clock.advance(20_000); // what a dead process had not left to be sent is asked for
      sent.push(...(await play()));
    }
    expect(store.struck).toBe(true);
    for (const { rounds } of members) expect(signed(await rounds.show(topic))).toBe(true);
    // In each place of a ceremony always the same bytes.
    const places = new Map<string, Set<string>>();
    for (const row of sent) {
      const message = messageIn(row);
      if (message === undefined) continue;
      const place = `${message.id} ${String(message.round)} ${row.recipient}`;
      places.set(place, (places.get(place) ?? new Set<string>()).add(message.body));
    }
    expect(places.size).toBeGreaterThanOrEqual(4);
    for (const bodies of places.values()) expect(bodies.size).toBe(1);
  });

  it('does not go on after a restore: what was begun is dead, and its nonces are gone', async () => {
    const topic = await open(0);
    await open(1);
    await exchange(members, (_, row) => messageIn(row)?.round === 1);
    const nonces = await noncesAt(0);
    const { member, store } = party(0);
    const folder = await tempFolder();
    const restored = new FaultyStore(await openOrMake(folder.data, PLAIN));
    await copyKept(store.inner, restored, clock.now(), member);
    await member.stop();
    await store.inner.close();
    await folders[0]?.remove();
    folders[0] = folder;
    stores[0] = restored;
    const again = await RoundsMember.start(clock, frostEntries(), { peer: member.peer, store: restored });
    members[0] = again;
    expect(await rowsWith(nonces, restored.inner)).toEqual([]);
    expect(await again.rounds.show(topic)).toMatchObject({
      state: 'aborted',
      end: { reason: 'a party was restored from a backup' },
    });
    await exchange(members);
    expect((await members[1]?.rounds.show(topic))?.state).toBe('aborted');
  });

  it('is a plugin that can be loaded', () => {
    const plugin = checkPlugin(frostPlugin());
    expect(plugin).toMatchObject({ name: 'frost', permissions: ['send', 'identities'] });
    expect(plugin.volatile).toEqual(plugin.tags);
  });
});

/** The rows that a backup of now holds. */
async function copyKept(from: Store, to: Store, now: number, { peer }: RoundsMember): Promise<void> {
  const batch = to.batch();
  const tags = await volatileTags(from);
  for await (const [key, value] of from.scan(''))
    if (isKept(key) && !(await isVolatile(tags, key, value))) batch.put(key, value);
  new FreshRows(peer.platform, now).end(batch);
  await batch.commit();
}
