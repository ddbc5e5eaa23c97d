/**
 * Logs: structured lines on stderr with `--verbose`; without it only warnings and errors, as plain sentences.
 */
import { pino } from 'pino';
import type { Log } from '../platform.ts';
import { printable, type Sink } from './io.ts';

export function makeLog(stderr: Sink, verbose: boolean): Log {
  if (verbose)
    return pino({ level: 'debug', base: null }, { write: (line: string) => void stderr.write(line) });
  const say = (word: string) => (fields: object, message: string) => {
    const details = Object.entries(fields)
      .filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
      .map(([name, value]) => ` ${name}=${String(value)}`);
    stderr.write(`${printable(`${word}: ${message}${details.join('')}`)}\n`);
  };
  const nothing = (): void => undefined;
  return { debug: nothing, info: nothing, warn: say('warning'), error: say('error') };
}
