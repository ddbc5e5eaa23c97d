/**
 * The results as a page of Markdown: each figure beside what was asked for, the machine and the versions.
 */
import { readFile } from 'node:fs/promises';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import type { Latency, RoundsSize, StoreSize, WholeRun } from './support/figures.ts';
import type { Comparison } from './support/measure.ts';

interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** One side of suite 1; ratios are of time, so less is better. */
interface OneSide {
  readonly ms: number;
  readonly nobleMs: number;
  readonly baselineMs: number;
  readonly ratioNoble: number;
  readonly ratioOpenssl: number;
}

/** Benchmarks that were not run are absent. */
export interface Results {
  readonly date: string;
  readonly machine: Machine;
  readonly receive?: { readonly unsealed?: Comparison; readonly sealed?: Comparison };
  readonly tagged?: {
    /** The smaller of the two below. */
    readonly dropRatio: number;
    readonly unsealed: Comparison;
    readonly sealed: Comparison;
    /** The whole bot, unsealed. */
    readonly whole: Comparison;
  };
  readonly send?: Comparison;
  readonly echo?: Latency & { readonly loaded: Latency };
  readonly memory?: { readonly startMiB: number; readonly perDeviceMiB: number };
  readonly store?: {
    readonly sizes: readonly StoreSize[];
    readonly openRatio: number;
    readonly messageRatio: number;
  };
  readonly verify?: {
    readonly oneSide?: OneSide;
    readonly noble?: { readonly ms: number; readonly ratio: number };
    readonly run?: WholeRun & { readonly profile1: WholeRun };
  };
  readonly rounds?: {
    readonly sizes: readonly RoundsSize[];
    /** The largest of all. */
    readonly ratio: number;
  };
}

type Row = readonly [what: string, figure: string, asked: string, met: string];

export async function machine(root: string): Promise<Machine> {
  const [first, ...others] = cpus();
  const packages = ['@signalapp/libsignal-client', '@noble/curves', 'level', 'classic-level'];
  const versions: Record<string, string> = { node: process.versions.node };
  for (const name of packages) {
    const text = await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8');
    versions[name] = (JSON.parse(text) as { version: string }).version;
  }
  return {
    cpu: first?.model ?? 'unknown',
    cores: others.length + (first === undefined ? 0 : 1),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    versions,
  };
}

export function table(results: Results): string {
  const { cpu, cores, memoryGiB, system, versions } = results.machine;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    '# Results of the benchmarks',
    '',
    `Written by \`npm run bench -- --write\` on ${results.date.slice(0, 10)}.`,
    `Machine: ${cpu}, ${String(cores)} cores, ${String(memoryGiB)} GiB, ${system}. Versions: ${named.join(', ')}.`,
    '',
    '| what | measured | asked for | met |',
    '| --- | --- | --- | --- |',
    ...rows(results).map((row) => `| ${row.join(' | ')} |`),
    '',
    'Ratios are medians over rounds in which both sides work on the same messages, one after the other. "Bare" is',
    'libsignal with stores in memory as in its own tests: no envelope, no disk, no handler.',
    '',
  ].join('\n');
}

