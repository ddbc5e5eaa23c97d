/** What stays of private messages, and of floods. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import type { Codec } from '../../src/router.ts';
import {
  decodeFrame,
  encodeFrame,
  partySet,
  type Entry,
  type Frame,
  type Protocol,
} from '../../src/rounds/index.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { deadRows, inboxRows, outboxRows, pluginVolatile } from '../../src/store/tables.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { exchange, payloadOf, RoundsMember, threeMembers } from '../support/rounds-member.ts';

const plain: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };
const none = new Uint8Array(0);

/** Each whispers something to every other, and then all say that they have heard it. */
const whisper: Protocol<Uint8Array, Uint8Array, Uint8Array, Uint8Array> = {
  name: 'test.whisper',
  version: 1,
  rounds: [{ private: true }, { broadcast: true }],
  params: plain,
  input: plain,
  state: plain,
  output: plain,
  start: ({ self, present }) => ({
    kind: 'next',
    state: none,
    private: new Map(present.filter((to) => to !== self).map((to) => [to, Uint8Array.of(0x5e, self, to)])),
  }),
  step: ({ round, self }) =>
    round === 2
      ? { kind: 'next', state: none, broadcast: Uint8Array.of(self) }
      : { kind: 'done', output: Uint8Array.of(1) },
};
const entry: Entry = { protocol: whisper };

