/**
 * Dealing: the four rounds that key generation and refresh have in common. Each party deals a random polynomial.
 *
 *   1 all      hash of the opening, 32: nobody chooses after having seen the others
 *   2 all      opening: commitments 96 (t + 1 times) | proof of the constant term 128 (not in a refresh)
 *   3 private  share 32 | hash of the dealer's opening 32, signed by the runtime over ceremony, recipient and body
 *   4 all      00 | hash of the result 32: confirmed; or 01 | dealer 1 | signature 64 | body: the share that was bad
 *
 * committed -> opened -> dealt -> done. A share counts only once all n have confirmed the same result. All n are needed and
 * no fault is tolerated: whoever is proven wrong is named and the ceremony ends; a party that says nothing is only missing,
 * since the server can drop what it sent. (So a cheat who leaves after having seen the openings can bias the key by starting
 * anew; for BLS that is known to do no harm.)
 * Source: R. Gennaro et al., Secure Distributed Key Generation for Discrete-Log Based Cryptosystems, 2007 (joint Feldman).
 */
import type { Bytes } from '../../src/index.ts';
import type { Blame, RoundMessages, Setting, Step } from '../../src/rounds/index.ts';
import {
  decodeScalar,
  encodeScalar,
  hashParts,
  PUBLIC_KEY_SIZE,
  SCALAR_SIZE,
  type G2Point,
} from './math/curve.ts';
import {
  commitments, drawPolynomial, isProofOf, isShareOf, PROOF_SIZE, proveConstant, shareFor, sumCommitments, sumShares, type Polynomial,
} from './math/feldman.ts'; // prettier-ignore
import { decodePoints, encodePoints } from './key-share.ts';

/** Which of the two ceremonies, and what it starts from. */
export interface Kind {
  readonly threshold: number;
  /** The constant terms are zero: the joint secret stays. */
  readonly isRefresh: boolean;
}

export type DealingState =
  | { readonly kind: 'committed'; readonly polynomial: Polynomial; readonly opening: Bytes }
  | {
      readonly kind: 'opened';
      readonly polynomial: Polynomial;
      readonly hashes: ReadonlyMap<number, Bytes>;
      readonly opening: Bytes;
    }
  | {
      readonly kind: 'shared';
      readonly polynomial: Polynomial;
      readonly openings: ReadonlyMap<number, Bytes>;
    }
  | { readonly kind: 'dealt'; readonly share: bigint; readonly openings: ReadonlyMap<number, Bytes> };

/** What all dealers together have given this party. */
export interface Dealt {
  readonly share: bigint;
  /** Sum over all dealers, t + 1 of them. */
  readonly commitments: readonly G2Point[];
}

type DealingStep = Step<DealingState, Dealt>;
/** What the machine needs of its setting. */
export type DealingSetting = Pick<Setting<unknown>, 'id' | 'self' | 'parties' | 'random' | 'isSigned'>;

export const ROUNDS = [
  { broadcast: true, maxBytes: 32 },
  { broadcast: true },
  { private: true, maxBytes: 64 },
  { broadcast: true, maxBytes: 256 },
] as const;
const SHARE_ROUND = 3;
const SHARE_BODY = SCALAR_SIZE + 32;
const SIGNATURE = 64;
const [CONFIRMED, ACCUSED] = [0, 1];

export function startDealing(setting: DealingSetting, kind: Kind): DealingStep {
  const polynomial = drawPolynomial(kind.threshold, setting.random, kind.isRefresh ? 0n : undefined);
  const points = encodePoints(commitments(polynomial));
  const proof = kind.isRefresh
    ? new Uint8Array(0)
    : proveConstant(polynomial[0] ?? 0n, dealerContext(setting, setting.self), setting.random);
  const opening = concat(points, proof);
  const state = { kind: 'committed', polynomial, opening } as const;
  return { kind: 'next', state, broadcast: openingHash(setting, setting.self, opening) };
}

export function stepDealing(
  setting: DealingSetting,
  kind: Kind,
  state: DealingState,
  messages: RoundMessages,
): DealingStep {
  switch (state.kind) {
    case 'committed':
      return open(state, messages);
    case 'opened':
      return deal(setting, kind, state, messages);
    case 'shared':
      return judge(setting, kind, state, messages);
    case 'dealt':
      return settle(setting, kind, state, messages);
  }
}

function open(
  { polynomial, opening }: DealingState & { kind: 'committed' },
  messages: RoundMessages,
): DealingStep {
  const hashes = broadcasts(messages);
  return { kind: 'next', state: { kind: 'opened', polynomial, opening, hashes }, broadcast: opening };
}

function deal(
  setting: DealingSetting,
  kind: Kind,
  { polynomial, hashes }: DealingState & { kind: 'opened' },
  messages: RoundMessages,
): DealingStep {
  const openings = broadcasts(messages);
  const blame: Blame[] = [];
  for (const [party, opening] of openings) {
    const promised = hashes.get(party);
    const isPromised = promised !== undefined && equal(openingHash(setting, party, opening), promised);
    if (!isPromised) blame.push({ party, reason: 'opened something else than it had committed to' });
    else if (parse(setting, kind, party, opening) === undefined) {
      blame.push({ party, reason: 'published commitments that do not hold' });
    }
  }
  if (blame.length > 0) return { kind: 'abort', reason: 'an opening is wrong', blame };
  const shares = new Map<number, Bytes>();
  const hash = openingHash(setting, setting.self, openings.get(setting.self) ?? new Uint8Array(0));
  for (const { index } of setting.parties) {
    if (index !== setting.self) shares.set(index, concat(encodeScalar(shareFor(polynomial, index)), hash));
  }
  return { kind: 'next', state: { kind: 'shared', polynomial, openings }, private: shares };
}

