import { beforeEach, describe, expect, it } from 'vitest';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { Rewriting } from '../../src/upkeep/rewriting.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

let clock: ManualClock;
let rewriting: Rewriting;
/** What was asked of the store. */
let asked: [prefix: string, from: string | undefined][];
/** What it answers with; the end where there is nothing more. */
let answers: (string | undefined)[];
/** ms that a piece takes. */
let costMs: number;

beforeEach(() => {
  clock = new ManualClock();
  [asked, answers, costMs] = [[], [], 0];
  const compact: Store['compact'] = async (prefix, from) => {
    asked.push([prefix, from]);
    await clock.advance(costMs);
    return answers.shift();
  };
  const store = Object.assign(openMemory(), { compact });
  rewriting = new Rewriting({ store, platform: testPlatform({ clock }), jitter: () => 0 });
});

/** Turns for so long, as upkeep takes them. */
async function pass(ms: number): Promise<void> {
  const end = clock.now() + ms;
  while (rewriting.dueAt <= end) {
    await clock.advance(Math.max(0, rewriting.dueAt - clock.now()));
    let waitMs = await rewriting.turn();
    while (waitMs < 5 * SECOND && clock.now() < end) {
      await clock.advance(waitMs);
      waitMs = await rewriting.turn();
    }
  }
  await clock.advance(Math.max(0, end - clock.now()));
}

describe('what was deleted leaves the disk', () => {
  it('minutes after start, and then each day', async () => {
    await pass(9 * MINUTE);
    expect(asked).toEqual([]);
    await pass(2 * MINUTE);
    expect(asked).toEqual([['', undefined]]);
    await pass(DAY);
    expect(asked).toHaveLength(2);
  });

  it('a piece at a time', async () => {
    answers = ['m', 't'];
    await pass(11 * MINUTE);
    expect(asked).toEqual([
      ['', undefined],
      ['', 'm'],
      ['', 't'],
    ]);
  });

  it('seconds after a plugin has deleted it, in one go with what else it has deleted', async () => {
    rewriting.noteDeleted(['state/bls/share/aa/1', 'volatile/frost/nonce/1']);
    await pass(3 * SECOND);
    rewriting.noteDeleted(['state/bls/share/ab/2']);
    expect(asked).toEqual([]);
    await pass(3 * SECOND);
    expect(asked).toEqual([
      ['state/bls/share/a', undefined],
      ['volatile/frost/nonce/1', undefined],
    ]);
  });

  it('of plugins at most once a minute, and a tenth of the time', async () => {
    rewriting.noteDeleted(['state/bls/a']);
    await pass(10 * SECOND);
    rewriting.noteDeleted(['state/bls/b']);
    await pass(40 * SECOND);
    expect(asked).toHaveLength(1);
    costMs = 12 * SECOND;
    await pass(20 * SECOND);
    expect(asked).toHaveLength(2);
    rewriting.noteDeleted(['state/bls/c']);
    expect(rewriting.dueAt - clock.now()).toBe(9 * costMs);
  });

  it('of plugins a tenth of the time, also what is deleted while others leave it', async () => {
    costMs = 40 * SECOND;
    rewriting.noteDeleted(['state/bls/a']);
    await clock.advance(5 * SECOND);
    const turn = rewriting.turn();
    rewriting.noteDeleted(['state/bls/b']);
    await turn;
    expect(rewriting.dueAt - clock.now()).toBe(9 * costMs);
  });

  it('not sooner where a scan is in the way and plugins go on deleting', async () => {
    rewriting.noteDeleted(['state/bls/a']);
    await clock.advance(5 * SECOND);
    answers = ['state/bls/a', 'state/bls/a'];
    await rewriting.turn();
    await rewriting.turn();
    rewriting.noteDeleted(['state/bls/b']);
    expect(rewriting.dueAt - clock.now()).toBe(2 * SECOND);
  });

  it('where a plugin deletes while all is written anew, between two pieces', async () => {
    answers = ['m'];
    await pass(10 * MINUTE - 1);
    await clock.advance(1);
    await rewriting.turn();
    rewriting.noteDeleted(['state/bls/a']);
    await clock.advance(10 * SECOND);
    for (let i = 0; i < 3; i++) await rewriting.turn();
    expect(asked).toEqual([
      ['', undefined],
      ['state/bls/a', undefined],
      ['', 'm'],
    ]);
  });

  it('a little later where a scan is in the way, and a day later where it stays', async () => {
    rewriting.noteDeleted(['state/bls/a']);
    answers = ['state/bls/a', 'state/bls/a', undefined];
    await pass(20 * SECOND);
    expect(asked).toHaveLength(3);
    asked = [];
    rewriting.noteDeleted(['state/bls/b']);
    answers = Array.from({ length: 100 }, () => 'state/bls/b');
    await pass(3 * MINUTE);
    expect(asked).toHaveLength(31);
    answers = [];
    await pass(12 * MINUTE);
    expect(asked.at(-1)).toEqual(['', undefined]);
  });
});
