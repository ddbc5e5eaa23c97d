/** A plugin that counts how often its handlers took effect, in its state: in all, and for each message. */
import { appType, definePlugin, parseTag, type Context } from '../../src/index.ts';

export const ECHO = parseTag('countersign.echo/1');
/** Of the count over all messages; before those of messages, which are ids. */
export const TOTAL = '!total';

export const counting = definePlugin({
  name: 'counting',
  version: '1',
  tags: [appType(ECHO)],
  setup(host) {
    host.text(async (ctx) => {
      await count(ctx);
      ctx.reply(`seen ${ctx.text}`);
    });
    host.app(appType(ECHO), count);
  },
});

async function count(ctx: Context): Promise<void> {
  for (const key of [TOTAL, ctx.idempotencyKey]) {
    const before = Number(Buffer.from((await ctx.state.get(key)) ?? []).toString());
    ctx.state.put(key, Buffer.from(String(before + 1)));
  }
}
