/**
 * Runs the benchmarks: `npm run bench -- [--json] [--write] [NAME ...]`.
 *
 * Each runs in a process of its own, so that none inherits the memory or the compiled code of another, and as JavaScript
 * that the compiler has written, since that is what users run. Progress goes to stderr. With `--json` the last line of
 * stdout is one object; else there is a table, which `--write` also leaves in `bench/RESULTS.md`.
 */
import { execFile, fork } from 'node:child_process';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { machine, table, type Results } from './report.ts';

interface Benchmark {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  /** Where its result stands among the results. */
  readonly place: readonly string[];
}

const BENCHMARKS: readonly Benchmark[] = [
  { name: 'receive', file: 'receive', args: ['unsealed'], place: ['receive', 'unsealed'] },
  { name: 'receive-sealed', file: 'receive', args: ['sealed'], place: ['receive', 'sealed'] },
  { name: 'dropping', file: 'dropping', args: [], place: ['tagged'] },
  { name: 'send', file: 'send', args: [], place: ['send'] },
  { name: 'echo', file: 'echo', args: [], place: ['echo'] },
  { name: 'memory', file: 'memory', args: [], place: ['memory'] },
  { name: 'store', file: 'store', args: [], place: ['store'] },
  { name: 'verify', file: 'verify', args: [], place: ['verify'] },
  { name: 'verify-run', file: 'verify-run', args: [], place: ['verify', 'run'] },
  { name: 'rounds', file: 'rounds', args: [], place: ['rounds'] },
];

const ROOT = dirname(import.meta.dirname);
/** Inside the package, so that its dependencies are found. */
const BUILD = join(ROOT, 'node_modules', '.cache', 'countersign-bench');
const RESULTS = join(ROOT, 'bench', 'RESULTS.md');

async function build(): Promise<void> {
  await rm(BUILD, { recursive: true, force: true });
  await mkdir(BUILD, { recursive: true });
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['--noEmit', 'false', '--noCheck', '--rootDir', ROOT, '--outDir', BUILD];
  await promisify(execFile)(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.json'), ...options]);
  await cp(join(ROOT, 'src', 'proto', 'messages.js'), join(BUILD, 'src', 'proto', 'messages.js'));
  await writeFile(join(BUILD, 'package.json'), '{ "type": "module" }\n');
}

function run({ file, args }: Benchmark): Promise<unknown> {
  const child = fork(join(BUILD, 'bench', `${file}.js`), args, {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    let result: unknown;
    child.on('message', (message) => {
      result = message;
    });
    child.on('exit', (code) => {
      if (code === 0 && result !== undefined) resolve(result);
      else reject(new Error(`the benchmark ${file} ended with ${String(code)}`));
    });
  });
}

/** Puts a value at its place: `['receive', 'sealed']` is `results.receive.sealed`. */
function put(results: Record<string, unknown>, [head, ...rest]: readonly string[], value: unknown): void {
  if (head === undefined) return;
  if (rest.length === 0) {
    results[head] = value;
    return;
  }
  const inner = (results[head] ?? {}) as Record<string, unknown>;
  results[head] = inner;
  put(inner, rest, value);
}

async function main(args: readonly string[]): Promise<void> {
  const names = args.filter((arg) => !arg.startsWith('--'));
  const chosen = BENCHMARKS.filter(({ name }) => names.length === 0 || names.includes(name));
  await build();
  const results: Record<string, unknown> = { date: new Date().toISOString(), machine: await machine(ROOT) };
  for (const benchmark of chosen) {
    process.stderr.write(`-- ${benchmark.name}\n`);
    put(results, benchmark.place, await run(benchmark));
  }
  const text = table(results as unknown as Results);
  if (args.includes('--write')) await writeFile(RESULTS, text);
  process.stdout.write(args.includes('--json') ? `${JSON.stringify(results)}\n` : text);
}

await main(process.argv.slice(2));