/** The first bad share is shown; a dealer who is named by one is named. */
function judge(
  setting: DealingSetting,
  kind: Kind,
  { polynomial, openings }: DealingState & { kind: 'shared' },
  messages: RoundMessages,
): DealingStep {
  const shares = [shareFor(polynomial, setting.self)];
  for (const [dealer, { private: body, signature }] of messages) {
    if (dealer === setting.self) continue;
    const share = readShare(setting, kind, openings, dealer, setting.self, body);
    if (share !== undefined) shares.push(share);
    else if (body !== undefined && signature !== undefined) {
      const state = { kind: 'dealt', share: 0n, openings } as const;
      return { kind: 'next', state, broadcast: concat(Uint8Array.of(ACCUSED, dealer), signature, body) };
    }
  }
  const state = { kind: 'dealt', share: sumShares(shares), openings } as const;
  return { kind: 'next', state, broadcast: concat(Uint8Array.of(CONFIRMED), resultHash(setting, openings)) };
}

function settle(
  setting: DealingSetting,
  kind: Kind,
  { share, openings }: DealingState & { kind: 'dealt' },
  messages: RoundMessages,
): DealingStep {
  const blame: Blame[] = [];
  const result = resultHash(setting, openings);
  for (const [party, verdict] of broadcasts(messages)) {
    if (verdict[0] === ACCUSED) blame.push(guilty(setting, kind, openings, party, verdict));
    else if (verdict[0] !== CONFIRMED || !equal(verdict.subarray(1), result)) {
      blame.push({ party, reason: 'confirmed another result than the one that was published' });
    }
  }
  if (blame.length > 0) return { kind: 'abort', reason: 'the dealing was not confirmed by all', blame };
  const published = setting.parties.map(({ index }) => points(kind, index, openings));
  return { kind: 'done', output: { share, commitments: sumCommitments(published) } };
}

/** Who is wrong: the dealer whose signed share does not fit, or else the accuser. */
function guilty(
  setting: DealingSetting,
  kind: Kind,
  openings: ReadonlyMap<number, Bytes>,
  accuser: number,
  verdict: Bytes,
): Blame {
  const dealer = verdict[1] ?? 0;
  const signature = verdict.subarray(2, 2 + SIGNATURE);
  const body = verdict.subarray(2 + SIGNATURE);
  const isShown =
    signature.length === SIGNATURE &&
    openings.has(dealer) &&
    setting.isSigned({ round: SHARE_ROUND, sender: dealer, recipient: accuser, body, signature });
  return isShown && readShare(setting, kind, openings, dealer, accuser, body) === undefined
    ? { party: dealer, reason: `dealt a share to party ${String(accuser)} that does not fit its commitments` }
    : { party: accuser, reason: `accused party ${String(dealer)} falsely` };
}

/** @returns undefined when it is not the share that the dealer's commitments promise to this recipient */
function readShare(
  setting: DealingSetting,
  kind: Kind,
  openings: ReadonlyMap<number, Bytes>,
  dealer: number,
  recipient: number,
  body: Bytes | undefined,
): bigint | undefined {
  if (body?.length !== SHARE_BODY) return undefined;
  const share = decodeScalar(body.subarray(0, SCALAR_SIZE));
  const opening = openings.get(dealer);
  if (share === undefined || opening === undefined) return undefined;
  if (!equal(body.subarray(SCALAR_SIZE), openingHash(setting, dealer, opening))) return undefined;
  return isShareOf(points(kind, dealer, openings), recipient, share) ? share : undefined;
}

/** The commitments of an opening, with all that was asked of them checked. */
function parse(setting: DealingSetting, kind: Kind, dealer: number, opening: Bytes): G2Point[] | undefined {
  const { threshold, isRefresh } = kind;
  const length = (threshold + 1) * PUBLIC_KEY_SIZE;
  if (opening.length !== length + (isRefresh ? 0 : PROOF_SIZE)) return undefined;
  const parsed = decodePoints(opening.subarray(0, length), { identityFirst: isRefresh });
  const [first] = parsed ?? [];
  if (first?.is0() !== isRefresh) return undefined;
  if (isRefresh) return parsed;
  return isProofOf(first, dealerContext(setting, dealer), opening.subarray(length)) ? parsed : undefined;
}

/** Of an opening that has been checked before. */
function points(
  { threshold, isRefresh }: Kind,
  dealer: number,
  openings: ReadonlyMap<number, Bytes>,
): G2Point[] {
  const opening = openings.get(dealer)?.subarray(0, (threshold + 1) * PUBLIC_KEY_SIZE) ?? new Uint8Array(0);
  const parsed = decodePoints(opening, { identityFirst: isRefresh });
  if (parsed === undefined) throw new RangeError('an opening was kept that does not hold');
  return parsed;
}

function broadcasts(messages: RoundMessages): Map<number, Bytes> {
  return new Map([...messages].map(([party, { broadcast }]) => [party, broadcast ?? new Uint8Array(0)]));
}

function dealerContext({ id }: DealingSetting, dealer: number): Bytes {
  return hashParts('countersign bls dealer v1', [id, Uint8Array.of(dealer)]);
}

function openingHash({ id }: DealingSetting, dealer: number, opening: Bytes): Bytes {
  return hashParts('countersign bls opening v1', [id, Uint8Array.of(dealer), opening]);
}

/** Over all that was published, in the order of the parties. */
function resultHash({ id, parties }: DealingSetting, openings: ReadonlyMap<number, Bytes>): Bytes {
  const all = parties.map(({ index }) => openings.get(index) ?? new Uint8Array(0));
  return hashParts('countersign bls result v1', [id, ...all]);
}

function concat(...parts: readonly Uint8Array[]): Bytes {
  return new Uint8Array(Buffer.concat(parts));
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
