import { definePlugin } from 'countersign';

export default definePlugin({
  name: 'dice',
  version: '1.0.0',
  setup(host) {
    host.command('roll', (ctx) => {
      const sides = Number(ctx.args[0]) || 6;
      ctx.reply(String(1 + Math.floor(Math.random() * sides)));
    });
  },
});
