/**
 * Ceremonies over the development server with stores on disk: a party that is killed, a store that fails, a server that drops
 * and repeats; and what other devices see of it all.
 *
 * CRASH_WALK=full takes many more steps.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import type { Fault as ServerFault } from '../../src/devserver/faults.ts';
import { decodeFrame, ROUNDS, type Frame } from '../../src/rounds/index.ts';
import { openLevel } from '../../src/store/level.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Staging, Store } from '../../src/store/store.ts';
import { inboxRows, outboxRows, sentLog } from '../../src/store/tables.ts';
import thresholdBls from '../../plugins/threshold-bls/index.ts';
import { Scene } from '../support/scene.ts';
import { FAULT_KINDS, FaultyStore, type FaultKind } from '../support/store-faults.ts';
import { PLAIN, tempFolder } from '../support/store-folder.ts';
import { until } from '../support/until.ts';
import { Group, twoTales, type Party } from './support/group.ts';
import { inTime } from './support/in-time.ts';

const FULL = process.env['CRASH_WALK'] === 'full';
const TIMEOUT_MS = FULL ? 1_200_000 : 180_000;
/** Less than that, so that a failure says who waits for what. */
const LIMIT_MS = TIMEOUT_MS - 20_000;
const CHILD = fileURLToPath(new URL('support/child.ts', import.meta.url));
const NAMES = ['keygen', 'refresh', 'sign'] as const;
type Name = (typeof NAMES)[number];

let scene: Scene;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let group: Group;

beforeEach(async () => {
  scene = await Scene.start();
  folder = await tempFolder();
  const level = await openLevel(folder.data, { secret: PLAIN, create: true });
  group = await Group.start(scene, [level, openMemory(), openMemory()]);
});

afterEach(async () => {
  await scene.close();
  await group
    .party(0)
    .inner.close()
    .catch(() => undefined);
  await folder.remove();
});

function inputOf(name: Name, publicKey: string): object {
  const common = { group: group.lines(), wait: 120 };
  if (name === 'keygen') return { ...common, threshold: 1, parties: 3 };
  return name === 'refresh' ? { ...common, publicKey } : { ...common, publicKey, message: '00' };
}

/** The acts of the others. */
function others(name: Name, publicKey: string): Promise<unknown[]> {
  return Promise.all([1, 2].map((at) => group.party(at).act(name, inputOf(name, publicKey))));
}

/** Every two sign, with shares of this epoch. */
async function expectSound(publicKey: string, epoch: number): Promise<void> {
  for (const party of group.parties) {
    const shares = await party.shares(publicKey);
    expect(shares.map(({ share }) => share.epoch)).toEqual([epoch]);
  }
  for (const pair of [
    [0, 1],
    [0, 2],
    [1, 2],
  ])
    // prettier-ignore
    expect(await group.sign(publicKey, pair, pair.join())).toBe(true);
  for (const { left } of group.parties) expect(twoTales(left)).toEqual([]);
}

describe('a party whose store fails', () => {
  /**
   * Ends at every so many commits, counted from each start.
   * @returns how often
   * @throws what an act of anybody rejects with, but for that of a party whose store has failed
   */
  async function walk(party: Party, name: Name, publicKey: string, kind: FaultKind, every: number): Promise<number> {
    const since = Date.now();
    const end = others(name, publicKey);
    end.catch(() => undefined); // heard below, once a start is over
    for (let deaths = 0; ; deaths++) {
      await party.running.stop().catch(() => undefined);
      let strike: () => void = () => undefined;
      const struck = new Promise<'struck'>((resolve) => {
        strike = () => {
          resolve('struck');
        };
      });
      // Failed starts count too, so that none of them is the last for ever.
      const fault = { at: every + deaths, kind };
      let store: FaultyStore | undefined;
      const starting = party.restart((inner) => (store = new FaultyStore(inner, fault, strike)));
      /** The fault is waited for only where it has struck: nobody else may end for another reason. */
      const unlessStruck = (error: unknown): Promise<'struck'> => {
        if (store?.struck === true) return struck;
        throw error;
      };
      const isUp = await Promise.race([starting.then(() => 'up' as const, unlessStruck), struck]);
      if (isUp === 'up') {
        const act = (await isDone(party, name, since)) ? Promise.resolve() : party.act(name, inputOf(name, publicKey));
        const over = Promise.all([act, end]).then(() => 'over' as const, unlessStruck);
        if ((await Promise.race([over, struck])) === 'over') {
          await party.running.stop().catch(() => undefined);
          await party.restart();
          return deaths;
        }
        over.catch(() => undefined);
      }
      await starting.catch(() => undefined);
    }
  } // prettier-ignore

  async function isDone(party: Party, name: Name, since: number): Promise<boolean> {
    const runs = await party.runs();
    return runs.some(
      ({ proposal, phase, end }) =>
        proposal.protocol === `countersign.bls-${name}` && phase === 'done' && (end?.at ?? 0) >= since,
    );
  }

  const strides = FULL ? [6, 7, 8, 9, 11, 13, 17, 23] : [9];
  it.each(FAULT_KINDS.flatMap((kind) => strides.map((every) => [kind, every] as const)))(
    'with %s again and again (every %i commits) comes to the same end',
    { timeout: TIMEOUT_MS },
    (kind, every) =>
      inTime(group, LIMIT_MS, async () => {
        const party = group.party(0);
        let deaths = await walk(party, 'keygen', '', kind, every);
        const publicKey = Buffer.from(await lastKey(group.party(1))).toString('hex');
        await expectSound(publicKey, 0);
        deaths += await walk(party, 'refresh', publicKey, kind, every);
        deaths += await walk(party, 'sign', publicKey, kind, every);
        await expectSound(publicKey, 1);
        expect(deaths).toBeGreaterThan(5);
      }),
  );
});

