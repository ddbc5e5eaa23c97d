import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import type { Bytes } from '../../src/bytes.ts';
import type { Log } from '../../src/platform.ts';
import {
  decodeFrame,
  encodeFrame,
  partySet,
  type Entry,
  type PartySet,
  type Protocol,
} from '../../src/rounds/index.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { exchange, meet, payloadOf, RoundsMember, threeMembers } from '../support/rounds-member.ts';

const coin: Entry = { protocol: coinToss as unknown as Protocol };

describe('a plugin with rounds', () => {
  let clock: ManualClock;
  let members: RoundsMember[];
  let parties: PartySet;

  beforeEach(async () => {
    clock = new ManualClock();
    members = await threeMembers(clock, [coin]);
    parties = partySet(members.map(({ party }) => party));
  });

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  function request(): Parameters<RoundsMember['rounds']['open']>[0] {
    return { protocol: coinToss.name, params: undefined, input: undefined, parties };
  }

  async function openAll(): Promise<string> {
    const topics = [];
    for (const { rounds } of members) topics.push(await rounds.open(request()));
    expect(new Set(topics).size).toBe(1);
    return topics[0] ?? '';
  }

  it('takes part in a ceremony to its end, at the device of the set alone', async () => {
    const topic = await openAll();
    const rows = await exchange(members);
    const views = await Promise.all(members.map(({ rounds }) => rounds.ended(topic)));
    expect(views.map(({ state }) => state)).toEqual(['done', 'done', 'done']);
    expect(new Set(views.map(({ output }) => String(output))).size).toBe(1);
    expect(rows.every(({ devices, transcript }) => devices.length === 1 && !transcript)).toBe(true);
  });

  it('goes on where it was when it is stopped and started between any two messages', async () => {
    const topic = await openAll();
    let restarts = 0;
    for (let left = true; left;) {
      left = false;
      for (const [i, from] of members.entries()) {
        for (const row of await from.sent()) {
          left = true;
          const at = members.findIndex(({ peer }) => peer.aci === row.recipient);
          const to = members[at];
          if (to === undefined) continue;
          await to.receive(from, payloadOf(row));
          await to.stop();
          members[at] = await RoundsMember.start(clock, [coin], { peer: to.peer });
          restarts++;
        }
        expect(members[i]).toBeDefined();
      }
    }
    expect(restarts).toBeGreaterThan(20);
    const views = await Promise.all(members.map(({ rounds }) => rounds.show(topic)));
    expect(views.map((view) => view?.state)).toEqual(['done', 'done', 'done']);
  });

  it('asks again for what was lost', async () => {
    const topic = await openAll();
    let isLost = false;
    const lose = (_: RoundsMember, row: OutboxRow): boolean => {
      if (isLost || decodeFrame(payloadOf(row)).kind !== 'message') return false;
      isLost = true;
      return true;
    };
    await exchange(members, lose);
    for (const { rounds } of members) expect((await rounds.show(topic))?.state).toBe('running');
    for (let i = 0; i < 5; i++) {
      await clock.advance(20_000);
      await exchange(members);
    }
    for (const { rounds } of members) expect((await rounds.show(topic))?.state).toBe('done');
  });

  it('does not take part because a frame says so', async () => {
    await members[0]?.rounds.open(request());
    await exchange(members);
    expect(await members[1]?.rounds.list()).toEqual([]);
    const [view] = (await members[0]?.rounds.list()) ?? [];
    expect(view).toMatchObject({ state: 'gathering', round: 0 });
    expect(view?.waitingFor).toHaveLength(2);
  });

  it('ends at the deadline, and tells the others', async () => {
    const topic = await members[0]?.rounds.open({ ...request(), waitMs: 60_000 });
    await clock.advance(70_000);
    expect(await members[0]?.rounds.show(topic ?? '')).toMatchObject({
      state: 'aborted',
      end: { reason: expect.stringMatching(/^the time is over; nothing came from part/) as string },
    });
    await clock.advance(25 * 3_600_000);
    expect(await members[0]?.rounds.list()).toEqual([]);
  });

  it('refuses a party that is not verified, and one whose key is another', async () => {
    const stranger = await RoundsMember.start(clock, [coin]);
    members.push(stranger);
    const own = members.slice(0, 2).map(({ party }) => party);
    const open = (set: PartySet): Promise<string> | undefined =>
      members[0]?.rounds.open({ ...request(), parties: set });
    await expect(open(partySet([...own, stranger.party]))).rejects.toMatchObject({
      code: 'PEER_UNVERIFIED',
      next: expect.stringMatching(`verify start ${stranger.peer.aci};.* trust import GROUP`) as string,
    });
    const [, second] = own;
    if (second === undefined) throw new Error('there are two');
    const swapped = { ...second, identityKey: stranger.key };
    await expect(open(partySet([...own.slice(0, 1), swapped]))).rejects.toMatchObject({
      code: 'IDENTITY_CHANGED',
      next: expect.stringContaining('the group is wrong, or the key has changed') as string,
    });
    await expect(open(partySet([second, stranger.party]))).rejects.toMatchObject({ code: 'USAGE' });
  });

  it.each(['device', 'key'] as const)('leaves alone what comes from another %s', async (what) => {
    const [first, second, third] = members;
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('there are three');
    const topic = await openAll();
    const lost: Bytes[] = [];
    await exchange(members, (from, row) => {
      const isLost = from === second && row.recipient === first.peer.aci;
      if (isLost) lost.push(payloadOf(row));
      return isLost;
    });
    const waited = { state: 'gathering', waitingFor: [{ aci: second.peer.aci }] };
    expect(await first.rounds.show(topic)).toMatchObject(waited);
    const other = what === 'device' ? { device: 7 } : { key: third.key };
    for (const payload of lost) await first.receive(second, payload, other);
    expect(await first.rounds.show(topic)).toMatchObject(waited);
    for (const payload of lost) await first.receive(second, payload);
    expect((await first.rounds.show(topic))?.state).toBe('running');
  });

  it('logs that a protocol has failed, and what it threw only for who looks closely', async () => {
    const fail = (): never => {
      throw new RangeError('the share 5e5e5e is not a scalar');
    };
    const lines: string[] = [];
    const at = (level: string) => (fields: object, message: string) => {
      lines.push(`${level}: ${JSON.stringify(fields)} ${message}`);
    };
    const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
    const faulty: Entry = { protocol: { ...coin.protocol, step: fail } };
    members.unshift(await RoundsMember.start(clock, [faulty], undefined, undefined, log));
    await meet(...members);
    parties = partySet(members.map(({ party }) => party));
    const topic = await openAll();
    await exchange(members);
    expect((await members[0]?.rounds.show(topic))?.state).toBe('aborted');
    expect(lines.filter((line) => line.startsWith('error'))).toEqual([
      expect.stringMatching(/"error":"RangeError"}.*a protocol has failed/) as string,
    ]);
    expect(lines.filter((line) => line.includes('5e5e'))).toEqual([
      expect.stringMatching(/^debug: .*the share 5e5e5e is not a scalar/) as string,
    ]);
  });

  it.each(['confirm', 'ask'] as const)('does not answer each %s of a flood', async (kind) => {
    const topic = await openAll();
    await exchange(members);
    const [first, second] = members;
    if (first === undefined || second === undefined) throw new Error('there are three');
    const id = new Uint8Array(32).fill(7);
    const frame = encodeFrame(
      kind === 'ask' ? { kind, topic, id, round: 1 } : { kind, topic, id, round: 1, seen: [] },
    );
    for (let i = 0; i < 100; i++) await first.receive(second, frame);
    const answers = await first.sent();
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.length).toBeLessThanOrEqual(60);
  });

  it('has no more than 64 ceremonies open', async () => {
    const [{ rounds } = {}] = members;
    const open = (at: number): Promise<string> | undefined =>
      rounds?.open({ ...request(), message: Uint8Array.of(at) });
    for (let at = 0; at < 64; at++) await open(at);
    await expect(open(64)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    await rounds?.abort((await open(0)) ?? ''); // that one is open already
    await open(64);
    expect((await rounds?.list())?.filter(({ state }) => state === 'gathering')).toHaveLength(64);
  });

  it('forgets what its operator wants none of last', { timeout: 60_000 }, async () => {
    const [{ rounds } = {}] = members;
    const open = (at: number): Promise<string> | undefined =>
      rounds?.open({ ...request(), message: Uint8Array.of(at >> 8, at & 0xff) });
    const refused = (await open(0)) ?? '';
    await rounds?.abort(refused);
    await clock.advance(1_000); // all others are younger
    for (let at = 1; at < 300; at++) await rounds?.abort((await open(at)) ?? '', 'done otherwise', false);
    const left = (await rounds?.list()) ?? [];
    expect(left).toHaveLength(256);
    expect(left.map(({ topic }) => topic)).toContain(refused);
  });

  it('ends a ceremony when its operator says so', async () => {
    const topic = await openAll();
    await exchange(members, (_, row) => row.timestamp % 5 === 0);
    expect(await members[1]?.rounds.abort(topic)).toBe(true);
    expect(await members[1]?.rounds.abort(topic)).toBe(false);
    expect((await members[1]?.rounds.show(topic.slice(0, 8)))?.end?.reason).toBe('the operator has ended it');
  });
});
