/**
 * Echo: `!ping` is answered with `pong`, `!echo X` with `X`, an app message `countersign.echo/1` with its payload behind
 * `re:`. A payload that already begins so is not answered, or two bots would go on for ever.
 */
import { appType, definePlugin, type Plugin } from '../../src/index.ts';

const ECHO = appType('countersign.echo/1');
const RE = Buffer.from('re:');

export default function echo(): Plugin {
  return definePlugin({
    name: 'echo',
    version: '1.0.0',
    tags: [ECHO],
    commands: { ping: 'answers pong', echo: 'says what follows' },
    setup(host) {
      host.command('ping', (ctx) => ctx.reply('pong'));
      host.command('echo', (ctx) => {
        if (ctx.rest !== '') ctx.reply(ctx.rest);
      });
      host.app(ECHO, (ctx) => {
        const answered = RE.equals(ctx.value.subarray(0, RE.length));
        if (!answered) ctx.reply(ECHO.of(new Uint8Array([...RE, ...ctx.value])));
      });
    },
  });
}