describe('a server that drops, repeats and hangs up', () => {
  it('comes to the same end', { timeout: TIMEOUT_MS }, () =>
    inTime(group, LIMIT_MS, async () => {
      const { aci } = group.party(0).running;
      const faults: ServerFault[] = [
        { action: { status: 503 } },
        { action: { close: 1011 } },
        { action: { duplicate: true } },
        { path: '/api/v1/message', action: { duplicate: true } },
        { path: '/api/v1/message', action: { reorder: true } },
        { path: '/api/v1/message', action: { close: 1011 } },
        // Some of each, and no more that hang up: each time the next connection is waited for longer, 10 s and more in the end.
        { action: { duplicate: true } },
        { path: '/api/v1/message', action: { duplicate: true } },
        { path: '/api/v1/message', action: { reorder: true } },
      ];
      let at = 0;
      const timer = setInterval(() => {
        const fault = faults[at];
        if (fault !== undefined) scene.server.faults.add({ aci, ...fault });
        at++;
      }, 100);
      try {
        const publicKey = await group.keygen();
        await until(() => at >= faults.length, 'all faults');
        await group.refresh(publicKey);
        scene.server.faults.clear();
        await expectSound(publicKey, 1);
      } finally {
        clearInterval(timer);
      }
    }),
  );
});

describe('a process that is killed', () => {
  const children = new Set<ChildProcess>();
  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
    children.clear();
  });

  it.each(NAMES)('in a %s goes on where it was', { timeout: TIMEOUT_MS }, (name) =>
    inTime(group, LIMIT_MS, async () => {
      const profile = join(folder.path, 'server.json');
      await writeFile(profile, JSON.stringify(scene.server.profile));
      const before = name === 'keygen' ? '' : await group.keygen();
      const party = group.party(0);
      await party.running.stop();
      await party.inner.close();
      const since = Date.now();
      const end = others(name, before);
      const steps = FULL ? [5, 8, 11, 14, 17, 20, 26, 33] : [7, 16, 25];
      const points = steps.flatMap((step) => [['commit', 2 * step], ['send', step]] as const); // prettier-ignore
      let killed = 0;
      for (const point of [...points, undefined]) {
        const input = JSON.stringify(inputOf(name, before));
        const last = point === undefined ? [] : point.map(String);
        const argv = [CHILD, folder.data, profile, String(since), name, input, ...last];
        const child = spawn(process.execPath, ['--import', 'tsx', ...argv], { stdio: ['ignore', 'pipe', 'inherit'] }); // prettier-ignore
        children.add(child);
        const done = new Promise<'done'>((resolve) => {
          child.stdout.once('data', () => {
            resolve('done');
          });
        });
        const ended = new Promise<'ended'>((resolve) => {
          child.once('close', () => {
            resolve('ended');
          });
        });
        const how = await Promise.race([Promise.all([done, end]).then(() => 'done' as const), ended]);
        if (how === 'ended') killed++;
        else child.kill('SIGKILL');
        await ended;
        expect(child.signalCode).toBe('SIGKILL');
        if (how === 'done') break;
      }
      expect(killed).toBeGreaterThan(name === 'sign' ? 0 : 2);
      await end;
      const store = await openLevel(folder.data, { secret: PLAIN });
      party.inner = store;
      await party.restart();
      const publicKey = before === '' ? Buffer.from(await lastKey(group.party(1))).toString('hex') : before;
      expect((await party.shares(publicKey)).map(({ share }) => share.epoch)).toEqual([name === 'refresh' ? 1 : 0]); // prettier-ignore
      expect(await group.sign(publicKey, [0, 2], 'after all')).toBe(true);
      for (const { left } of group.parties.slice(1)) expect(twoTales(left)).toEqual([]);
    }),
  );
});

