/**
 * Backoff: how long to wait before the next attempt. Exponential with full jitter, so that the clients of a server
 * that comes back do not come back all at once (protocol brief, 1.5: 1 s to 5 min).
 */
import type { Random } from '../platform.ts';
import { randomInt } from '../platform.ts';

const SHORTEST_MS = 1000;
const LONGEST_MS = 5 * 60_000;

/**
 * @param attempt failures before this one since all was well, from 0
 * @returns ms, between 1,000 and 2,000 after the first failure, up to 300,000 after many
 */
export function backoffMs(attempt: number, random: Random): number {
  const ceiling = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** Math.min(attempt + 1, 16));
  return SHORTEST_MS + randomInt(random, ceiling - SHORTEST_MS + 1);
}

/** After an ordinary close: 100 to 1,000 ms. */
export function shortDelayMs(random: Random): number {
  return 100 + randomInt(random, 901);
}

/** What the server asked for, at most an hour of it, and up to a second more. */
export function retryMs(askedMs: number, random: Random): number {
  return Math.min(Math.max(0, askedMs), 60 * 60_000) + randomInt(random, 1001);
}
