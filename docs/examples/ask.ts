/**
 * A program with a bot of its own that asks a plugin for something: prints what the act gives, and stays online for the other
 * parties until Ctrl-C. PLUGIN is a name or a path, INPUT a file with what the act takes, in JSON, GROUP one with a line of each
 * party.
 *
 *   npx tsx ask.ts DATA PLUGIN ACT INPUT GROUP
 */
import { readFile } from 'node:fs/promises';
import { Bot, loadPlugin, loadProfile, openLevel } from 'countersign';

const [data = '', name = '', act = '', input = '', group = ''] = process.argv.slice(2);
const stop = new AbortController();
process.on('SIGINT', () => {
  stop.abort();
});

const store = await openLevel(data, { secret: { kind: 'key-file', file: 'bot.key' } });
const service = await loadProfile('server.json');
const plugin = await loadPlugin(name, '.');
let onReady = (): void => undefined;
const ready = new Promise<void>((resolve) => {
  onReady = resolve;
});
const bot = new Bot({
  store,
  service,
  onEvent: ({ kind }) => {
    if (kind === 'ready') onReady();
  },
});
const running = bot.use(plugin).run(stop.signal);
await Promise.race([ready, running]); // acts need both; where the bot ends before, this rejects with the reason

const given = JSON.parse(await readFile(input, 'utf8')) as object;
const result = await bot.act(plugin.name, act, {
  contact: undefined, // it has none
  input: { ...given, group: await readFile(group, 'utf8') },
  signal: stop.signal,
  tell: (event) => void process.stderr.write(`${JSON.stringify(event)}\n`), // what happens meanwhile
});
process.stdout.write(`${JSON.stringify(result)}\n`);
await running;
await store.close();
