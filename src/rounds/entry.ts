/**
 * Entry: what a plugin gives to the runtime of rounds, and what the runtime uses of the plugin's host.
 */
import type { Bytes } from '../bytes.ts';
import type { Transaction } from '../context.ts';
import type { Clock, Log, Random } from '../platform.ts';
import { appType, type AppFields, type AppType, type Handler, type HandlerOptions } from '../router.ts';
import type { TrustHost } from '../trust.ts';
import { decodeFrame, encodeFrame, type Frame } from './frame.ts';
import type { PartySet } from './party-set.ts';
import type { Proposal } from './proposal.ts';
import type { Protocol } from './protocol.ts';
import type { Run } from './run.ts';

/** All frames of all ceremonies. */
export const ROUNDS: AppType<Frame> = appType('countersign.rounds/1', {
  decode: decodeFrame,
  encode: encodeFrame,
});

/** A protocol and what becomes of its output. */
export interface Entry<Params = unknown, Input = unknown, St = unknown, Output = unknown> {
  readonly protocol: Protocol<Params, Input, St, Output>;
  /** Takes the output, committed together with the end of the run. Absent: it is in the ceremony's view. */
  done?(output: Output, ended: Ended, tx: Transaction): void | Promise<void>;
  /**
   * Takes the output of a protocol with `isHeld` in the commit in which we confirm the last round, so before `done`, which
   * may never come: then all may have theirs, or none but us.
   */
  held?(
    output: Output,
    holding: { readonly topic: string; readonly run: Run },
    tx: Transaction,
  ): void | Promise<void>;
  /** The run is purged, a day after its end: what is kept of it can go with it. */
  forgotten?(ended: { readonly topic: string; readonly run: Run }, tx: Transaction): void | Promise<void>;
  /** Somebody in good standing proposes a ceremony that nobody here has opened. Absent: it is left to the operator. */
  invited?(
    proposal: Proposal,
    from: number,
    tx: Transaction,
  ): Invitation<Input> | undefined | Promise<Invitation<Input> | undefined>;
}

export interface Ended {
  readonly topic: string;
  readonly run: Run;
  /** Ends others that are open, in the same commit, and tells their parties the reason. */
  readonly endOthers: (isMeant: (proposal: Proposal) => boolean, reason: string) => Promise<void>;
}

/** What becomes of a proposal; undefined leaves it to the operator. */
export type Invitation<Input> =
  /** We take part, with this input. */
  | {
      readonly input: Input;
      /** It is open, in the same commit. Not called where it was refused for another reason. */
      joined?(): void | Promise<void>;
    }
  /** We never will, and the proposer is told why. */
  | {
      readonly refuses: string;
      /** Under which we would meet instead: where the proposer does not come there, it is not waited for. */
      readonly instead?: readonly Proposal[];
    };

export interface RoundsOptions {
  /** What is asked of every other party; default `verified`. */
  readonly policy?: 'introduced' | 'verified';
  readonly random?: Random;
}

/** What is used of a plugin's host. */
export interface RoundsHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly restoredAt: number | undefined;
  readonly trust: TrustHost<Transaction>;
  app(
    type: AppType<Frame>,
    handler: Handler<AppFields<Frame>>,
    options?: HandlerOptions<AppFields<Frame>>,
  ): void;
  update<T>(work: (transaction: Transaction) => T | Promise<T>): Promise<T>;
  run(work: (signal: AbortSignal) => Promise<void>): void;
}

export interface OpenRequest<Params, Input> {
  readonly protocol: string;
  readonly params: Params;
  readonly input: Input;
  readonly parties: PartySet;
  /** Indices; absent: all parties. */
  readonly signers?: readonly number[];
  readonly message?: Bytes;
  readonly epoch?: number;
  /** How long the others are waited for, and then each round, ms; default 600,000. */
  readonly waitMs?: number;
}
