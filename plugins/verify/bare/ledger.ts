/**
 * Ledger of bare runs. Mode 2 has no names yet, so all its runs count as one peer of the store (V-23). A
 * program without a store counts them as long as it runs.
 * Spec: verification brief, section 5, V-21 to V-26.
 */
import type { Bytes } from '../../../src/index.ts';
import {
  charge,
  failuresInARow,
  gateOf,
  hashCode,
  NO_COUNTERS,
  refund,
  rememberTyped,
  wasTyped,
  type Counters,
  type Gate,
} from '../limits.ts';
import type { Advanced, SessionOpener } from '../machine/settle.ts';
import type { Effect } from '../machine/step.ts';
import type { Random } from '../math/spake2.ts';

/** Where a run is written down: guesses, and what its steps say about the peer. */
export interface Ledger {
  /** What an operator does about a lock that does not end by itself; undefined where it ends with the program. */
  readonly unlocking: string | undefined;
  gate(now: number): Promise<Gate>;
  /** The code was typed here in the last 24 h (V-21). */
  wasTyped(code: string, now: number): Promise<boolean>;
  /** Charged runs since the last success. */
  failures(): Promise<number>;
  /**
   * Takes one step, and writes down what comes of it, all of it or nothing, before any of its frames leaves (V-15, V-22).
   * @param advance the step, on the sessions of this commit; asked again when the commit has to be made again
   * @param typed the code, in the step that charges for it
   */
  step(
    advance: (opener: SessionOpener) => Promise<Advanced>,
    at: { readonly now: number; readonly typed: string | undefined },
  ): Promise<Advanced>;
}

/** Charges, refunds and typed codes of one step. @param localKey 32 bytes */
export function counted(
  counters: Counters,
  effects: readonly Effect[],
  { now, typed, localKey }: { now: number; typed: string | undefined; localKey: Bytes },
): Counters {
  return effects.reduce((before, effect) => {
    if (effect.kind === 'refund') return refund(before, effect.runId);
    if (effect.kind !== 'charge') return before;
    const charged = charge(before, { peer: 'bare', runId: effect.runId, time: now });
    return typed === undefined ? charged : rememberTyped(charged, hashCode(localKey, typed), now);
  }, counters);
}

/** Guesses of a program that has no store, as long as the object lives. */
export class MemoryGuesses {
  readonly localKey: Bytes;
  counters = NO_COUNTERS;

  constructor(random: Random) {
    this.localKey = random.bytes(32);
  }
}

/** Runs of a program that has no store. The sessions that `opener` opens are not taken back: a run that fails is the last. */
export class MemoryLedger implements Ledger {
  readonly unlocking = undefined;
  readonly #opener: SessionOpener;
  readonly #guesses: MemoryGuesses;

  constructor(opener: SessionOpener, guesses: MemoryGuesses) {
    this.#opener = opener;
    this.#guesses = guesses;
  }

  gate(now: number): Promise<Gate> {
    return Promise.resolve(gateOf(this.#guesses.counters, 'bare', now));
  }

  wasTyped(code: string, now: number): Promise<boolean> {
    const { counters, localKey } = this.#guesses;
    return Promise.resolve(wasTyped(counters, hashCode(localKey, code), now));
  }

  failures(): Promise<number> {
    return Promise.resolve(failuresInARow(this.#guesses.counters, 'bare'));
  }

  async step(
    advance: (opener: SessionOpener) => Promise<Advanced>,
    at: { now: number; typed: string | undefined },
  ): Promise<Advanced> {
    const advanced = await advance(this.#opener);
    const { counters, localKey } = this.#guesses;
    this.#guesses.counters = counted(counters, advanced.effects, { ...at, localKey });
    return advanced;
  }
}
