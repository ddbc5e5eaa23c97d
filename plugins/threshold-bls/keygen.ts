/**
 * Key generation and refresh, as protocols of the rounds runtime. Both are a dealing (dealing.ts): a generation makes a key
 * of which any t + 1 can sign and that none of them ever holds; a refresh adds shares of zero, so that old shares are worth
 * nothing and the public key stays.
 */
import type { Bytes, Codec } from '../../src/index.ts';
import type { Protocol, Setting, Step } from '../../src/rounds/index.ts';
import { dealingState } from './dealing-row.ts';
import { ROUNDS, startDealing, stepDealing, type DealingState, type Dealt, type Kind } from './dealing.ts';
import { decodeKeyShare, encodeKeyShare, encodePoints, MAX_PARTIES, type KeyShare } from './key-share.ts';
import { Fr, PUBLIC_KEY_SIZE, type G2Point } from './math/curve.ts';

export interface KeygenParams {
  /** t: 1 <= t < n */
  readonly threshold: number;
}

export interface RefreshParams {
  readonly threshold: number;
  /** Of the key as it is, t + 1 of them, 96 bytes each: compared with ours, and so not checked to be points. */
  readonly commitments: Bytes;
}

const NOTHING = new Uint8Array(0);
const none: Codec<undefined> = { encode: () => NOTHING, decode: () => undefined };
const keyShare: Codec<KeyShare> = { encode: encodeKeyShare, decode: decodeKeyShare };

/** Layout: t 1. */
const keygenParams: Codec<KeygenParams> = {
  encode: ({ threshold }) => Uint8Array.of(threshold),
  decode: (bytes) => {
    if (bytes.length !== 1) throw new RangeError('these are no parameters of a key generation');
    return { threshold: bytes[0] ?? 0 };
  },
};

/** Layout: t 1 | commitments 96 (t + 1 times). */
const refreshParams: Codec<RefreshParams> = {
  encode: ({ threshold, commitments }) => new Uint8Array([threshold, ...commitments]),
  decode: (bytes) => {
    const threshold = bytes[0] ?? 0;
    if (threshold >= MAX_PARTIES || bytes.length !== 1 + (threshold + 1) * PUBLIC_KEY_SIZE)
      throw new RangeError('these are no parameters of a refresh');
    return { threshold, commitments: new Uint8Array(bytes.subarray(1)) };
  },
};

export const keygen: Protocol<KeygenParams, undefined, DealingState, KeyShare> = {
  name: 'countersign.bls-keygen',
  version: 1,
  rounds: ROUNDS,
  params: keygenParams,
  input: none,
  state: dealingState,
  output: keyShare,
  isHeld: true,
  check: ({ threshold }, { parties, signers }) => problem(threshold, parties.length, signers.length),
  start: (setting) => finish(setting, startDealing(setting, kindOf(setting.params, false)), undefined),
  step: (setting, state, messages) =>
    finish(setting, stepDealing(setting, kindOf(setting.params, false), state, messages), undefined),
};

/** The state of a refresh carries the share that it starts from. */
export interface RefreshState {
  readonly before: KeyShare;
  readonly dealing: DealingState;
}

export const refresh: Protocol<RefreshParams, KeyShare, RefreshState, KeyShare> = {
  name: 'countersign.bls-refresh',
  version: 1,
  rounds: ROUNDS,
  params: refreshParams,
  input: keyShare,
  state: refreshState(),
  output: keyShare,
  isHeld: true,
  check: ({ threshold }, { parties, signers }) => problem(threshold, parties.length, signers.length),
  start: (setting, before) => {
    const isSame =
      before.epoch === setting.epoch &&
      before.index === setting.self &&
      Buffer.compare(encodePoints(before.commitments), setting.params.commitments) === 0;
    if (!isSame) return { kind: 'abort', reason: 'our share is not of this key and epoch' };
    return keep(setting, before, startDealing(setting, kindOf(setting.params, true)));
  },
  step: (setting, { before, dealing }, messages) =>
    keep(setting, before, stepDealing(setting, kindOf(setting.params, true), dealing, messages)),
};

/** What is wrong with the numbers of a key, in words. */
export function problem(threshold: number, parties: number, present: number): string | undefined {
  if (parties > MAX_PARTIES) return `a key has at most ${String(MAX_PARTIES)} parties`;
  if (!Number.isInteger(threshold) || threshold < 1 || threshold >= parties) {
    return `the threshold must be at least 1 and below the number of parties, which is ${String(parties)}`;
  }
  return present === parties ? undefined : 'all parties are needed';
}

function kindOf({ threshold }: { readonly threshold: number }, isRefresh: boolean): Kind {
  return { threshold, isRefresh };
}

function keep(
  setting: Setting<RefreshParams>,
  before: KeyShare,
  step: Step<DealingState, Dealt>,
): Step<RefreshState, KeyShare> {
  if (step.kind === 'next') return { ...step, state: { before, dealing: step.state } };
  return finish(setting, step, before);
}

/** @param before the share that is refreshed */
function finish<State>(
  setting: Setting<{ readonly threshold: number }>,
  step: Step<State, Dealt>,
  before: KeyShare | undefined,
): Step<State, KeyShare> {
  if (step.kind !== 'done') return step;
  const { share, commitments } = step.output;
  const output: KeyShare = {
    threshold: setting.params.threshold,
    parties: setting.parties.length,
    index: setting.self,
    epoch: before === undefined ? 0 : before.epoch + 1,
    share: Fr.add(share, before?.share ?? 0n),
    commitments: before === undefined ? commitments : commitments.map((point, k) => point.add(at(before, k))),
  };
  return { kind: 'done', output };
}

function at({ commitments }: KeyShare, k: number): G2Point {
  const point = commitments[k];
  if (point === undefined) throw new RangeError('a key has as many commitments as its threshold says');
  return point;
}

/** Layout: length of the share 4 | share | state of the dealing. */
function refreshState(): Codec<RefreshState> {
  return {
    encode: ({ before, dealing }) => {
      const share = encodeKeyShare(before);
      const head = new Uint8Array(4);
      new DataView(head.buffer).setUint32(0, share.length);
      return new Uint8Array(Buffer.concat([head, share, dealingState.encode(dealing)]));
    },
    decode: (bytes: Bytes) => {
      const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0);
      return {
        before: decodeKeyShare(bytes.subarray(4, 4 + length)),
        dealing: dealingState.decode(bytes.subarray(4 + length)),
      };
    },
  };
}
