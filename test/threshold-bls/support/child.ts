/**
 * A party in a process of its own that kills itself at a given step, as a power cut would.
 *
 *   tsx child.ts FOLDER PROFILE SINCE NAME INPUT [STEP NUMBER]
 *
 * It carries out the act NAME with INPUT (JSON), unless a ceremony of that name has been done since SINCE (ms); where one is
 * open, the act goes on with it. STEP is `commit` (killed when it is durable) or `send` (a frame on a socket, killed when the
 * kernel has it), NUMBER counts from 1. It prints one line of JSON when the ceremony is done, and runs until it is killed.
 */
import { writeSync } from 'node:fs';
import { WebSocket } from 'ws';
import thresholdBls from '../../../plugins/threshold-bls/index.ts';
import { Bot } from '../../../src/bot.ts';
import { decodeRun } from '../../../src/rounds/run-row.ts';
import { loadProfile } from '../../../src/service/profile.ts';
import { openLevel } from '../../../src/store/level.ts';
import { pluginVolatile } from '../../../src/store/tables.ts';
import { WatchedStore } from '../../support/watched-store.ts';

const [folder = '', profile = '', since = '', name = '', input = '', step, number] = process.argv.slice(2);
const counts = { commit: 0, send: 0 };

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Counts a step. @returns whether it is the one to die at */
function isLast(kind: 'commit' | 'send'): boolean {
  counts[kind]++;
  return step === kind && counts[kind] === Number(number);
}

const send = Reflect.get(WebSocket.prototype, 'send') as (
  this: WebSocket,
  data: Uint8Array,
  done?: () => void,
) => void;
WebSocket.prototype.send = function (this: WebSocket, data: Uint8Array): void {
  send.call(this, data, isLast('send') ? die : undefined);
};

const store = new WatchedStore(await openLevel(folder, { secret: { kind: 'plain' } }), async (commit) => {
  const last = isLast('commit');
  await commit();
  if (last) die();
});

let isDone = false;
for await (const [key, value] of pluginVolatile.scan(store, ['threshold-bls'])) {
  if (!key.startsWith('rounds/run/')) continue;
  const { proposal, phase, end } = decodeRun(value, new Map());
  if (proposal.protocol !== `countersign.bls-${name}`) continue;
  isDone ||= phase === 'done' && (end?.at ?? 0) >= Number(since);
}

let ready: () => void = () => undefined;
const isReady = new Promise<void>((resolve) => {
  ready = resolve;
});
const bot = new Bot({
  store,
  service: await loadProfile(profile),
  onEvent: ({ kind }) => {
    if (kind === 'ready') ready();
  },
});
const running = bot.use(thresholdBls()).run(new AbortController().signal);
await Promise.race([isReady, running]);
const whole = JSON.parse(input) as Record<string, unknown>;
const result = isDone
  ? {}
  : await bot.act('threshold-bls', name, {
      contact: undefined,
      input: whole,
      signal: new AbortController().signal,
      tell: () => undefined,
    });
writeSync(1, `${JSON.stringify({ done: result, counts })}\n`);
await running;
