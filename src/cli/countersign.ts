#!/usr/bin/env node
/**
 * The `countersign` command: the process around `main`. The first Ctrl-C stops cleanly, a second one at once.
 */
import { BotError } from '../errors.ts';
import { Faults } from './faults.ts';
import { main } from './main.ts';
import { startWatchdog } from './watchdog.ts';

const FORCED = 130;
const TWICE_MS = 500;

const stopping = new AbortController();
const faults = new Faults(process, stopping);
faults.watch();
let stoppedAt = 0;
const onSignal = (): void => {
  if (stopping.signal.aborted) {
    // One Ctrl-C comes twice where npm passes on what the terminal has sent already.
    if (Date.now() - stoppedAt > TWICE_MS) process.exit(faults.end(FORCED));
    return;
  }
  stoppedAt = Date.now();
  stopping.abort(new BotError('INTERRUPTED', 'stopped by a signal'));
};
process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
// Who reads the output has gone: nothing that is left to print matters.
let endsWithReader = true;
process.stdout.on('error', () => {
  if (endsWithReader) process.exit(faults.end(FORCED));
});

const ended = await main(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  onStdoutTaken: () => {
    endsWithReader = false;
  },
  signal: stopping.signal,
  onExit: (work) => faults.onExit(work),
  startWatchdog,
});
const code = faults.end(ended);
process.exitCode = code;
await Promise.all(
  [process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))),
);
process.exit(code);
