/** A party whose store is brought back from a backup: what was under way is over, and the others are told so that they know. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { FreshRows } from '../../src/backup/fresh-start.ts';
import { isKept } from '../../src/backup/kept-tables.ts';
import { isVolatile, volatileTags } from '../../src/backup/volatile-tags.ts';
import { toHex, type Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import { decodeFrame, partySet, type Entry, type Frame, type Protocol } from '../../src/rounds/index.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { exchange, RoundsMember, threeMembers } from '../support/rounds-member.ts';

const coin: Entry = { protocol: coinToss as unknown as Protocol };
/** The same, for which two of three are enough. */
const some: Entry = { protocol: { ...coin.protocol, name: 'test.some', quorum: () => 2 } };
const REASON = 'a party was restored from a backup';

describe('a party that is restored from a backup', () => {
  let clock: ManualClock;
  let members: RoundsMember[];

  beforeEach(async () => {
    clock = new ManualClock();
    members = await threeMembers(clock, [coin, some]);
    // Party n is member n - 1.
    const order = partySet(members.map(({ party }) => party)).map(({ aci }) => aci);
    members.sort((a, b) => order.indexOf(a.peer.aci) - order.indexOf(b.peer.aci));
  });

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  function member(at: number): RoundsMember {
    const found = members[at];
    if (found === undefined) throw new Error('there are three');
    return found;
  }

  async function openAll({ protocol }: Entry = coin, which = [0, 1, 2]): Promise<string> {
    const parties = partySet(members.map(({ party }) => party));
    const request = { protocol: protocol.name, params: undefined, input: undefined, parties };
    let topic = '';
    for (const at of which) topic = await member(at).rounds.open(request);
    return topic;
  }

  /** Time passes, and what is said in the rounds is lost. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10_000) {
      await exchange(members, isMessage);
      await clock.advance(10_000);
    }
    await exchange(members, isMessage);
  }

  /** The first party goes on from a backup. @returns what it tells the others of its own accord */
  async function restore(store: Store): Promise<Frame[]> {
    await member(0).stop();
    const { peer } = member(0);
    members[0] = await RoundsMember.start(clock, [coin, some], { peer, store });
    const rows = (await member(0).sent()).filter(({ tag }) => tag.startsWith('countersign.rounds'));
    for (const row of rows) await hand(row);
    return rows.map(({ content }) => decodeFrame(payloadOf(content)));
  }

  async function hand(row: OutboxRow): Promise<void> {
    const to = members.find(({ peer }) => peer.aci === row.recipient);
    await to?.receive(member(0), payloadOf(row.content));
  }

  function isMessage(_: RoundsMember, { content }: OutboxRow): boolean {
    return decodeFrame(payloadOf(content)).kind === 'message';
  }

  /** The others have ended it, at once, with the reason that they were told. */
  async function expectEnded(topic: string): Promise<void> {
    for (const at of [1, 2])
      expect(await member(at).rounds.show(topic)).toMatchObject({
        state: 'aborted',
        end: { reason: REASON, by: 1 },
      });
  }

  it('ends a ceremony that runs, by its id', async () => {
    const topic = await openAll();
    await exchange(members, isMessage);
    const { id } = (await member(1).rounds.show(topic)) ?? {};
    expect(id).toHaveLength(64);
    const told = await restore(await backupOf(member(0)));
    expect(await member(0).rounds.show(topic)).toMatchObject({ state: 'aborted', end: { reason: REASON } });
    expect(told.map((frame) => [frame.kind, 'id' in frame && toHex(frame.id)])).toEqual([
      ['abort', id],
      ['abort', id],
    ]);
    await expectEnded(topic);
    // Of the ceremony only what is answered is left.
    const slots = [];
    for await (const [key] of member(0).peer.store.scan('')) if (key.includes('rounds/slot')) slots.push(key);
    expect(slots.filter((key) => !key.endsWith('abort'))).toEqual([]);
  });

  it('ends a ceremony that has not begun', async () => {
    const topic = await openAll();
    const isHello = (from: RoundsMember, { content }: OutboxRow): boolean =>
      from === member(2) && decodeFrame(payloadOf(content)).kind === 'hello';
    await exchange(members, isHello);
    expect((await member(1).rounds.show(topic))?.state).toBe('gathering');
    await restore(await backupOf(member(0)));
    expect(await member(1).rounds.show(topic)).toMatchObject({ state: 'aborted', end: { reason: REASON } });
  });

  it('ends a ceremony that has begun since the backup was made', async () => {
    const topic = await openAll();
    const backup = await backupOf(member(0));
    await exchange(members, isMessage);
    expect((await member(1).rounds.show(topic))?.state).toBe('running');
    await restore(backup);
    await expectEnded(topic);
  });

  it('leaves one that has begun anew among those who are there, by its new id', async () => {
    await openAll(some, [0, 1]);
    await pass(40_000);
    const topic = (await member(0).rounds.list())[0]?.topic ?? '';
    const first = await member(0).rounds.show(topic);
    expect(first?.state).toBe('running');
    // Nothing comes of it, and the third is there now.
    await openAll(some, [2]);
    await pass(120_000);
    const { id, state } = (await member(0).rounds.show(topic)) ?? {};
    expect(state).toBe('running');
    expect(id).not.toBe(first?.id);
    const told = await restore(await backupOf(member(0)));
    expect(told.map((frame) => 'id' in frame && toHex(frame.id))).toEqual([id, id]);
  });

  it('ends nothing that was done before, and nothing that it has opened since', async () => {
    const stateOf = async (at: number): Promise<unknown> => (await member(at).rounds.show(topic))?.state;
    const topic = await openAll();
    await exchange(members);
    expect(await stateOf(0)).toBe('done');
    expect(await restore(await backupOf(member(0)))).toEqual([]);
    await openAll();
    await member(0).stop();
    members[0] = await RoundsMember.start(clock, [coin, some], { peer: member(0).peer });
    expect(await stateOf(0)).toBe('gathering');
    await exchange(members);
    for (const at of [0, 1, 2]) expect(await stateOf(at)).toBe('done');
  });
});

function payloadOf(content: Bytes): Bytes {
  const decoded = decodeContent(content);
  if (decoded.kind !== 'app') throw new Error('this is no app message');
  return decoded.payload;
}

/** The store as a backup of now would bring it back. */
async function backupOf({ peer }: RoundsMember): Promise<Store> {
  const next = openMemory();
  const batch = next.batch();
  const tags = await volatileTags(peer.store);
  for await (const [key, value] of peer.store.scan('')) {
    if (isKept(key) && !(await isVolatile(tags, key, value))) batch.put(key, value);
  }
  new FreshRows(peer.platform, peer.platform.clock.now()).end(batch);
  await batch.commit();
  return next;
}
