/**
 * What the code of a plugin does to the process: real processes over one store, each start of `run` a process of its own.
 * However the plugin ends it, the message is in `dead` after five starts, and the sixth serves the others.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Phone } from '../../src/devserver/phone.ts';
import { openLevel } from '../../src/store/level.ts';
import { deadRows, inboxRows } from '../../src/store/tables.ts';
import { Scene } from '../support/scene.ts';
import { PLAIN, tempFolder } from '../support/store-folder.ts';

const ENTRY = fileURLToPath(new URL('../../src/cli/countersign.ts', import.meta.url));
const MAX_STARTS = 5;

/** What each text does; all others are answered. */
const PLUGIN = `
if (process.env.FATAL_AT === 'load') for (;;);
const deeds = {
  exit: () => process.exit(0),
  timer: () => new Promise(() => setTimeout(() => { throw new Error('in a timer'); }, 5)),
  late: (ctx) => { setTimeout(() => { throw new Error('late'); }, 0); ctx.reply('on time'); },
  stray: (ctx) => { Promise.reject(new Error('nobody waits for this')); ctx.reply('went on'); },
  busy: () => { for (;;); },
};
export default {
  name: 'fatal',
  version: '1',
  setup(host) {
    if (process.env.FATAL_AT === 'setup') for (;;);
    if (process.env.FATAL_AT === 'exit') process.exit(0);
    if (process.env.FATAL_AT === 'stop') {
      host.run(() => new Promise(() => { setTimeout(() => { throw new Error('and never stops'); }, 500); }));
    }
    host.text((ctx) => (deeds[ctx.text] ?? (() => ctx.reply('seen ' + ctx.text)))(ctx));
  },
};
`;

interface Line {
  readonly event: string;
  readonly reason?: string;
  readonly error?: { readonly message: string };
}

class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  out = '';
  err = '';

  constructor(env: Record<string, string>) {
    const argv = ['run', '--json', '--server', join(folder.path, 'server.json'), '--data', folder.data];
    this.child = spawn(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), ENTRY, ...argv, '--plugin', join(folder.path, 'fatal.mjs')],
      { env: { ...process.env, ...env } },
    );
    this.child.stdout?.on('data', (chunk: Buffer) => (this.out += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.err += chunk.toString()));
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
  }

  get lines(): Line[] {
    return this.out
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  }
}

let scene: Scene;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let aci: string;
let run: Run | undefined;
const friends: Phone[] = [];

beforeAll(async () => {
  scene = await Scene.start();
  for (let i = 0; i < 2; i++) friends.push(await scene.server.createPhone());
});

beforeEach(async () => {
  folder = await tempFolder();
  const store = await openLevel(folder.data, { secret: PLAIN, create: true });
  aci = (await scene.link(await scene.server.createPhone(), store)).account.aci;
  await store.close();
  await writeFile(join(folder.path, 'server.json'), JSON.stringify(scene.server.profile));
  await writeFile(join(folder.path, 'fatal.mjs'), PLUGIN);
});

afterEach(async () => {
  run?.child.kill('SIGKILL');
  await run?.ended;
  await folder.remove();
});

afterAll(async () => {
  await scene.close();
});

interface End {
  readonly code: number | null;
  readonly last: Line | undefined;
  readonly err: string;
  /** Its control socket is still there. */
  readonly isReachable: boolean;
}

/** One phone sends the deed, which ends the first start; another sends a text. Starts the bot until that one is answered. */
async function startUntilServed(deed: string, env: Record<string, string> = {}): Promise<End[]> {
  const [bad, good] = friends as [Phone, Phone];
  const ends: End[] = [];
  await bad.send(aci, deed);
  while (ends.length <= MAX_STARTS) {
    const { ended } = (run = new Run(env));
    const watch = new AbortController();
    const end = await Promise.race([
      ended,
      ends.length === 0 ? new Promise(() => undefined) : served(good, `seen beside ${deed}`, watch.signal),
    ]);
    watch.abort();
    if (end === 'served') break;
    ends.push(await endOf(run));
    if (ends.length === 1) await good.send(aci, `beside ${deed}`);
  }
  return ends;
}

async function endOf(ending: Run): Promise<End> {
  const code = await ending.ended;
  const isReachable = existsSync(join(folder.data, 'control.sock'));
  return { code, last: ending.lines.at(-1), err: ending.err, isReachable };
}

async function served(phone: Phone, text: string, signal: AbortSignal): Promise<'served'> {
  while (!signal.aborted && !(await hasAnswer(phone, text))) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return 'served';
}

async function hasAnswer(phone: Phone, text: string): Promise<boolean> {
  return (await phone.messages({ waitMs: 0 })).some((message) => message.text === text);
}

