/**
 * Protocol: what a round-based protocol is to the runtime. It is pure: `start` makes the messages of round 1, `step` takes
 * those of one round and makes those of the next, the step behind the last round gives the output. What a step leaves is
 * committed together with the messages it made, and these go out only after that; so neither ever happens twice.
 *
 * The runtime does the rest: order, repeats, signatures, the confirmation that all have seen the same broadcasts before
 * the next step is made, deadlines, and who is to blame.
 */
import type { Bytes } from '../bytes.ts';
import type { Random } from '../platform.ts';
import type { Codec } from '../router.ts';
import type { PartySet } from './party-set.ts';

export interface Round {
  /** Each party sends the same to all; signed, and confirmed by all before the next round. */
  readonly broadcast?: boolean;
  /** Each party sends something of its own to every other party. */
  readonly private?: boolean;
  /** Largest body, bytes; default and most 24,576: two of them must fit into one app message. */
  readonly maxBytes?: number;
}

export interface Protocol<Params = unknown, Input = unknown, State = unknown, Output = unknown> {
  /** `[a-z0-9.-]+`; part of the ceremony id, as are version and parameters. */
  readonly name: string;
  /** 1 to 65,535. */
  readonly version: number;
  readonly rounds: readonly Round[];
  readonly params: Codec<Params>;
  /** What the party alone brings, such as its share of a key. Kept until the ceremony begins. */
  readonly input: Codec<Input>;
  readonly state: Codec<State>;
  readonly output: Codec<Output>;
  /**
   * No party may be left without its output once another has taken its own, as with shares of a key. So each has it before
   * it confirms the last round (`Entry.held`), in the same commit: when one is confirmed by all, all have it. From then on
   * it waits a day for the others, and only one that has not confirmed can end the ceremony. All parties must be needed.
   */
  readonly isHeld?: boolean;
  /**
   * How many parties are enough, ourselves among them; absent: all. With fewer than all a round is stepped as soon as
   * so many have sent, again with each further message while the step says `wait`, and broadcasts are not confirmed. Such
   * a ceremony begins without those who do not come.
   */
  quorum?(params: Params, parties: PartySet): number;
  /** What is wrong with what is proposed; asked before anything is sent. */
  check?(
    params: Params,
    proposed: { readonly parties: PartySet; readonly signers: readonly number[] },
  ): string | undefined;
  start(setting: Setting<Params>, input: Input): Step<State, Output>;
  /** @param messages of the round that has ended, by index; our own broadcast among them */
  step(setting: Setting<Params>, state: State, messages: RoundMessages): Step<State, Output>;
}

export interface Setting<Params> {
  /** 32 bytes; no other ceremony has it. What is proven or signed in a ceremony is bound to it. */
  readonly id: Bytes;
  /** Our index. */
  readonly self: number;
  /** The whole set. */
  readonly parties: PartySet;
  /** Indices of those who take part, rising. */
  readonly present: readonly number[];
  readonly params: Params;
  /** What is to be signed; empty where nothing is. */
  readonly message: Bytes;
  /** Of the key; 0 where there is none yet. */
  readonly epoch: number;
  /** 1 for the messages that `start` makes. */
  readonly round: number;
  readonly random: Random;
  /** Whether that party has sent these bytes in this ceremony: what is shown to prove that a private message was bad. */
  isSigned(shown: Shown): boolean;
}

/** A message of a ceremony with its signature, as its recipient can show it to the others. */
export interface Shown {
  readonly round: number;
  readonly sender: number;
  /** 0: all. */
  readonly recipient: number;
  readonly body: Bytes;
  /** 64 bytes */
  readonly signature: Bytes;
}

export interface Received {
  readonly broadcast?: Bytes;
  readonly private?: Bytes;
  /** Of the private message: 64 bytes, for `Setting.isSigned`. */
  readonly signature?: Bytes;
}

export type RoundMessages = ReadonlyMap<number, Received>;

/** A party that did wrong, provably to whoever is told. */
export interface Blame {
  readonly party: number;
  readonly reason: string;
}

export type Step<State, Output> =
  /** The messages of the next round: as its `Round` says, `private` by index for each other party that is present. */
  | {
      readonly kind: 'next';
      readonly state: State;
      readonly broadcast?: Bytes;
      readonly private?: ReadonlyMap<number, Bytes>;
      readonly blame?: readonly Blame[];
    }
  /** With a quorum: more messages are needed; the parties that are blamed count as absent from here on. */
  | { readonly kind: 'wait'; readonly blame?: readonly Blame[] }
  | { readonly kind: 'done'; readonly output: Output; readonly blame?: readonly Blame[] }
  /** The ceremony ends for all of them. */
  | { readonly kind: 'abort'; readonly reason: string; readonly blame?: readonly Blame[] };
