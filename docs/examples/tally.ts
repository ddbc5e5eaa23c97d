/** Keeps a count in its state, takes a configuration, and hands the count to other bots as an app message. */
import { appType, definePlugin } from 'countersign';
import { z } from 'zod';

const Tally = appType('example.org/tally/1', {
  encode: (count: number) => new TextEncoder().encode(String(count)),
  decode: (payload) => z.coerce.number().int().parse(new TextDecoder().decode(payload)),
});

export default definePlugin({
  name: 'tally',
  version: '1.0.0',
  tags: [Tally],
  commands: { count: 'counts, and says how far it is' },
  config: z.object({ step: z.number().int().default(1) }),
  setup({ config, ...host }) {
    host.command('count', async (ctx) => {
      const count = ((await ctx.state.getJson('count', z.number())) ?? 0) + config.step;
      ctx.state.putJson('count', count); // kept together with the answer, or not at all
      ctx.reply(`That makes ${String(count)}.`);
      ctx.reply(Tally.of(count));
    });
    host.app(Tally, (ctx) => {
      ctx.state.putJson('count', ctx.value);
    });
  },
});
