/**
 * A bot in a process of its own that kills itself at a given step, as a power cut would.
 *
 *   tsx child.ts FOLDER PROFILE [STEP NUMBER MOMENT]
 *
 * STEP is `commit` or `send` (a frame on a socket), NUMBER counts from 1, MOMENT is `before`, `during` or `after`. It
 * prints `ready` once; without a step it runs until SIGTERM, and prints `rest` again and again while it has nothing to do.
 */
import { writeSync } from 'node:fs';
import { WebSocket } from 'ws';
import echo from '../../plugins/echo/index.ts';
import { Bot } from '../../src/bot.ts';
import { loadProfile } from '../../src/service/profile.ts';
import { openLevel } from '../../src/store/level.ts';
import { inboxRows, outboxRows, owedReceipts } from '../../src/store/tables.ts';
import { counting } from '../support/crash-plugin.ts';
import { WatchedStore } from '../support/watched-store.ts';

const [folder = '', profile = '', step, number, moment] = process.argv.slice(2);
const counts = { commit: 0, send: 0 };

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Counts a step. @returns whether it is the one to die at, and when */
function at(kind: 'commit' | 'send'): string | undefined {
  counts[kind]++;
  return step === kind && counts[kind] === Number(number) ? moment : undefined;
}

const send = Reflect.get(WebSocket.prototype, 'send') as (
  this: WebSocket,
  data: Uint8Array,
  done?: () => void,
) => void;
WebSocket.prototype.send = function (this: WebSocket, data: Uint8Array): void {
  const when = at('send');
  if (when === 'before') die();
  // The callback comes when the kernel has it.
  send.call(this, data, when === undefined ? undefined : die);
};

const store = new WatchedStore(await openLevel(folder, { secret: { kind: 'plain' } }), async (commit) => {
  const when = at('commit');
  if (when === 'before') die();
  const durable = commit();
  if (when === 'during') setImmediate(() => setImmediate(die));
  await durable;
  if (when === 'after') die();
});

const stop = new AbortController();
process.once('SIGTERM', () => {
  stop.abort();
});
async function isAtRest(): Promise<boolean> {
  for (const table of [inboxRows, owedReceipts, outboxRows]) {
    for await (const [key] of table.scan(store, undefined, { limit: 1 })) if (key !== '') return false;
  }
  return true;
}

async function tellRest(): Promise<void> {
  while (!stop.signal.aborted) {
    if (await isAtRest()) writeSync(1, 'rest\n');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const bot = new Bot({
  store,
  service: await loadProfile(profile),
  onEvent: ({ kind }) => {
    if (kind === 'ready') writeSync(1, 'ready\n');
  },
});
await Promise.all([
  bot.use(echo).use(counting).run(stop.signal),
  step === undefined ? tellRest() : Promise.resolve(),
]);
await store.close();
writeSync(1, `${JSON.stringify(counts)}\n`);
