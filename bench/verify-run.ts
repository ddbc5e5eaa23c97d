/**
 * (g) Verify, a whole run: both sides in one process, from the share to DONE, with rows written and read and with real
 * libsignal sessions, without the memory-hard function (scrypt stands at its cheapest). Profile 1 and profile 2.
 * Each frame arrives in a turn of the event loop of its own, as from a socket. How long the loop was held is what a second
 * loop beside it has seen: the longest turn of all runs, with what the collector and the machine add.
 * Spec: verification brief, section 15.
 */
import { performance } from 'node:perf_hooks';
import type { Profile } from '../plugins/verify/messages/frame.ts';
import { couple, verify } from '../test/verify/support/party.ts';
import type { WholeRun } from './support/figures.ts';
import { turn } from './support/line.ts';
import { median, progress, report } from './support/measure.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 100);
const WARMUPS = 30;

async function measure(profile: Profile): Promise<WholeRun> {
  const times: number[] = [];
  let [frameBytes, heldMs] = [0, 0];
  for (let round = 0; round < ROUNDS + WARMUPS; round++) {
    const [alice, bob] = couple({ profile });
    const watch = new Watch();
    const watched = watch.run();
    const before = performance.now();
    await verify(alice, bob, undefined, undefined, turn);
    const ms = performance.now() - before;
    watch.stop();
    await watched;
    if (alice.kind !== 'verified' || bob.kind !== 'finished') throw new Error('a run was not verified');
    frameBytes = [...alice.sent, ...bob.sent].reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (round < WARMUPS) continue;
    times.push(ms);
    heldMs = Math.max(heldMs, watch.longestMs);
  }
  progress(`profile ${String(profile)}: ${median(times).toFixed(1)} ms, held ${heldMs.toFixed(1)} ms`);
  return { ms: median(times), frameBytes, heldMs };
}

/** Turns of the event loop, one after the other, and the longest of them. */
class Watch {
  longestMs = 0;
  #stopped = false;

  async run(): Promise<void> {
    let last = performance.now();
    while (!this.#stopped) {
      await turn();
      const now = performance.now();
      this.longestMs = Math.max(this.longestMs, now - last);
      last = now;
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}

const one = await measure(1);
report({ ...(await measure(2)), profile1: one });
