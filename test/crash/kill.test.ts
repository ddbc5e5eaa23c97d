/**
 * Crash walk over real processes: a bot on LevelDB kills itself with SIGKILL at a commit or a frame, and the next process
 * goes on from there until it is killed in turn. At each point a new phone writes to it, so that the first messages of a
 * session are walked over too, and another bot sends it an app message. In the end all phones have got what they were
 * promised, once by timestamp.
 *
 * What is waited for are things that happen, and the limits of time are wide: with a slow disk the rows that a killed
 * process leaves take seconds each, since they are called one at a time and counted before.
 *
 * CRASH_WALK=full takes every step; otherwise a spread of them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { toUtf8 } from '../../src/bytes.ts';
import type { Phone, PhoneMessage } from '../../src/devserver/phone.ts';
import { appType } from '../../src/index.ts';
import { openLevel } from '../../src/store/level.ts';
import { deadRows, inboxRows, outboxRows, pluginState, quarantineRows } from '../../src/store/tables.ts';
import { ECHO, TOTAL } from '../support/crash-plugin.ts';
import { Scene, type RunningBot } from '../support/scene.ts';
import { PLAIN, tempFolder } from '../support/store-folder.ts';

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url));
const FULL = process.env['CRASH_WALK'] === 'full';
/** What one thing that is waited for may take, ms. */
const WAIT_MS = 120_000;
/** What shows that a point is not reached: a round is over, and so long nothing followed, ms. */
const REST_MS = 3_000;
/** Steps of one round, with some room: a point that is never reached is killed from outside. */
const STEPS = { commit: 30, send: 30 };
const MOMENTS = { commit: ['before', 'during', 'after'], send: ['before', 'after'] } as const;

interface Point {
  readonly step: 'commit' | 'send';
  readonly number: number;
  readonly moment: string;
}

function points(): Point[] {
  const all: Point[] = [];
  for (const step of ['commit', 'send'] as const) {
    for (let number = 1; number <= STEPS[step]; number++) {
      for (const moment of MOMENTS[step]) all.push({ step, number, moment });
    }
  }
  // A stride that shares no factor with the moments meets each of them at numbers all over the walk.
  return FULL ? all : all.filter((_, index) => index % 5 === 2);
}

let scene: Scene;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let profile: string;
let phone: Phone;
let aci: string;
let other: RunningBot;
const friends: Phone[] = [];
/** Those who have written a second time. */
const twice = new Set<Phone>();
const answers: string[] = [];
let child: ChildProcess | undefined;

beforeAll(async () => {
  folder = await tempFolder();
  scene = await Scene.start();
  phone = await scene.server.createPhone();
  const store = await openLevel(folder.data, { secret: PLAIN, create: true });
  aci = (await scene.link(phone, store)).account.aci;
  await store.close();
  profile = join(folder.path, 'server.json');
  await writeFile(profile, JSON.stringify(scene.server.profile));
  const type = appType(ECHO);
  other = await scene.bot((bot) =>
    bot.handle((on) => {
      on.app(type, ({ value }) => {
        answers.push(toUtf8(value));
      });
    }),
  );
});

afterAll(async () => {
  child?.kill('SIGKILL');
  await scene.close();
  await folder.remove();
});

