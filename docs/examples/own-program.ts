import { Bot, loadProfile, openLevel } from 'countersign';

const store = await openLevel('./data', { secret: { kind: 'key-file', file: 'bot.key' } });
const bot = new Bot({ store, service: await loadProfile('server.json') });
bot.command('ping', (ctx) => ctx.reply('pong'));
await bot.run(AbortSignal.timeout(60_000)); // resolves when stopped, rejects with the reason
await store.close();
