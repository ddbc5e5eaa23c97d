/**
 * Crash walk in one process: a run with a new session, with a crash of one side at each of its commits; another process
 * goes on from what was stored (section 4, V-15 to V-17, V-22).
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dammDigit } from '../../../plugins/verify/code.ts';
import { openMemory } from '../../../src/store/memory.ts';
import { outboxRows } from '../../../src/store/tables.ts';
import { Scene } from '../../support/scene.ts';
import { FaultyStore, type FaultKind } from '../../support/store-faults.ts';
import { quiet } from '../../support/until.ts';
import { codeOf, peerOf, until, wholeRun, type Acting, type Peer } from './support/duo.ts';

const TIMEOUT_MS = 240_000;
const KINDS: readonly FaultKind[] = ['crash-before', 'crash-after'];

let scene: Scene;
let alice: Peer;
let bob: Peer;
const inner = { alice: openMemory(), bob: openMemory() };

beforeEach(async () => {
  scene = await Scene.start();
  [inner.alice, inner.bob] = [openMemory(), openMemory()];
  alice = await peerOf(scene, { store: inner.alice });
  bob = await peerOf(scene, { store: inner.bob });
});

afterEach(() => scene.close());

/** One run in which this side ends at a commit. @returns false when the run has ended before it came to that */
async function crashAt(who: 'alice' | 'bob', at: number, kind: FaultKind, wrong?: string): Promise<boolean> {
  const side = who === 'alice' ? alice : bob;
  await side.stop();
  const store = new FaultyStore(inner[who]);
  await side.restart(store);
  store.arm({ at, kind });
  const starting = alice.start(bob);
  const begun = await Promise.race([codeOf(starting).catch(() => undefined), struck(store)]);
  const code = typeof begun === 'string' ? begun : undefined;
  const entering = code === undefined ? undefined : bob.enter(alice, wrong ?? code, { fresh: true });
  await Promise.race([struck(store), bothEnd(starting, entering)]);
  for (const act of [starting, entering]) act?.stop();
  // What the other side is about to write is written, before anything is cancelled.
  await bothEnd(who === 'alice' ? entering : starting);
  await side.running.stop().catch(() => undefined);
  await side.restart(inner[who]);
  if (code !== undefined) await goOn(at, code, wrong);
  // Its code was never shown: a new one is made.
  await alice.act('cancel');
  await until(async () => !(await hasFramesToSend()), 'all is sent');
  await quiet();
  await until(async () => isOver(await bob.stateOfRun(alice)), 'nothing rings');
  return store.struck;
}

/** What its operator does who sees the program end: types the code again where it still rings. */
async function goOn(at: number, code: string, wrong: string | undefined): Promise<void> {
  let states = '';
  await until(async () => {
    const [a, b] = [await alice.stateOfRun(bob), await bob.stateOfRun(alice)];
    if (b === 'ringing' && a === 'offered')
      await bob.enter(alice, wrong ?? code, { fresh: true, waitMs: 0 }).end.catch(() => undefined);
    states = `${String(a)}, ${String(b)}`;
    return isOver(a) && isOver(b);
  }, 'both are through').catch((error: unknown) => {
    throw new Error(`at ${String(at)}: ${states}`, { cause: error });
  });
}

async function hasFramesToSend(): Promise<boolean> {
  for await (const [, { state }] of outboxRows.scan(inner.alice, [bob.running.aci]))
    if (state === 'queued') return true;
  return false;
}

function isOver(state: string | undefined): boolean {
  return state === undefined || ['verified', 'finished', 'closed'].includes(state);
}

async function struck(store: FaultyStore): Promise<void> {
  await until(() => store.struck, 'the fault').catch(() => undefined);
}

async function bothEnd(...acts: readonly (Acting | undefined)[]): Promise<void> {
  for (const act of acts) await act?.end.catch(() => undefined);
}

/** One that passes the check digit; none is typed twice (V-21). */
function wrongCode(n: number): string {
  const digits = String(n).padStart(6, '0');
  return digits + String(dammDigit(digits));
}

describe.each(['alice', 'bob'] as const)('a crash of %s', (who) => {
  it.each(KINDS)(
    'V-15, V-16: %s at any commit leaves a run that ends well',
    { timeout: TIMEOUT_MS },
    async (kind) => {
      let hasStruck = true;
      let at = 0;
      while (hasStruck) {
        hasStruck = await crashAt(who, ++at, kind);
        const guesses = [(await alice.status()).guesses, (await bob.status()).guesses];
        expect({ at, guesses }).toEqual({ at, guesses: [[], []] });
      }
      expect(at).toBeGreaterThan(5);
      await wholeRun(alice, bob);
    },
  );

  it.each(KINDS)(
    'V-17, V-22: %s never makes two guesses of a wrong code',
    { timeout: TIMEOUT_MS },
    async (kind) => {
      for (let at = 1, hasStruck = true; hasStruck; at++) {
        hasStruck = await crashAt(who, at, kind, wrongCode(at));
        const guesses = [(await alice.status()).guesses, (await bob.status()).guesses];
        for (const [line] of guesses) expect(line?.times.length ?? 0).toBeLessThanOrEqual(1);
        expect([(await alice.view(bob)).state, (await bob.view(alice)).state]).not.toContain('verified');
        await alice.act('unlock', bob);
        await bob.act('unlock', alice);
      }
    },
  );
});