async function lastKey(party: Party): Promise<Uint8Array> {
  const rows = await party.rows();
  const [key = ''] = [...rows.keys()].filter((name) => name.startsWith('~key-of/'));
  return rows.get(key) ?? new Uint8Array(0);
}

describe('what others see', () => {
  it('is nothing: other devices get fillers and no transcripts', { timeout: TIMEOUT_MS }, async () => {
    const watchers: { readonly store: Store; readonly got: string[] }[] = [];
    for (const at of [0, 1]) {
      const { phone } = group.party(at).running;
      const { account, store } = await scene.link(phone, openMemory(), 'another device');
      const got: string[] = [];
      // It knows the tag, so that nothing is thrown away before it could be seen.
      await scene.run(phone, account, inboxNoted(store, got), (bot) => void bot.use(thresholdBls()));
      watchers.push({ store, got });
    }
    const publicKey = await group.keygen();
    await group.refresh(publicKey);
    expect(await group.sign(publicKey, [0, 1], 'x')).toBe(true);
    for (const { store, got } of watchers) {
      await until(async () => (await countSeen(store)) > 10, 'ten messages for another device');
      // Beside fillers, which are not kept: what devices of an account tell each other, and receipts, but no word of ours.
      expect(got.filter((kind) => kind !== 'receipt' && kind !== 'sync other')).toEqual([]);
    }
    for (const { running } of group.parties) {
      const kinds = (await running.phone.messages()).map(({ kind }) => kind);
      // A phone shows nothing of these; that no sync is a transcript is seen above.
      expect(kinds.filter((kind) => !['null', 'sync', 'receipt'].includes(kind))).toEqual([]);
    }
  });

  it('is nothing in what is kept of what was sent', { timeout: TIMEOUT_MS }, async () => {
    const publicKey = await group.keygen();
    await group.refresh(publicKey);
    for (const { inner, left } of group.parties) {
      expect(left.filter(({ frame }) => isPrivate(frame)).length).toBeGreaterThanOrEqual(4);
      const kept = [];
      for await (const [, { content }] of sentLog.scan(inner)) kept.push(frameIn(content));
      for await (const [, { content }] of outboxRows.scan(inner)) kept.push(frameIn(content));
      const frames = kept.filter((frame) => frame !== undefined);
      expect(frames.length).toBeGreaterThan(4);
      expect(frames.filter(isPrivate)).toEqual([]);
    }
  });
});

function frameIn(content: Uint8Array): Frame | undefined {
  const decoded = decodeContent(content);
  return decoded.kind === 'app' && decoded.tag === ROUNDS.tag ? decodeFrame(decoded.payload) : undefined;
}

function isPrivate(frame: Frame): boolean {
  return frame.kind === 'message' && frame.recipient !== 0;
}

/** How many messages a device has got. */
async function countSeen(store: Store): Promise<number> {
  let count = 0;
  for await (const [key] of store.scan('seen/')) if (key !== '') count++;
  return count;
}

/** A store that notes what kinds of messages are to be handled. */
function inboxNoted(store: Store, got: string[]): Store {
  return {
    batch: () => {
      const inner = store.batch();
      const rows: Bytes[] = [];
      return {
        get: (key) => inner.get(key),
        put: (key, value) => {
          if (key.startsWith(inboxRows.key())) rows.push(value);
          inner.put(key, value);
        },
        delete: (key) => {
          inner.delete(key);
        },
        commit: async () => {
          await inner.commit();
          for (const value of rows) got.push(await kindOf(value));
        },
      };
    },
    scan: (prefix, options) => store.scan(prefix, options),
    compact: (prefix, from) => store.compact(prefix, from),
    close: () => store.close(),
  };
}

async function kindOf(row: Bytes): Promise<string> {
  const only: Staging = { get: () => Promise.resolve(row), put: () => undefined, delete: () => undefined };
  const found = await inboxRows.get(only, 0);
  const content = found === undefined ? undefined : decodeContent(found.content);
  return content?.kind === 'sync' ? `sync ${content.sync.type}` : (content?.kind ?? 'unreadable');
}
