/** Parties that want the same and bring what does not go together: both sides hear it at once. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { decodeContent } from '../../src/content/content.ts';
import { partySet, type Entry, type Protocol } from '../../src/rounds/index.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { exchange, meet, RoundsMember } from '../support/rounds-member.ts';

const coin = coinToss as unknown as Protocol;

describe('parties with different epochs', () => {
  let clock: ManualClock;
  let members: RoundsMember[];
  /** What each of them has. */
  let epochs: number[][];

  /** Refuses what is of an epoch that this member does not have. */
  function entryOf(at: number): Entry {
    return {
      protocol: coin,
      invited: (proposal, from) => {
        const own = epochs[at] ?? [];
        if (own.includes(proposal.epoch)) return undefined;
        const instead = own.map((epoch) => ({ ...proposal, epoch }));
        return { refuses: `ours are ${own.join(' and ')}, party ${String(from)} has ${String(proposal.epoch)}`, instead }; // prettier-ignore
      },
    };
  }

  beforeEach(async () => {
    clock = new ManualClock();
    const start = (at: number): Promise<RoundsMember> => RoundsMember.start(clock, [entryOf(at)]);
    members = await meet(await start(0), await start(1));
  });

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  function member(at: number): RoundsMember {
    const found = members[at];
    if (found === undefined) throw new Error('there are two');
    return found;
  }

  function indexOf(at: number): number {
    const parties = partySet(members.map(({ party }) => party));
    return parties.findIndex(({ aci }) => aci === member(at).peer.aci) + 1;
  }

  function open(at: number, epoch: number): Promise<string> {
    const parties = partySet(members.map(({ party }) => party));
    return member(at).rounds.open({ protocol: coin.name, params: undefined, input: undefined, parties, epoch }); // prettier-ignore
  }

  async function pass(seconds: number): Promise<void> {
    for (let passed = 0; passed <= seconds; passed++) {
      await exchange(members);
      await clock.advance(1_000);
    }
  }

  async function stateOf(at: number, topic: string): Promise<string | undefined> {
    return (await member(at).rounds.show(topic))?.state;
  }

  it('end it at both, and say why', async () => {
    epochs = [[0], [1]];
    const topics = [await open(0, 0), await open(1, 1)];
    await pass(1);
    for (const at of [0, 1]) {
      const other = indexOf(1 - at);
      expect(await member(at).rounds.show(topics[at] ?? '')).toMatchObject({
        state: 'aborted',
        blame: [],
        end: { reason: `ours are ${String(1 - at)}, party ${String(indexOf(at))} has ${String(at)}`, by: other },
      }); // prettier-ignore
    }
  });

  it('end it at the one that comes when the other has left, as long as that is not long ago', async () => {
    epochs = [[0], [1]];
    const first = await open(0, 0);
    await pass(1);
    expect(await stateOf(0, first)).toBe('aborted');
    await member(0).stop();
    members.push(...members.splice(0, 1)); // it is only looked at from here on
    const late = await member(0).rounds.open({
      ...{ protocol: coin.name, params: undefined, input: undefined, epoch: 1 },
      parties: partySet(members.map(({ party }) => party)),
    });
    for (let i = 0; i < 6; i++) await clock.advance(1_000);
    expect(await member(0).rounds.show(late)).toMatchObject({
      state: 'aborted',
      end: { reason: expect.stringMatching(/^ours are 1, party \d has 0$/) as string },
    });
    // Half a minute later it may have been mended.
    await clock.advance(30_000);
    const again = await member(0).rounds.open({
      ...{ protocol: coin.name, params: undefined, input: undefined, epoch: 1 },
      parties: partySet(members.map(({ party }) => party)),
    });
    for (let i = 0; i < 10; i++) await clock.advance(1_000);
    expect((await member(0).rounds.show(again))?.state).toBe('gathering');
  });

  it('go on where the common one is offered a moment later', async () => {
    epochs = [[0, 1], [1]];
    const topic = await open(1, 1);
    await exchange(members);
    await open(0, 0);
    await pass(2);
    await open(0, 1);
    await pass(10);
    expect([await stateOf(0, topic), await stateOf(1, topic)]).toEqual(['done', 'done']);
  });

  it('wait for one who had offered the common one before, however long its answer takes', async () => {
    epochs = [[0, 1], [1]];
    for (const epoch of [0, 1]) await open(0, epoch);
    await pass(8);
    const topic = await open(1, 1);
    await clock.advance(3_000);
    expect(await stateOf(1, topic)).toBe('gathering');
    await pass(3);
    expect([await stateOf(0, topic), await stateOf(1, topic)]).toEqual(['done', 'done']);
  });

  it.each([
    ['the common one first', [1, 0]],
    ['the common one last', [0, 1]],
  ])('go on with one that both have, %s', async (_, order) => {
    for (const isLate of [false, true]) {
      epochs = [[0, 1], [1]];
      for (const epoch of order) await open(0, epoch);
      if (isLate) await pass(8);
      const topic = await open(1, 1);
      await pass(isLate ? 70 : 8);
      expect([await stateOf(0, topic), await stateOf(1, topic)]).toEqual(['done', 'done']);
      for (const { topic: each } of await member(0).rounds.list()) await member(0).rounds.abort(each);
    }
  });

  it('are waited for on time though a protocol has failed once while one was passed over', async () => {
    epochs = [[0], [1]];
    let faults = 0;
    const quorum = (): number => {
      if (faults-- > 0) throw new Error('for once');
      return 2;
    };
    const ours = await RoundsMember.start(clock, [{ ...entryOf(0), protocol: { ...coin, quorum } }]);
    await Promise.all(members.map((one) => one.stop()));
    members = await meet(ours, await RoundsMember.start(clock, [{ protocol: coin }]));
    const topic = await open(0, 0);
    await open(1, 1);
    await exchange(members);
    await clock.advance(4_500);
    faults = 1;
    for (let i = 0; i < 5; i++) await clock.advance(1_000);
    expect(faults).toBeLessThan(1);
    expect(await stateOf(0, topic)).toBe('aborted');
  });

  it('are not passed over where they have come, though they propose another one as well', async () => {
    members.push(await RoundsMember.start(clock, [entryOf(2)]));
    await meet(...members);
    epochs = [[0], [0, 1], [0]];
    const topic = await open(0, 0);
    for (const epoch of [0, 1]) await open(1, epoch);
    await pass(8);
    expect(await stateOf(0, topic)).toBe('gathering');
    await open(2, 0);
    await pass(8);
    for (const at of [0, 1, 2]) expect(await stateOf(at, topic)).toBe('done');
  });

  it('are not kept from another attempt by a refusal of an earlier one', async () => {
    epochs = [[0], [1]];
    await open(0, 0);
    const [hello] = await member(0).sent();
    if (hello === undefined) throw new Error('it says hello');
    await member(0).rounds.abort(await open(0, 0), 'not now');
    await member(0).sent();
    epochs = [[0], [0]];
    const topic = await open(0, 0);
    epochs = [[0], [1]];
    // The greeting of before is answered late.
    await member(0).sent();
    await member(1).receive(member(0), payloadOf(hello.content));
    epochs = [[0], [0]];
    await pass(6);
    expect(await stateOf(0, topic)).toBe('gathering');
    await open(1, 0);
    await pass(70);
    expect(await stateOf(0, topic)).toBe('done');
  });
});

function payloadOf(content: Parameters<typeof decodeContent>[0]): Uint8Array<ArrayBuffer> {
  const decoded = decodeContent(content);
  if (decoded.kind !== 'app') throw new Error('this is no app message');
  return decoded.payload;
}