function rows({ receive, tagged, send, echo, memory, store, verify, rounds }: Results): Row[] {
  const all: Row[] = [];
  if (receive?.unsealed) all.push(...comparison('receive, unsealed', 'decrypt', receive.unsealed, 0.6));
  if (receive?.sealed)
    all.push(...comparison('receive, sealed', 'unseal, validate, decrypt', receive.sealed, 0.6));
  if (tagged) all.push(...dropping(tagged));
  if (send) all.push(...comparison('send', 'encrypt', send, 0.5));
  if (echo) {
    all.push(['echo, one at a time', latency(echo), 'reported', '']);
    all.push(['echo, 100 a second', latency(echo.loaded), 'reported', '']);
  }
  if (memory) {
    all.push(['memory at start', `${memory.startMiB.toFixed(1)} MiB`, 'reported', '']);
    all.push([
      'memory per idle device, 10 to 50 bots',
      `${memory.perDeviceMiB.toFixed(2)} MiB`,
      'at most 2 MiB',
      met(memory.perDeviceMiB <= 2),
    ]);
  }
  if (store) {
    for (const { rows: count, openMs, messageMicros } of store.sizes) {
      const figures = `opened in ${openMs.toFixed(1)} ms, ${messageMicros.toFixed(0)} µs a message`;
      all.push([`store of ${count.toLocaleString('en')} sessions`, figures, 'reported', '']);
    }
    all.push(flat('opening, 10^6 against 10^3', store.openRatio));
    all.push(flat('a message, 10^6 against 10^3', store.messageRatio));
  }
  if (verify?.oneSide && verify.noble) {
    const { oneSide, noble } = verify;
    const times = `${oneSide.ms.toFixed(2)} ms; OpenSSL baseline: ${oneSide.baselineMs.toFixed(2)} ms`;
    const others = `plain ${oneSide.nobleMs.toFixed(2)} ms, with tables ${noble.ms.toFixed(2)} ms`;
    all.push(['SPAKE2, one side', times, 'reported', '']);
    all.push(['SPAKE2, one side, noble', others, 'reported', '']);
    all.push(atMost('SPAKE2, one side, time to noble plain', oneSide.ratioNoble, 0.16));
    all.push(atMost('SPAKE2, one side, time to the OpenSSL baseline', oneSide.ratioOpenssl, 1.15));
    all.push(atMost('SPAKE2, noble with tables, time to noble plain', noble.ratio, 0.6));
  }
  if (verify?.run) {
    const { ms, frameBytes, heldMs, profile1 } = verify.run;
    all.push(['verification, profile 1, both sides', `${profile1.ms.toFixed(1)} ms`, 'reported', '']);
    all.push(['verification, both sides', `${ms.toFixed(1)} ms`, 'under 12 ms', met(ms < 12)]);
    const bytes = `${frameBytes.toLocaleString('en')} bytes`;
    all.push(['verification, all frames', bytes, 'under 5 KB', met(frameBytes < 5000)]);
    const held = `${heldMs.toFixed(1)} ms`;
    all.push(['verification, event loop held at most', held, 'at most 10 ms', met(heldMs <= 10)]);
  }
  if (rounds) all.push(...ceremonies(rounds));
  return all;
}

function comparison(what: string, bare: string, figures: Comparison, atLeast: number): Row[] {
  const { measured, baseline, ratio, cpuMicros } = figures;
  const rates = `${measured.toFixed(0)} a second; bare ${bare}: ${baseline.toFixed(0)}`;
  const cpu = `${cpuMicros.measured.toFixed(0)} µs each; bare: ${cpuMicros.baseline.toFixed(0)}`;
  return [
    [what, rates, 'reported', ''],
    [`${what}, ratio`, ratio.toFixed(2), `at least ${String(atLeast)}`, met(ratio >= atLeast)],
    [`${what}, processor time of all threads`, cpu, 'reported', ''],
  ];
}

function dropping({ dropRatio, ...ways }: NonNullable<Results['tagged']>): Row[] {
  const names = { unsealed: 'unsealed', sealed: 'sealed', whole: 'unsealed, from the frame to the 200' };
  const reported = Object.entries(names).map(([way, name]): Row => {
    const { measured, baseline, ratio } = ways[way as keyof typeof names];
    const rates = `${measured.toFixed(0)} a second; bare decrypt: ${baseline.toFixed(0)}; ratio ${ratio.toFixed(1)}`;
    return [`dropping without a tag, ${name}`, rates, 'reported', ''];
  });
  return [
    ...reported,
    ['dropping, ratio to decrypting', dropRatio.toFixed(1), 'at least 20', met(dropRatio >= 20)],
  ];
}

function ceremonies({ sizes, ratio }: NonNullable<Results['rounds']>): Row[] {
  const costs = sizes.flatMap(({ n, threshold, keygen, sign }) => [
    [`BLS key of ${String(n)}, any ${String(threshold + 1)} sign`, keygen] as const,
    [`BLS signature of ${String(threshold + 1)} of ${String(n)}`, sign] as const,
  ]);
  return [
    ...costs.map(([what, { ms, memoryMs, messages, bytes, unitMs, ratio: own }]): Row => {
      const size = `${messages.toLocaleString('en')} messages, ${(bytes / 1024).toFixed(0)} KiB`;
      const times = `${ms.toFixed(0)} ms, in memory ${memoryMs.toFixed(0)}, the messages alone ${unitMs.toFixed(0)}`;
      return [what, `${times}; ${size}; ratio ${own.toFixed(2)}`, 'reported', ''];
    }),
    ['ceremonies, network and storage to the messages alone', ratio.toFixed(2), 'at most 2', met(ratio <= 2)],
  ];
}

function latency({ p50Ms, p99Ms }: Latency): string {
  return `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
}

function flat(what: string, ratio: number): Row {
  return atMost(what, ratio, 1.2);
}

function atMost(what: string, ratio: number, most: number): Row {
  return [what, ratio.toFixed(most < 1 ? 3 : 2), `at most ${String(most)}`, met(ratio <= most)];
}

function met(holds: boolean): string {
  return holds ? 'yes' : 'no';
}