function start(point?: Point): {
  /** Resolves when the bot has nothing to do, looked at from now on; needs a start without a point. */
  rests: () => Promise<void>;
  ended: Promise<{ signal: string | null; code: number | null }>;
} {
  const step = point === undefined ? [] : [point.step, String(point.number), point.moment];
  const process_ = spawn(process.execPath, ['--import', 'tsx', CHILD, folder.data, profile, ...step], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = process_;
  let out = '';
  process_.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const rests = async (): Promise<void> => {
    out = '';
    await expect.poll(() => out, { timeout: WAIT_MS, interval: 100 }).toContain('rest\n');
  };
  const ended = new Promise<{ signal: string | null; code: number | null }>((resolve) => {
    process_.once('close', (code, signal) => {
      resolve({ code, signal });
    });
  });
  return { rests, ended };
}

async function write(n: number): Promise<Phone> {
  const friend = await scene.server.createPhone();
  friends.push(friend);
  await friend.send(aci, '!ping', { sealed: n % 2 === 1 });
  await other.bot.send(aci as RunningBot['aci'], { kind: 'app', tag: ECHO, payload: Buffer.from(String(n)) });
  return friend;
}

/** What a phone shows: a timestamp of a sender once. */
function shown(messages: readonly PhoneMessage[], kind: PhoneMessage['kind']): string[] {
  const seen = new Map<string, PhoneMessage>();
  for (const message of messages) {
    if (message.kind === kind) seen.set(`${message.from} ${String(message.timestamp)}`, message);
  }
  return [...seen.values()].map(({ text }) => text ?? '').sort();
}

async function isAnswered(friend: Phone, n: number): Promise<boolean> {
  const texts = shown(await friend.messages(), 'text');
  return texts.length >= (twice.has(friend) ? 4 : 2) && answers.includes(`re:${String(n)}`);
}

it(
  'loses nothing and repeats nothing when the process is killed at any step',
  { timeout: FULL ? 3_600_000 : 900_000 },
  async () => {
    const walk = points();
    let killed = 0;
    for (const [n, point] of walk.entries()) {
      const friend = await write(n);
      const { ended } = start(point);
      const running = child;
      const isOver = (): boolean => running?.exitCode !== null || running.signalCode !== null;
      const isRoundOver = async (): Promise<boolean> => isOver() || isAnswered(friend, n);
      await until(isRoundOver);
      if (!isOver()) {
        // What comes late in a round needs a second message on the session.
        await friend.send(aci, '!echo again');
        twice.add(friend);
        await until(isRoundOver);
      }
      const late = Date.now() + REST_MS;
      while (!isOver() && Date.now() < late) await sleep(50);
      if (!isOver()) child?.kill('SIGKILL');
      else killed++;
      expect(await ended, JSON.stringify(point)).toEqual({ code: null, signal: 'SIGKILL' });
    }

    const last = start();
    for (const [n, friend] of friends.entries()) {
      await until(() => isAnswered(friend, n));
      await until(async () => shown(await friend.messages(), 'receipt').length > 0);
    }
    await last.rests();
    child?.kill('SIGTERM');
    expect(await last.ended).toEqual({ code: 0, signal: null });
    // A point that is never reached proves nothing, and says that the numbers above are out of date.
    expect(killed).toBeGreaterThanOrEqual(walk.length * 0.8);
    await check();
  },
);

async function check(): Promise<void> {
  for (const friend of friends) {
    const messages = await friend.messages();
    const again = twice.has(friend) ? ['again', 'seen !echo again'] : [];
    expect(shown(messages, 'text')).toEqual([...again, 'pong', 'seen !ping'].sort());
    expect(shown(messages, 'undecodable')).toEqual([]);
    expect(shown(messages, 'receipt').length).toBeGreaterThan(0);
  }
  expect(shown(await phone.messages(), 'undecodable')).toEqual([]);
  expect([...answers].sort()).toEqual(friends.map((_, n) => `re:${String(n)}`).sort());

  const store = await openLevel(folder.data, { secret: PLAIN });
  for (const table of [inboxRows, outboxRows, deadRows, quarantineRows]) {
    const rows: unknown[] = [];
    for await (const row of table.scan(store)) rows.push(row);
    expect(rows).toEqual([]);
  }
  let total = 0;
  let messages = 0;
  for await (const [key, value] of pluginState.scan(store, ['counting'])) {
    if (key === TOTAL) {
      total = Number(toUtf8(value));
    } else {
      messages++;
      expect(toUtf8(value)).toBe('1');
    }
  }
  expect(total).toBe(messages);
  expect(total).toBeGreaterThanOrEqual(2 * friends.length);
  await store.close();
}

async function until(done: () => Promise<boolean>): Promise<void> {
  await expect.poll(done, { timeout: WAIT_MS, interval: 50 }).toBe(true);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
