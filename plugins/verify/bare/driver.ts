/**
 * Driver of one bare run: gives events to the machines one after the other, writes down what comes of them, sends, and
 * finds out how the run has ended. Which events there are is `run.ts`'s.
 *
 * What a step charges or refunds is durable before a frame of that step leaves (V-17, V-22).
 * Spec: verification brief, sections 3.8 and 4.
 */
import type { Bytes, Clock } from '../../../src/index.ts';
import { advance } from '../machine/settle.ts';
import { deadlineOf, EMPTY_SLOT, type Slot } from '../machine/slot.ts';
import type { Accepted, Finished, RunState, Verified } from '../machine/state.ts';
import type { Effect, Env, Event, Notice, Trusted } from '../machine/step.ts';
import type { Duplex } from './duplex.ts';
import { failureOf, GONE, type Failure } from '../failure.ts';
import type { Ledger } from './ledger.ts';

export interface DriverParts {
  readonly env: Env;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly duplex: Pick<Duplex, 'write'>;
  /** Whether an OFFER that takes the place of ours can be answered. */
  readonly canAnswer: boolean;
  /** Returns at once and does not throw. */
  readonly onNotice: (notice: Notice) => void;
}

/** A run that has succeeded on this side. */
export interface Success {
  readonly runId: Bytes;
  readonly trusted: Trusted;
  /** False: the peer has not said that it trusts us (V-18), and nothing more is heard of it. */
  readonly isAcknowledged: boolean;
}

export type Ending =
  | { readonly kind: 'verified'; readonly success: Success }
  | { readonly kind: 'failed'; readonly failure: Failure };

export class Driver {
  readonly #parts: DriverParts;
  /** How the run ends; rejects with what the store or the machines throw. */
  readonly ended: Promise<Ending>;
  /** The code of suite 2, which is charged for when the other side's HELLO is there. */
  typed: string | undefined;
  #slot: Slot = EMPTY_SLOT;
  #trusted: Trusted | undefined;
  #lane: Promise<unknown> = Promise.resolve();
  #isOver = false;
  /** Why this side ends a run that could go on. */
  #reason: Failure | undefined;
  #resolve: (ending: Ending) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;

  constructor(parts: DriverParts) {
    this.#parts = parts;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get run(): RunState | undefined {
    return this.#slot.run;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** ms at which a `tick` is due. */
  get deadline(): number | undefined {
    return deadlineOf(this.#slot);
  }

  /** Work that belongs to the run, and whose failure is the run's. */
  spawn(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.#isOver = true;
      this.#reject(error);
    });
  }

  /** Gives an event that begins a run, unless the other side has begun one meanwhile. */
  begin(event: Event): Promise<void> {
    return this.#serially(async () => {
      if (this.run === undefined) await this.#step(event, undefined);
    });
  }

  /** @param typed the code that is charged for with this event */
  give(event: Event, typed?: string): Promise<void> {
    return this.#serially(() => this.#step(event, typed));
  }

  async take(bytes: Bytes): Promise<void> {
    const { ledger, clock } = this.#parts;
    const now = clock.now();
    const gate = (await ledger.gate(now)).kind;
    await this.give({ kind: 'frame', bytes, from: undefined, openedUnder: undefined, gate, now });
  }

  /** Ends a run that has not ended yet, for a reason of this side; B that has trusted already has succeeded. */
  close(failure: Failure): Promise<void> {
    return this.#serially(async () => {
      if (this.#isOver) return;
      if (this.run?.kind === 'accepted') {
        this.#succeed(this.run, false);
        return;
      }
      this.#reason = failure;
      await this.#step({ kind: 'cancel', now: this.#parts.clock.now() }, undefined);
      this.#finish({ kind: 'failed', failure });
    });
  }

  #serially(work: () => Promise<void>): Promise<void> {
    const done = this.#lane.then(work);
    this.#lane = done.catch(() => undefined);
    return done;
  }

  async #step(event: Event, typed: string | undefined): Promise<void> {
    const { env, ledger, clock } = this.#parts;
    const { slot, effects } = await ledger.step((opener) => advance(env, this.#slot, event, opener), {
      now: clock.now(),
      typed: typed ?? this.typed,
    });
    this.#slot = slot;
    for (const effect of effects) this.#carryOut(effect);
    if (effects.some(({ kind }) => kind === 'continue')) {
      await this.#step({ kind: 'continue', now: clock.now(), view: undefined }, undefined);
    } else await this.#conclude();
  }

  #carryOut(effect: Effect): void {
    if (effect.kind === 'send' && this.#reason !== GONE) this.#send(effect.frame);
    else if (effect.kind === 'trusted') this.#trusted = effect.trusted;
    else if (effect.kind === 'notice') this.#parts.onNotice(effect.notice);
    else if (effect.kind === 'wipe') for (const secret of effect.secrets) secret.fill(0);
  }

  /** Not waited for: who does not read must not hold up the end of the run. The frames of a run are few and small. */
  #send(frame: Bytes): void {
    const write = async (): Promise<void> => {
      await this.#parts.duplex.write(frame);
    };
    write().catch(() => {
      this.spawn(this.close(GONE));
    });
  }

  async #conclude(): Promise<void> {
    const { run } = this.#slot;
    if (this.#isOver || run === undefined) return;
    if (run.kind === 'verified' || run.kind === 'finished') this.#succeed(run, true);
    if (run.kind === 'closed') {
      // Both have offered, and theirs counts: it has come, or is on its way.
      if (run.abort === 'superseded' && this.#parts.canAnswer && this.#reason === undefined) return;
      const failures = await this.#parts.ledger.failures();
      this.#finish({ kind: 'failed', failure: this.#reason ?? failureOf(run, failures) });
    }
  }

  #succeed({ runId }: Verified | Accepted | Finished, isAcknowledged: boolean): void {
    const trusted = this.#trusted;
    if (trusted === undefined) throw new Error('a run has succeeded without anybody to trust');
    this.#finish({ kind: 'verified', success: { runId, trusted, isAcknowledged } });
  }

  #finish(ending: Ending): void {
    this.#isOver = true;
    this.#resolve(ending);
  }
}
