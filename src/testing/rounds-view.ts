/** What a test sees of a ceremony: how its parties stand, and the frames between them. */
import type { Bytes } from '../bytes.ts';
import type { Blame } from '../rounds/protocol.ts';
import type { End, Phase } from '../rounds/run.ts';

/** How a party stands. */
export interface RoundsTestParty<Output> {
  readonly state: Phase;
  /** 0 until all are there. */
  readonly round: number;
  readonly output: Output | undefined;
  /** The same ahead of its time: not all have confirmed the last round (`Protocol.isHeld`). */
  readonly held: Output | undefined;
  readonly end: End | undefined;
  readonly blame: readonly Blame[];
  /** Indices. */
  readonly waitingFor: readonly number[];
}

/** A frame on its way, from one index to another: `decodeFrame` of `countersign/rounds` reads its payload. */
export interface Wire {
  readonly from: number;
  readonly to: number;
  readonly payload: Bytes;
}
