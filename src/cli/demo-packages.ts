/** What a demo needs beside this package: development dependencies, which an installed package comes without. */
import { createRequire } from 'node:module';
import { BotError } from '../errors.ts';

export const SERVER_PACKAGE = '@signalapp/mock-server';
export const PAIRING_PACKAGE = 'mcl-wasm';

/**
 * @param require looks them up; from here if unsaid
 * @throws BotError `DEVSERVER_MISSING` with one command for all that are missing
 */
export function checkPackages(
  names: readonly string[],
  require: NodeJS.Require = createRequire(import.meta.url),
): void {
  const missing = names.filter((name) => !isInstalled(name, require));
  if (missing.length === 0) return;
  const [what, them] = missing.length === 1 ? ['is', 'it'] : ['are', 'them'];
  throw new BotError('DEVSERVER_MISSING', `${missing.join(' and ')} ${what} not installed`, {
    next: `Install ${them}: npm install --save-dev ${missing.join(' ')}`,
  });
}

function isInstalled(name: string, require: NodeJS.Require): boolean {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}
