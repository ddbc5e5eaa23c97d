/**
 * Guesses of mode 2: it has no names yet, so all its runs of a store count as one peer (V-23). Without a store they are
 * counted as long as the program keeps this object.
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
import type { Effect } from '../machine/step.ts';
import type { Random } from '../math/spake2.ts';

export interface Guesses {
  gate(now: number): Promise<Gate>;
  /** The code was typed here in the last 24 h (V-21). */
  wasTyped(code: string, now: number): Promise<boolean>;
  /** Charged runs since the last success. */
  failures(): Promise<number>;
  /**
   * Writes down what the effects of one step say, all of it or nothing, before any frame of that step leaves.
   * @param typed the code, in the step that charges for it
   */
  keep(effects: readonly Effect[], now: number, typed: string | undefined): Promise<void>;
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

/** As long as the object lives. */
export class MemoryGuesses implements Guesses {
  readonly #localKey: Bytes;
  #counters = NO_COUNTERS;

  constructor(random: Random) {
    this.#localKey = random.bytes(32);
  }

  gate(now: number): Promise<Gate> {
    return Promise.resolve(gateOf(this.#counters, 'bare', now));
  }

  wasTyped(code: string, now: number): Promise<boolean> {
    return Promise.resolve(wasTyped(this.#counters, hashCode(this.#localKey, code), now));
  }

  failures(): Promise<number> {
    return Promise.resolve(failuresInARow(this.#counters, 'bare'));
  }

  keep(effects: readonly Effect[], now: number, typed: string | undefined): Promise<void> {
    this.#counters = counted(this.#counters, effects, { now, typed, localKey: this.#localKey });
    return Promise.resolve();
  }
}
