/**
 * Platform: time, waiting, random bytes and logging, so that tests can put their own in place.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bytes } from './bytes.ts';

export interface Clock {
  /** ms since 1970, the time of day: it may be set on or back. */
  now(): number;
  /** ms since some moment in the past, for what lasts: nobody sets it. */
  elapsed(): number;
  /** Resolves after `ms`; rejects with the signal's reason when that is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  bytes(length: number): Bytes;
}

/** A structured log; the fields never hold secrets or message text. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Platform {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep: async (ms, signal) => {
    signal?.throwIfAborted();
    try {
      await sleep(Math.min(ms, 0x7fffffff), undefined, signal ? { signal } : {});
    } catch (error) {
      signal?.throwIfAborted(); // the caller's reason, not the timer's AbortError
      throw error;
    }
  },
};

const systemRandom: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) };

const nothing = (): void => undefined;
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** The real clock and random source; logs go where the caller says, nowhere if unsaid. */
export function systemPlatform(log: Log = silentLog): Platform {
  return { clock: systemClock, random: systemRandom, log };
}

/** A whole number from 0 to `below` - 1, without bias (`below` up to 2^31). */
export function randomInt(random: Random, below: number): number {
  const limit = 0x1_0000_0000 - (0x1_0000_0000 % below);
  for (;;) {
    const bytes = random.bytes(4);
    const value = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
    if (value < limit) return value % below;
  }
}

/** Resolves at the abort. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const onAbort = (): void => {
      resolve();
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
