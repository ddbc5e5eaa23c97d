/**
 * `npm run e2e [-- --profile FILE] [vitest's arguments]`: the end-to-end suite, on development servers of each dialect or on
 * the server that the profile names. There accounts are registered under random numbers, so it has to be one where any code
 * verifies a number (its own test mode), and rate limits are met as they are.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { profile: { type: 'string' } },
  allowPositionals: true,
});
const profile = values.profile === undefined ? undefined : resolve(values.profile);
if (profile !== undefined && !existsSync(profile)) {
  process.stderr.write(`There is no server profile ${profile}.\n`);
  process.exit(2);
}
const vitest = resolve(import.meta.dirname, '../../node_modules/vitest/vitest.mjs');
const env = { ...process.env, ...(profile !== undefined && { COUNTERSIGN_E2E_PROFILE: profile }) };
const suite = positionals.length > 0 ? positionals : ['test/e2e'];
const child = spawn(process.execPath, [vitest, 'run', ...suite], { env, stdio: 'inherit' });
child.once('exit', (code) => {
  process.exitCode = code ?? 1;
});
