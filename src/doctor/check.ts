/**
 * Check: one line of what the doctor finds, and the walk over all of them in order.
 *
 * A step runs when none of those it needs has failed, within a deadline; else its line says why it was not tried.
 */
import { BotError, describe, isBotError } from '../errors.ts';
import type { Clock } from '../platform.ts';

/** `skip`: not tried, or not wanted by the profile. */
export type CheckState = 'ok' | 'warn' | 'fail' | 'skip';

/** What a step found. */
export interface Finding {
  readonly state: CheckState;
  /** For people; no secrets. */
  readonly message: string;
  /** The remedy. */
  readonly next?: string;
  /** The steps that need this one cannot be tried, though it has not failed. */
  readonly blocks?: boolean;
}

/** A finding with its name: an element of `checks` in the CLI contract. */
export interface Check {
  readonly name: string;
  readonly state: CheckState;
  readonly message: string;
  readonly next?: string;
}

export interface Step {
  readonly name: string;
  /** Names of earlier steps. */
  readonly needs?: readonly string[];
  /** Default 15,000. */
  readonly deadlineMs?: number;
  /** What it throws becomes a `fail` with the error's next step. */
  readonly run: (signal: AbortSignal) => Promise<Finding> | Finding;
}

export interface WalkParts {
  readonly clock: Clock;
  /** Names of steps that later ones must not build upon; added to. */
  readonly blocked: Set<string>;
}

const DEADLINE_MS = 15_000;

export function ok(message: string): Finding {
  return { state: 'ok', message };
}

export function warn(message: string, next: string): Finding {
  return { state: 'warn', message, next };
}

export function fail(message: string, next: string): Finding {
  return { state: 'fail', message, next };
}

export function skip(message: string): Finding {
  return { state: 'skip', message };
}

/** An error as the line that it is worth. */
export function failureOf(error: unknown): Finding {
  if (isBotError(error)) return fail(error.message, error.next);
  return fail(describe(error), 'If the message does not say what to do, run it again with --verbose.');
}

/** Yields each step's line as soon as it is known. Throws nothing but the signal's reason. */
export async function* walk(
  steps: readonly Step[],
  { clock, blocked }: WalkParts,
  signal: AbortSignal,
): AsyncGenerator<Check> {
  for (const step of steps) {
    signal.throwIfAborted();
    const missing = step.needs?.find((name) => blocked.has(name));
    const finding =
      missing === undefined
        ? await withDeadline(step, clock, signal)
        : { ...skip(`not tried, because of "${missing}"`), blocks: true };
    const { blocks, ...rest } = finding;
    if (finding.state === 'fail' || blocks === true) blocked.add(step.name);
    yield { name: step.name, ...rest };
  }
}

async function withDeadline(step: Step, clock: Clock, signal: AbortSignal): Promise<Finding> {
  const { deadlineMs = DEADLINE_MS } = step;
  const late = new AbortController();
  const done = new AbortController();
  const either = AbortSignal.any([signal, late.signal]);
  const timer = clock.sleep(deadlineMs, done.signal).then(
    () => {
      late.abort(
        new BotError('REQUEST_TIMEOUT', `no answer within ${String(Math.round(deadlineMs / 1000))} s`, {
          next: 'Is the server up, and does a firewall or proxy in between swallow the traffic?',
        }),
      );
    },
    () => undefined, // done in time
  );
  // Not everything that a step waits for can be ended.
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(either.reason as Error);
    };
    either.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([Promise.resolve(step.run(either)), aborted]);
  } catch (error) {
    signal.throwIfAborted();
    return failureOf(late.signal.aborted ? late.signal.reason : error);
  } finally {
    either.removeEventListener('abort', onAbort);
    done.abort();
    await timer;
  }
}
