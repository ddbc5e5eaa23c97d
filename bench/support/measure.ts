/**
 * Measuring: medians over interleaved rounds, so that what else the machine does falls on both sides alike.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

/** The value below which `share` (0 to 1) of all lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  if (value === undefined) throw new Error('nothing was measured');
  return value;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1
    ? percentile(sorted, 0.5)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

interface Cost {
  /** ms that passed. */
  readonly wallMs: number;
  /** ms of processor time, all threads of the process together. */
  readonly cpuMs: number;
}

/** What the work took. Nothing is collected in between: a full collection makes V8 forget compiled code. */
async function timed(work: () => Promise<void>): Promise<Cost> {
  const before = performance.now();
  const cpu = process.cpuUsage();
  await work();
  const wallMs = performance.now() - before;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, cpuMs: (user + system) / 1000 };
}

export interface Comparison {
  /** Per second, medians. */
  readonly measured: number;
  readonly baseline: number;
  /** Median of the rounds' own ratios of the rates, measured to baseline: 1 would be as fast as the baseline. */
  readonly ratio: number;
  /** Microseconds of processor time for each, all threads together, medians. */
  readonly cpuMicros: { readonly measured: number; readonly baseline: number };
}

export interface Round {
  /** Things done in the round, by either side. */
  readonly count: number;
  baseline(): Promise<void>;
  measured(): Promise<void>;
  /** Between the two sides: until nothing of what was measured runs on. */
  settle(): Promise<void>;
}

interface Figures {
  readonly rate: number;
  readonly cpuMicros: number;
}

/** Each round runs both sides on the same material, in turns first and second; the first `warmups` do not count. */
export async function compare(rounds: readonly Round[], warmups: number): Promise<Comparison> {
  const counted: { readonly measured: Figures; readonly baseline: Figures }[] = [];
  for (const [index, round] of rounds.entries()) {
    const both = await runRound(round, index % 2 === 0);
    progress(`round ${String(index + 1)} of ${String(rounds.length)}: ${inWords(both)}`);
    if (index >= warmups) counted.push(both);
  }
  return {
    measured: median(counted.map(({ measured }) => measured.rate)),
    baseline: median(counted.map(({ baseline }) => baseline.rate)),
    ratio: median(counted.map(({ measured, baseline }) => measured.rate / baseline.rate)),
    cpuMicros: {
      measured: median(counted.map(({ measured }) => measured.cpuMicros)),
      baseline: median(counted.map(({ baseline }) => baseline.cpuMicros)),
    },
  };
}

async function runRound(
  round: Round,
  baselineFirst: boolean,
): Promise<{ measured: Figures; baseline: Figures }> {
  const { count } = round;
  const runBaseline = async (): Promise<Figures> => figures(count, await timed(() => round.baseline()));
  const runMeasured = async (): Promise<Figures> => {
    const cost = await timed(() => round.measured());
    await round.settle();
    return figures(count, cost);
  };
  if (baselineFirst) {
    const baseline = await runBaseline();
    return { baseline, measured: await runMeasured() };
  }
  const measured = await runMeasured();
  return { measured, baseline: await runBaseline() };
}

function figures(count: number, { wallMs, cpuMs }: Cost): Figures {
  return { rate: (count * 1000) / wallMs, cpuMicros: (cpuMs * 1000) / count };
}

function inWords({ measured, baseline }: { measured: Figures; baseline: Figures }): string {
  const side = ({ rate, cpuMicros }: Figures): string =>
    `${rate.toFixed(0)}/s (${cpuMicros.toFixed(0)} µs of processor)`;
  return `${side(measured)}, bare ${side(baseline)}, ratio ${(measured.rate / baseline.rate).toFixed(3)}`;
}

/** A line for who waits. */
export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Hands the result of this process to the runner; on a terminal it is printed. */
export function report(result: object): void {
  if (process.send === undefined) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  else process.send(result);
}
