/**
 * Watchdog: ends a process that a handler keeps so busy that nothing else runs, deadlines and signals included.
 *
 * One thread beside the process counts its heartbeats; after a minute without one it prints the last line of `run` with
 * the code `STALLED` and ends the process with exit code 1. It cannot see where the process is: it names the plugins that
 * were being loaded or set up, or had a handler under way. The row is counted like any other that ended a process
 * (inbox/caution.ts).
 */
import { Worker } from 'node:worker_threads';
import { NEXT } from '../errors.ts';

const BEAT_MS = 1_000;
const DEFAULT_SECONDS = 60;
/** In the place of the beats; one more may be added to it. */
const ENDING = -2;

/** Told of what plugins do, by their name. Returns at once. */
export interface Watch {
  /** @param change 1 when loading, `setup` or a handler begins, -1 when it ends */
  readonly onCall: (plugin: string, change: 1 | -1) => void;
  /** The plugins, as they are called from now on: as many as were said at the start, at most. Nothing is under way yet. */
  name(plugins: readonly string[]): void;
  /** It is ending the process, and has told why. */
  readonly isEnding: () => boolean;
  stop(): void;
}

/** What the thread is started with. */
interface Task {
  /** Beats so far, ENDING once the process is being ended; then calls under way by plugin. */
  readonly counts: Int32Array;
  readonly json: boolean;
  readonly limit: number;
  readonly beatMs: number;
  readonly next: string;
}

/**
 * The thread, as text: it runs the same from the sources and from the build. Its own ticks are the measure and not the time,
 * so that a machine that slept is not taken for a process that hangs. A thread cannot end its process with a code; the
 * inspector can, and where there is none, or it is stuck too, SIGKILL does.
 */
const THREAD = `
const { workerData: task, parentPort } = require('node:worker_threads');
const { writeSync } = require('node:fs');
let seen = -1, missed = 0, plugins = [];
parentPort.on('message', (names) => { plugins = names; });
const timer = setInterval(() => {
  const beats = Atomics.load(task.counts, 0);
  missed = beats === seen ? missed + 1 : 0;
  seen = beats;
  if (missed < task.limit) return;
  clearInterval(timer);
  const busy = plugins.filter((_, i) => Atomics.load(task.counts, i + 1) > 0);
  const whose = busy.length > 0
    ? 'loading, setup or handlers were under way of: ' + busy.join(', ')
    : 'no plugin was being set up, and no handler was under way';
  const message = 'nothing else could run for ' + (task.limit * task.beatMs) / 1000 + ' s; ' + whose;
  const error = { code: 'STALLED', message, next: task.next };
  try {
    if (task.json) writeSync(1, JSON.stringify({ event: 'stopped', reason: error.code, error }) + '\\n');
    else writeSync(2, error.code + ': ' + message + '\\n' + task.next + '\\n');
  } catch {}
  Atomics.store(task.counts, 0, ${String(ENDING)});
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), 2000);
  const { Session } = require('node:inspector');
  const session = new Session();
  session.connectToMainThread();
  session.post('Runtime.evaluate', { expression: 'process.exit(1)' });
}, task.beatMs);
`;

/**
 * @param plugins how many there will be
 * @param seconds without a heartbeat until the end; 0 for none at all
 */
export function startWatchdog(plugins: number, json: boolean, seconds = DEFAULT_SECONDS): Watch {
  const nothing = (): void => undefined;
  if (seconds === 0) return { onCall: nothing, name: nothing, isEnding: () => false, stop: nothing };
  const counts = new Int32Array(new SharedArrayBuffer(4 * (plugins + 1)));
  const places = new Map<string, number>();
  const task: Task = { counts, json, limit: seconds, beatMs: BEAT_MS, next: NEXT.STALLED };
  const worker = new Worker(THREAD, { eval: true, workerData: task, execArgv: [] });
  worker.unref();
  const beat = setInterval(() => Atomics.add(counts, 0, 1), BEAT_MS / 2).unref();
  return {
    onCall: (plugin, change) => {
      const place = places.get(plugin);
      if (place !== undefined) Atomics.add(counts, place, change);
    },
    name: (names) => {
      places.clear();
      for (const [i, name] of names.entries()) {
        places.set(name, i + 1);
        Atomics.store(counts, i + 1, 0);
      }
      worker.postMessage(names);
    },
    isEnding: () => Atomics.load(counts, 0) < 0,
    stop: () => {
      clearInterval(beat);
      worker.terminate().catch(() => undefined);
    },
  };
}
