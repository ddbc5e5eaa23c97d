/**
 * `npm run e2e [-- [--profile FILE] [NAME ...]]`: the end-to-end suite, on development servers of each dialect or on
 * the server that the profile names. There accounts are registered under random numbers, so it has to be one where any code
 * verifies a number (its own test mode), and rate limits are met as they are.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const HELP = `npm run e2e [-- [--profile FILE] [NAME ...]]

The end-to-end tests, on development servers of each dialect. NAME chooses files by a part of their path.

  --profile FILE  on the server of this profile, with headless accounts in place of phones. It must be one of your own in
                  its test mode: random numbers are registered there, under any code. Tests of faults that only the
                  development server can make are skipped, and counted as skipped.
  --help          this text
`;

/** Ends the process: 0 asked for help, 2 the call was wrong. */
function end(code: 0 | 2, text: string): never {
  (code === 0 ? process.stdout : process.stderr).write(text);
  process.exit(code);
}

function readArguments(): { profile: string | undefined; names: string[] } {
  try {
    const { values, positionals: names } = parseArgs({
      options: { profile: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    if (values.help === true) return end(0, HELP);
    return { profile: values.profile === undefined ? undefined : resolve(values.profile), names };
  } catch (error) {
    return end(2, `${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
  }
}

const { profile, names } = readArguments();
if (profile !== undefined && !existsSync(profile)) end(2, `There is no server profile ${profile}.\n`);
const vitest = resolve(import.meta.dirname, '../../node_modules/vitest/vitest.mjs');
const env = { ...process.env, ...(profile !== undefined && { COUNTERSIGN_E2E_PROFILE: profile }) };
const suite = names.length > 0 ? names : ['test/e2e'];
const child = spawn(process.execPath, [vitest, 'run', ...suite], { env, stdio: 'inherit' });
child.once('exit', (code) => {
  process.exitCode = code ?? 1;
});
