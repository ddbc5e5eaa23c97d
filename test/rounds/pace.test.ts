/** The pace of answers bounds floods, and holds up no honest ceremony. */
import { afterEach, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { partySet, type Entry, type Protocol } from '../../src/rounds/index.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { exchange, RoundsMember } from '../support/rounds-member.ts';

const coin: Entry = { protocol: coinToss as unknown as Protocol };
const members: RoundsMember[] = [];

afterEach(async () => {
  await Promise.all(members.splice(0).map((member) => member.stop()));
});

it('lets twenty ceremonies of the same two parties through at once', async () => {
  const clock = new ManualClock();
  for (let i = 0; i < 2; i++) members.push(await RoundsMember.start(clock, [coin]));
  for (const member of members) for (const other of members) if (other !== member) await member.verify(other);
  const parties = partySet(members.map(({ party }) => party));
  for (let at = 0; at < 20; at++) {
    const message = fromUtf8(String(at));
    const request = { protocol: coinToss.name, params: undefined, input: undefined, parties, message };
    for (const { rounds } of members) await rounds.open(request);
  }
  await exchange(members);
  for (const { rounds } of members) {
    const states = (await rounds.list()).map(({ state }) => state);
    expect(states).toEqual(states.map(() => 'done'));
    expect(states).toHaveLength(20);
  }
});
