/** What comes after a run that died: rows one at a time, and a count that outlives the process. */
import { describe, expect, test } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { noteEndFromWithin } from '../../src/inbox/caution.ts';
import { Dispatcher } from '../../src/inbox/dispatcher.ts';
import { MemoryDisk, openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { InboxRow } from '../../src/store/rows.ts';
import { deadRows, facts, inboxRows, pluginState } from '../../src/store/tables.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { textRow } from '../support/inbox-row.ts';

type Handle = (text: string, attempt: number) => unknown;

const NEVER = new Promise<never>(() => undefined);

/** Rows of as many conversations: nothing but a bound keeps them from running side by side. */
async function seed(...texts: string[]): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const store = openMemory(disk);
  const batch = store.batch();
  for (const [i, text] of texts.entries()) inboxRows.put(batch, i + 1, textRow(`sender-${String(i)}`, text));
  await batch.commit();
  await store.close();
  return disk;
}

/** A process: it runs until it is stopped, or is left as it is, which is what a death leaves on the disk. */
class Life {
  readonly store: Store;
  readonly clock = new ManualClock();
  readonly stop = new AbortController();
  readonly dispatcher: Dispatcher;
  readonly ended: Promise<void>;

  constructor(disk: MemoryDisk, handle: Handle) {
    this.store = openMemory(disk);
    this.dispatcher = new Dispatcher({
      store: this.store,
      platform: testPlatform({ clock: this.clock }),
      router: {
        route: ({ row: { source }, content }) => [
          {
            plugin: 'p',
            lane: source,
            run: ({ attempt }) => handle(content.kind === 'text' ? content.text : '', attempt),
          },
        ],
      },
      onRow: () => undefined,
    });
    this.ended = this.dispatcher.run(this.stop.signal);
  }

  async end(reason?: BotError): Promise<void> {
    this.stop.abort(reason);
    await settle();
    await this.clock.advance(10_000);
    await this.ended;
  }
}

async function texts(store: Store): Promise<{ inbox: number[]; dead: InboxRow[] }> {
  const inbox: number[] = [];
  for await (const [id] of inboxRows.scan(store)) inbox.push(Number(id));
  const dead: InboxRow[] = [];
  for await (const [, found] of deadRows.scan(store)) dead.push(found);
  return { inbox, dead };
}

describe('a run that died', () => {
  test('has its rows called one at a time by the next', async () => {
    const disk = await seed('1', '2', '3');
    new Life(disk, () => NEVER);
    await settle();
    let running = 0;
    let most = 0;
    const second = new Life(disk, async () => {
      most = Math.max(most, ++running);
      await settle();
      running--;
    });
    await second.dispatcher.idle();
    expect(most).toBe(1);
    expect((await texts(second.store)).inbox).toEqual([]);
    await second.end();
  });

  test.each([
    ['from within: it goes to dead after five starts', true, 6],
    ['killed perhaps: after nine', false, 10],
  ])('and again with the same row, %s, and the others are handled', async (_, within, most) => {
    const disk = await seed('good', 'bad', 'also good');
    const seen: string[] = [];
    let starts = 0;
    for (let dead = 0; dead === 0; starts++) {
      const life = new Life(disk, (text) => {
        seen.push(text);
        return text === 'bad' ? NEVER : undefined;
      });
      await Promise.race([life.dispatcher.idle(), settle()]);
      const left = openMemory(disk);
      dead = (await texts(left)).dead.length;
      if (within) await noteEndFromWithin(left);
    }
    expect(starts).toBe(most);
    expect(seen.filter((text) => text === 'bad')).toHaveLength(most - 1);
    expect(seen.filter((text) => text !== 'bad').sort()).toEqual(['also good', 'good']);
    const { inbox, dead } = await texts(openMemory(disk));
    expect(inbox).toEqual([]);
    expect(dead).toMatchObject([{ plugin: 'p', attempts: most - 2 }]);
    expect(dead[0]?.error).toContain('the process ended');
  });

  test('counts against the row only while its call has no end', async () => {
    const disk = await seed('1');
    new Life(disk, () => NEVER);
    await settle();
    const attempts: number[] = [];
    const second = new Life(disk, (_, attempt) => {
      attempts.push(attempt);
      if (attempts.length < 3) throw new Error('once more');
    });
    for (const ms of [0, 2_000, 10_000]) await second.clock.advance(ms);
    await second.dispatcher.idle();
    expect(attempts).toEqual([1, 2, 3]);
    await second.end();
  });

  test('leaves alone what comes later: it runs side by side, and nothing is written before a call', async () => {
    const disk = await seed('old');
    new Life(disk, () => NEVER);
    await settle();
    let running = 0;
    const second = new Life(disk, (text) => {
      if (text === 'old') return undefined;
      running++;
      return NEVER;
    });
    await second.dispatcher.idle();
    for (const id of [10, 11]) {
      const batch = second.store.batch();
      inboxRows.put(batch, id, textRow(`later-${String(id)}`, 'new'));
      await batch.commit();
      second.dispatcher.offer(id, textRow(`later-${String(id)}`, 'new'));
    }
    await settle();
    expect(running).toBe(2);
    expect((await inboxRows.get(second.store.batch(), 10))?.attempts).toBe(0);
    await second.end();
  });
});

describe('a run that was stopped', () => {
  test('leaves nothing that the next one would be careful for', async () => {
    const disk = await seed('1', '2');
    await new Life(disk, () => NEVER).end();
    expect(await facts.get(openMemory(disk).batch(), 'dispatching')).toBeUndefined();
    let running = 0;
    const second = new Life(disk, () => {
      running++;
      return NEVER;
    });
    await settle();
    expect(running).toBe(2);
    await second.end();
  });

  test('takes the count of a call back that it cut off', async () => {
    const disk = await seed('1');
    new Life(disk, () => NEVER);
    await settle();
    const second = new Life(disk, () => NEVER);
    await settle();
    const before = await inboxRows.get(second.store.batch(), 1);
    expect(before?.progress).toMatchObject([{ attempts: 0, deaths: 1 }]);
    await second.end();
    expect((await inboxRows.get(openMemory(disk).batch(), 1))?.progress).toEqual([]);
    // Nothing says that it was not this row: the next run is careful with it too.
    expect(await facts.get(openMemory(disk).batch(), 'dispatching')).toBeDefined();
  });

  test('by an error that nobody caught counts as one that died', async () => {
    const disk = await seed('1');
    new Life(disk, () => NEVER);
    await settle();
    const second = new Life(disk, () => NEVER);
    await settle();
    await second.end(new BotError('UNCAUGHT', 'thrown in a timer'));
    const store = openMemory(disk);
    expect(await facts.get(store.batch(), 'dispatching')).toMatchObject({ within: true });
    expect((await inboxRows.get(store.batch(), 1))?.progress).toMatchObject([{ deaths: 1 }]);
  });
});

test('a run writes once at its start and once at its end, however many messages come between', async () => {
  const disk = await seed();
  const write = disk.write.bind(disk);
  let factWrites = 0;
  disk.write = (rows) => {
    if ([...rows.keys()].some((key) => key.startsWith('fact/'))) factWrites++;
    return write(rows);
  };
  const life = new Life(disk, () => undefined);
  await settle();
  for (let id = 1; id <= 20; id++) {
    const batch = life.store.batch();
    inboxRows.put(batch, id, textRow('one', 'text'));
    pluginState.put(batch, 'p', 'k', Uint8Array.of(id));
    await batch.commit();
    life.dispatcher.offer(id, textRow('one', 'text'));
  }
  await life.dispatcher.idle();
  await life.end();
  expect(factWrites).toBe(2);
});
