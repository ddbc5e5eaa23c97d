import { expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { partySet, type Protocol } from '../../src/rounds/index.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { RoundsMember } from '../support/rounds-member.ts';

it('is what anything but the name of one is, and the name to give is said', async () => {
  const member = await RoundsMember.start(new ManualClock(), [{ protocol: coinToss as unknown as Protocol }]);
  const open = (protocol: unknown): Promise<string> =>
    member.rounds.open({
      protocol: protocol as string,
      params: undefined,
      input: undefined,
      parties: partySet([member.party]),
    });
  const name = `protocol: '${coinToss.name}'`;
  for (const given of [coinToss, { protocol: coinToss }, undefined, null, 7])
    await expect(open(given)).rejects.toMatchObject({
      code: 'USAGE',
      message: 'a protocol is asked for by its name, and something else was given',
      next: expect.stringContaining(name) as string,
    });
  await expect(open('dice-toss')).rejects.toMatchObject({
    code: 'USAGE',
    message: 'the protocol dice-toss is not known here',
    next: `Known are: ${coinToss.name}.`,
  });
  await member.stop();
});
