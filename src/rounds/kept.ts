/**
 * Kept: how many ceremonies a plugin can have open, and how many of those that have ended are kept to answer who is late.
 */
import { BotError } from '../errors.ts';
import { isOpen, type Run } from './run.ts';

const MAX_OPEN = 64;
/** Those that are open among them; the oldest that have ended go first. */
const MAX_KEPT = 256;

/**
 * What is to be forgotten before one more is opened.
 * @returns topics @throws BotError `RATE_LIMITED` where too many are open
 */
export function surplusOf(runs: readonly Run[]): readonly string[] {
  const ended = runs.filter(({ phase }) => !isOpen(phase)).sort(byWorth);
  if (runs.length - ended.length >= MAX_OPEN)
    throw new BotError('RATE_LIMITED', `${String(MAX_OPEN)} ceremonies are open`, {
      next: 'End one of them first.',
    });
  const surplus = Math.max(0, runs.length + 1 - MAX_KEPT);
  return ended.slice(0, surplus).map(({ topic }) => topic);
}

/** What is refused is kept longest, else what ended last. */
function byWorth(a: Run, b: Run): number {
  return Number(a.end?.isRefused ?? false) - Number(b.end?.isRefused ?? false) || a.deadlineAt - b.deadlineAt;
}
