/**
 * Settle: takes a step to its end, answering what it asks on its way.
 *
 * Seals and their cipher are the same everywhere. What has to do with sessions is asked of a `SessionOpener`: the core in
 * mode 1, libsignal with stores of its own in mode 2, nothing in a page.
 * Spec: verification brief, sections 3.5 and 7.
 */
import type { Bytes } from '../../../src/index.ts';
import { Seal } from '../seal.ts';
import { step, type Slot, type SlotStep } from './slot.ts';
import type { Env, Event, Prepared, Question, Questions, Steps, TrustAnswer } from './step.ts';

type Asked<K extends keyof Questions> = Questions[K]['ask'];

/**
 * Sessions and trust, on the batch of one step. A call that gives undefined has found the peer's bytes to be wrong; a
 * call that throws has failed, and nothing of the step is committed.
 */
export interface SessionOpener {
  /** What a proof for this key would make of the contact; writes nothing. Mode 2 without a store: `verified`. */
  trust(question: Asked<'trust'>): Promise<TrustAnswer>;
  /**
   * Mode 1: what the service says now, asked outside of the step's batch; undefined where it does not answer. Mode 2 has
   * no service.
   */
  servedKey(question: Asked<'served-key'>): Promise<Bytes | undefined>;
  /** Prekeys for this run alone, never uploaded (A). */
  prepare(question: Asked<'prepare'>): Promise<Prepared>;
  /**
   * B: moves what sessions there are to the carrier, pins the key, opens a session from the bundle on an empty record and
   * seals `plaintext` in it.
   * @returns a serialized PreKeySignalMessage; undefined when a signature in the bundle does not hold
   */
  openSession(question: Asked<'open-session'>): Promise<Bytes | undefined>;
  /**
   * A: deletes what sessions there are, pins the key, checks that the message names the peer's registration id and the
   * run's prekeys, and opens it with these alone.
   * @returns its plaintext
   */
  takeSession(question: Asked<'take-session'>): Promise<Bytes | undefined>;
  /** A: seals in the session that `takeSession` has opened. @returns a serialized SignalMessage */
  sealDone(question: Asked<'seal-done'>): Promise<Bytes>;
  /** B: opens a SignalMessage in the session that `openSession` has opened. */
  openDone(question: Asked<'open-done'>): Promise<Bytes | undefined>;
}

export interface Advanced extends SlotStep {
  /**
   * The run was closed after sessions were written to: drop the batch of this step, and commit slot and effects on a new
   * one.
   */
  readonly mustDiscard: boolean;
}

/** One event, from start to end. Nothing is committed here. */
export async function advance(env: Env, slot: Slot, event: Event, opener: SessionOpener): Promise<Advanced> {
  const asked = new Set<Question['kind']>();
  const result = await settle(step(env, slot, event), (question) => {
    asked.add(question.kind);
    return answer(env, question, opener);
  });
  const isClosed = result.slot.run?.kind === 'closed' && slot.run?.kind !== 'closed';
  const hasWritten = asked.has('open-session') || asked.has('take-session');
  return { ...result, mustDiscard: hasWritten && isClosed };
}

/** @param reply answers each question with what `Questions` says */
export async function settle<T>(
  steps: Steps<T>,
  reply: (question: Question) => Promise<unknown>,
): Promise<T> {
  let next = steps.next();
  while (next.done !== true) next = steps.next(await reply(next.value));
  return next.value;
}

function answer({ primitives }: Env, question: Question, opener: SessionOpener): Promise<unknown> {
  switch (question.kind) {
    case 'seal':
      return new Seal(question.keys, primitives.isEqual).seal(question.head, question.plaintext);
    case 'open':
      return new Seal(question.keys, primitives.isEqual).open(question.head, question.sealed);
    case 'trust':
      return opener.trust(question);
    case 'served-key':
      return opener.servedKey(question);
    case 'prepare':
      return opener.prepare(question);
    case 'open-session':
      return opener.openSession(question);
    case 'take-session':
      return opener.takeSession(question);
    case 'seal-done':
      return opener.sealDone(question);
    case 'open-done':
      return opener.openDone(question);
  }
}
