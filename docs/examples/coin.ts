/** A plugin that tosses the coin of coin-toss.ts with other bots: its act `toss` takes their group, and gives the same to all. */
import { BotError, definePlugin } from 'countersign';
import { parseGroup, rounds } from 'countersign/rounds';
import { z } from 'zod';
import { coinToss } from './coin-toss.ts';

const ceremonies = rounds([{ protocol: coinToss }]);
const tossInput = z.object({ group: z.string() });

export default definePlugin({
  name: 'coin',
  version: '1.0.0',
  ...ceremonies.declares, // tag, permissions, and that nothing of it is in a backup
  async setup(host) {
    await ceremonies.attach(host);
    host.act('toss', async ({ input, signal }) => {
      const parties = parseGroup(tossInput.parse(input).group);
      const request = { protocol: coinToss.name, params: undefined, input: undefined, parties };
      const { state, end, output } = await ceremonies.ended(await ceremonies.open(request), signal);
      if (state !== 'done') throw new BotError('CEREMONY_ENDED', end?.reason ?? 'without a reason');
      return { coin: Buffer.from(output as Uint8Array).toString('hex') };
    });
  },
});
