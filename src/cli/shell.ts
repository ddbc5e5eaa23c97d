/**
 * Shell: what every command gets, the world it may touch and the exit code it leaves.
 */
import { systemPlatform, type Platform } from '../platform.ts';
import { Printer, type Io } from './io.ts';
import { makeLog } from './log.ts';
import type { OutputOptions } from './options.ts';

export class Shell {
  readonly io: Io;
  exitCode: 0 | 1 | 2 = 0;
  /** Of a command that uses stdout for something else, results and failures go to stderr. */
  resultsTo: 'stdout' | 'stderr' = 'stdout';

  /** What the commands of one family say of a failure in their own words. */
  reword: (error: unknown) => unknown = (error) => error;

  constructor(io: Io) {
    this.io = io;
  }

  printer(options: OutputOptions): Printer {
    return new Printer(this.io, options.json === true, this.io[this.resultsTo]);
  }

  /** The real clock and random source, with logs on stderr. */
  platform(options: OutputOptions): Platform {
    return systemPlatform(makeLog(this.io.stderr, options.verbose === true));
  }
}