describe('a ceremony with private messages', () => {
  let clock: ManualClock;
  let members: RoundsMember[];

  beforeEach(async () => {
    clock = new ManualClock();
    members = await threeMembers(clock, [entry]);
  });

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  function member(at: number): RoundsMember {
    const found = members[at];
    if (found === undefined) throw new Error('there are three');
    return found;
  }

  /** They start again with another protocol. */
  async function use(entryOf: (at: number) => Entry): Promise<void> {
    await Promise.all(members.map((each) => each.stop()));
    for (const [at, { peer }] of members.entries())
      members[at] = await RoundsMember.start(clock, [entryOf(at)], { peer });
  }

  async function openAll(): Promise<string> {
    const parties = partySet(members.map(({ party }) => party));
    const request = { protocol: whisper.name, params: none, input: none, parties };
    for (const { rounds } of members) await rounds.open(request);
    return (await member(0).rounds.list())[0]?.topic ?? '';
  }

  function frameOf(row: OutboxRow): Frame {
    return decodeFrame(payloadOf(row));
  }

  async function waiting(of: RoundsMember): Promise<{ row: OutboxRow; frame: Frame; isPrivate: boolean }[]> {
    const found = [];
    for await (const [, row] of outboxRows.scan(of.peer.store)) {
      if (row.kind !== 'app') continue;
      const frame = frameOf(row);
      found.push({ row, frame, isPrivate: frame.kind === 'message' && frame.recipient !== 0 });
    }
    return found;
  }

  async function slots(of: RoundsMember): Promise<string[]> {
    const keys: string[] = [];
    for await (const [key] of pluginVolatile.scan(of.peer.store, ['parties']))
      if (key.startsWith('rounds/slot/')) keys.push(key.slice('rounds/slot/'.length + 65));
    return keys;
  }

  /** Until the first has made its private messages, which stay in its outbox. */
  async function untilWhispered(): Promise<string> {
    const topic = await openAll();
    for (let turn = 0; turn < 3; turn++) {
      for (const [at, from] of members.entries()) {
        if (at === 0 && (await waiting(from)).some(({ isPrivate }) => isPrivate)) continue;
        for (const row of await from.sent()) {
          const to = members.find(({ peer }) => peer.aci === row.recipient);
          if (frameOf(row).kind === 'hello') await to?.receive(from, payloadOf(row));
        }
      }
    }
    expect((await waiting(member(0))).filter(({ isPrivate }) => isPrivate)).toHaveLength(2);
    return topic;
  }

  it('keeps what is private out of the log of what was sent', async () => {
    await openAll();
    const rows = await exchange(members);
    const isPrivate = rows.map(frameOf).map((frame) => frame.kind === 'message' && frame.recipient !== 0);
    expect(isPrivate.filter(Boolean)).toHaveLength(6);
    expect(rows.map(({ log }) => !log)).toEqual(isPrivate);
  });

  it('takes back what is private and was not sent yet when it ends', async () => {
    const topic = await untilWhispered();
    await member(0).rounds.abort(topic);
    const left = await waiting(member(0));
    expect(left.filter(({ isPrivate }) => isPrivate)).toEqual([]);
    expect(left.filter(({ frame }) => frame.kind === 'abort')).toHaveLength(2);
    expect((await slots(member(0))).filter((key) => key !== 'abort')).toEqual([]);
  });

  it('sends a private message that is asked for again as it was, and once', async () => {
    const topic = await untilWhispered();
    const id = (await waiting(member(0))).flatMap(({ frame }) => ('id' in frame ? [frame.id] : []))[0];
    if (id === undefined) throw new Error('there is a message');
    const before = (await waiting(member(0))).filter(({ isPrivate }) => isPrivate).map(({ frame }) => frame);
    for (let i = 0; i < 5; i++)
      await member(0).receive(member(1), encodeFrame({ kind: 'ask', topic, id, round: 1 }));
    const after = (await waiting(member(0))).filter(({ isPrivate }) => isPrivate).map(({ frame }) => frame);
    expect(after).toHaveLength(2);
    expect(after).toEqual(expect.arrayContaining(before));
  });

  it('keeps no message that is private where nothing can be made of it', async () => {
    const isFaulty = { held: true, done: true };
    const fail = (which: keyof typeof isFaulty) => () => {
      if (isFaulty[which]) throw new Error('it cannot be kept');
    };
    const protocol: Protocol = { ...(whisper as Protocol), rounds: [{ private: true }], isHeld: true };
    const last: Protocol = { ...protocol, step: () => ({ kind: 'done', output: none }) };
    const faulty: Entry = { protocol: last, held: fail('held'), done: fail('done') };
    await use((at) => (at === 0 ? faulty : { protocol: last }));
    await openAll();
    await exchange(members);
    // The first is called five times with what it cannot take, and the sender is asked again in the meantime.
    for (let i = 0; i < 40; i++) await clock.advance(5_000);
    await member(0).sent();
    const left: string[] = [];
    for (const table of [inboxRows, deadRows])
      for await (const [, row] of table.scan(member(0).peer.store)) left.push(row.error);
    expect(member(0).failed).toBe(5);
    expect(left).toEqual([]);
    isFaulty.held = isFaulty.done = false;
    for (let i = 0; i < 6; i++) {
      await clock.advance(60_000);
      await exchange(members);
    }
    expect((await member(0).rounds.list())[0]?.state).toBe('done');
  });

  it('keeps the input until it begins, and what was private in a round until the next one', async () => {
    const topic = await openAll();
    const secrets = async (of: RoundsMember): Promise<string[]> =>
      (await slots(of)).filter((key) => key === 'input' || /^m\/\d\/\d\/[^0]$/.test(key));
    for (const each of members) expect(await secrets(each)).toEqual(['input']);
    const without = async (kind: Frame['kind'], round: number): Promise<void> => {
      await exchange(members, (_, row) => {
        const frame = frameOf(row);
        return frame.kind === kind && 'round' in frame && frame.round === round;
      });
      for (const each of members)
        expect(await each.rounds.show(topic)).toMatchObject({ state: 'running', round });
    };
    await without('confirm', 1);
    for (const each of members) {
      const kept = await secrets(each);
      expect(kept.filter((key) => key.startsWith('m/1/'))).toHaveLength(4);
      expect(kept).not.toContain('input');
    }
    await clock.advance(20_000);
    await without('message', 2);
    for (const each of members) expect(await secrets(each)).toEqual([]);
  });

  it.each([false, true])(
    'keeps nothing that is private once it is done, and nothing at all a day later (its output is held: %s)',
    async (isHeld) => {
      await use(() => ({ protocol: { ...whisper, isHeld }, done: () => undefined }));
      await openAll();
      await exchange(members);
      for (const each of members) {
        expect((await slots(each)).filter((key) => !/^(m\/2\/\d\/0|c\/\d\/\d)$/.test(key))).toEqual([]);
        expect((await each.rounds.list())[0]?.state).toBe('done');
      }
      await clock.advance(25 * 3_600_000);
      for (const each of members) {
        expect(await slots(each)).toEqual([]);
        expect(await each.rounds.list()).toEqual([]);
      }
    },
  );

  it('holds no more than it has places for, whatever a party sends it', { timeout: 60_000 }, async () => {
    const topic = await openAll();
    await member(0).sent();
    const [first, second] = [member(0), member(1)];
    const noise = (i: number): Bytes => new Uint8Array(32).fill(i % 256);
    for (let i = 0; i < 200; i++) {
      const [id, round] = [noise(i), (i % 4) + 1];
      const signed = { id, round, sender: 2, recipient: i % 3, body: new Uint8Array(20_000).fill(i) };
      const frames: Frame[] = [
        { kind: 'message', topic, ...signed, signature: new Uint8Array(64).fill(i) },
        { kind: 'confirm', topic, id, round, seen: [] },
        { kind: 'hello', topic, nonce: noise(i), echo: noise(i + 1), wantsAnswer: true, proposal: none },
        { kind: 'ask', topic, id, round },
        { kind: 'abort', topic, id, reason: 'noise', evidence: [] },
      ];
      for (const frame of frames) await first.receive(second, encodeFrame(frame));
    }
    // One early message of each place and round, one confirmation; what is answered, as fast as a server lets us send.
    expect((await slots(first)).length).toBeLessThanOrEqual(1 + 2 * 3);
    expect((await waiting(first)).length).toBeLessThanOrEqual(60);
    // It cannot take another's place, and the ceremony goes on as soon as it says what it should.
    await second.sent();
    await clock.advance(120_000);
    await exchange(members);
    for (let i = 0; i < 6; i++) {
      await clock.advance(60_000);
      await exchange(members);
    }
    const states = await Promise.all(members.map(async ({ rounds }) => (await rounds.list())[0]?.state));
    expect(states).toEqual(['done', 'done', 'done']);
  });
});