async function stopped(): Promise<{ inbox: number; dead: string[] }> {
  run?.child.kill('SIGTERM');
  expect(await run?.ended).toBe(0);
  const store = await openLevel(folder.data, { secret: PLAIN });
  let inbox = 0;
  const dead: string[] = [];
  for await (const [id] of inboxRows.scan(store)) inbox += Number(id) > 0 ? 1 : 0;
  for await (const [, row] of deadRows.scan(store)) dead.push(`${row.plugin}: ${row.error}`);
  await store.close();
  return { inbox, dead };
}

const TIMEOUT_MS = 240_000;
const DEAD = { inbox: 0, dead: [expect.stringContaining('fatal: the process ended') as string] };

it(
  'of a handler that exits: its message is in dead after five starts, no start says 0',
  { timeout: TIMEOUT_MS },
  async () => {
    const ends = await startUntilServed('exit');
    expect(ends.map(({ code }) => code)).toEqual([1, 1, 1, 1, 1]);
    expect(ends[0]).toMatchObject({ last: { event: 'stopped', reason: 'EXITED' }, isReachable: false });
    expect(ends[0]?.err).toContain('ended from within');
    expect(await stopped()).toEqual(DEAD);
  },
);

it(
  'of a timer that throws: the bot stops with a code, and the message is in dead after five starts',
  { timeout: TIMEOUT_MS },
  async () => {
    const ends = await startUntilServed('timer');
    expect(ends.map(({ code }) => code)).toEqual([1, 1, 1, 1, 1]);
    expect(ends[0]?.last).toMatchObject({ event: 'stopped', reason: 'UNCAUGHT' });
    expect(ends[0]?.err).toContain('fatal.mjs');
    expect(await stopped()).toEqual(DEAD);
  },
);

it(
  'of a handler that never pauses: the process is ended with the plugin named, and the message is in dead after five starts',
  { timeout: TIMEOUT_MS },
  async () => {
    const ends = await startUntilServed('busy', { COUNTERSIGN_STALL_SECONDS: '2' });
    expect(ends.map(({ code }) => code)).toEqual([1, 1, 1, 1, 1]);
    expect(ends[0]?.last).toMatchObject({ event: 'stopped', reason: 'STALLED' });
    expect(ends[0]?.err).not.toContain('EXITED');
    expect(ends[0]?.last?.error?.message).toContain('handlers were under way of: fatal');
    expect(await stopped()).toEqual(DEAD);
  },
);

it(
  'of a timer that throws behind a handler that has ended: the bot stops once',
  { timeout: TIMEOUT_MS },
  async () => {
    const ends = await startUntilServed('late');
    expect(ends).toHaveLength(1);
    expect(ends[0]).toMatchObject({ code: 1, last: { event: 'stopped', reason: 'UNCAUGHT' } });
    expect(await stopped()).toEqual({ inbox: 0, dead: [] });
  },
);

it('of a promise that nobody awaits: it is shown, and the bot goes on', { timeout: TIMEOUT_MS }, async () => {
  const [bad] = friends as [Phone];
  await bad.send(aci, 'stray');
  run = new Run({});
  const watch = new AbortController();
  expect(await Promise.race([run.ended, served(bad, 'went on', watch.signal)])).toBe('served');
  await expect.poll(() => run?.err).toContain('nobody waits for this');
  expect(await stopped()).toEqual({ inbox: 0, dead: [] });
});

it.each([
  ['is loaded', 'load', /of: .*fatal\.mjs/],
  ['is set up', 'setup', /of: fatal$/],
])(
  'of a plugin that never pauses while it %s: it is named',
  { timeout: TIMEOUT_MS },
  async (_, at, whose) => {
    run = new Run({ FATAL_AT: at, COUNTERSIGN_STALL_SECONDS: '2' });
    const { code, last } = await endOf(run);
    expect([code, last?.reason]).toEqual([1, 'STALLED']);
    expect(last?.error?.message).toMatch(whose);
  },
);

it('of a plugin that exits while it is set up: the last line says so', { timeout: TIMEOUT_MS }, async () => {
  run = new Run({ FATAL_AT: 'exit' });
  expect(await endOf(run)).toMatchObject({ code: 1, last: { reason: 'EXITED' }, isReachable: false });
});

it(
  'of a plugin that does not stop: it is cut off, and the last line has the reason',
  { timeout: TIMEOUT_MS },
  async () => {
    run = new Run({ FATAL_AT: 'stop' });
    expect(await endOf(run)).toMatchObject({ code: 1, last: { reason: 'UNCAUGHT' }, isReachable: false });
  },
);
