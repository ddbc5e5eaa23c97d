/**
 * FROST signing for Ed25519 (RFC 9591, section 5), as a protocol of the rounds runtime.
 *
 *   1 all  commitments to two nonces: hiding 32 | binding 32
 *   2 all  share of the signature, 32, over the message and the list of all commitments
 *
 * The nonces are drawn at random in the step that publishes their commitments, and are gone from the state in the step
 * that makes the signature share: both steps are one commit with what they send, so a nonce is used for one message and one
 * list of commitments, or for nothing. A ceremony that was cut off by a restore is dead, and its nonces with it.
 * Every signer is needed once the ceremony has begun; who sends a share that does not hold is named.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import type { Bytes, Codec } from '../../src/index.ts';
import type { Blame, Protocol, RoundMessages, Setting, Step } from '../../src/rounds/index.ts';
import { frost, frostKey, identifier, packages, publicKeyOf, type FrostKey } from './key.ts';

export interface FrostParams {
  readonly min: number;
  /** 32 bytes */
  readonly publicKey: Bytes;
}

export type FrostState =
  | { readonly kind: 'committed'; readonly key: FrostKey; readonly hiding: Bytes; readonly binding: Bytes }
  | { readonly kind: 'signed'; readonly key: FrostKey; readonly list: Bytes };

const SIZE = 32;
const COMMITMENT = 2 * SIZE;
const ENTRY = 1 + COMMITMENT;

/** Layout: t 1 | public key 32. */
const params: Codec<FrostParams> = {
  encode: ({ min, publicKey }) => new Uint8Array([min, ...publicKey]),
  decode: (bytes) => {
    if (bytes.length !== 1 + SIZE) throw new RangeError('these are no parameters of a FROST signing');
    return { min: bytes[0] ?? 0, publicKey: new Uint8Array(bytes.subarray(1)) };
  },
};

/** Layout: kind 1 (1 committed, 2 signed) | key: length 4, key | hiding 32, binding 32; or the list. */
const state: Codec<FrostState> = {
  encode: (value) => {
    const key = frostKey.encode(value.key);
    const head = new Uint8Array(5);
    head[0] = value.kind === 'committed' ? 1 : 2;
    new DataView(head.buffer).setUint32(1, key.length);
    const tail = value.kind === 'committed' ? [value.hiding, value.binding] : [value.list];
    return new Uint8Array(Buffer.concat([head, key, ...tail]));
  },
  decode: (bytes) => {
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(1);
    const key = frostKey.decode(bytes.subarray(5, 5 + length));
    const tail = new Uint8Array(bytes.subarray(5 + length));
    if (bytes[0] === 2) return { kind: 'signed', key, list: tail };
    if (bytes[0] !== 1 || tail.length !== COMMITMENT)
      throw new RangeError('this is no state of a FROST signing');
    return { kind: 'committed', key, hiding: tail.slice(0, SIZE), binding: tail.slice(SIZE) };
  },
};

/** 64 bytes: an Ed25519 signature. */
const signature: Codec<Bytes> = { encode: (value) => value, decode: (bytes) => bytes };

export const frostSign: Protocol<FrostParams, FrostKey, FrostState, Bytes> = {
  name: 'countersign.frost-sign',
  version: 1,
  rounds: [
    { broadcast: true, maxBytes: COMMITMENT },
    { broadcast: true, maxBytes: SIZE },
  ],
  params,
  input: frostKey,
  state,
  output: signature,
  check: ({ min }, { signers }) => (signers.length >= min ? undefined : `${String(min)} signers are needed`),
  start,
  step: (setting, before, messages) =>
    before.kind === 'committed' ? signShare(setting, before, messages) : aggregate(setting, before, messages),
};

function start(setting: Setting<FrostParams>, key: FrostKey): Step<FrostState, Bytes> {
  const { min, publicKey } = setting.params;
  const isOurs =
    key.index === setting.self &&
    key.max === setting.parties.length &&
    key.min === min &&
    Buffer.compare(publicKeyOf(key), publicKey) === 0;
  if (!isOurs) return { kind: 'abort', reason: 'our share is not of this key' };
  const { nonces, commitments } = frost.commit(packages(key).secret, (length = SIZE) =>
    setting.random.bytes(length),
  );
  const { hiding, binding } = nonces;
  return {
    kind: 'next',
    state: { kind: 'committed', key, hiding: new Uint8Array(hiding), binding: new Uint8Array(binding) },
    broadcast: new Uint8Array([...commitments.hiding, ...commitments.binding]),
  };
}

function signShare(
  setting: Setting<FrostParams>,
  { key, hiding, binding }: FrostState & { kind: 'committed' },
  messages: RoundMessages,
): Step<FrostState, Bytes> {
  const list = new Uint8Array(
    [...messages]
      .sort(([a], [b]) => a - b)
      .flatMap(([index, { broadcast }]) => (broadcast?.length === COMMITMENT ? [index, ...broadcast] : [])),
  );
  const blame = [...messages.keys()]
    .filter((index) => messages.get(index)?.broadcast?.length !== COMMITMENT)
    .map((party): Blame => ({ party, reason: 'sent no commitments' }));
  if (blame.length > 0) return { kind: 'abort', reason: 'a commitment is wrong', blame };
  const { secret, shared } = packages(key);
  let share: Uint8Array;
  try {
    share = frost.signShare(secret, shared, { hiding, binding }, readList(list), setting.message);
  } catch {
    const wrong = readList(list).filter((entry) => !isPoint(entry.hiding) || !isPoint(entry.binding));
    const named = wrong.map(({ index }): Blame => ({
      party: index,
      reason: 'sent commitments that are no points',
    }));
    return { kind: 'abort', reason: 'the commitments cannot be signed under', blame: named };
  }
  return { kind: 'next', state: { kind: 'signed', key, list }, broadcast: new Uint8Array(share) };
}

function aggregate(
  setting: Setting<FrostParams>,
  { key, list }: FrostState & { kind: 'signed' },
  messages: RoundMessages,
): Step<FrostState, Bytes> {
  const { shared } = packages(key);
  const entries = readList(list);
  const shares: Record<string, Bytes> = {};
  const blame: Blame[] = [];
  for (const [index, { broadcast }] of messages) {
    if (broadcast !== undefined && isShareOf(setting.message, shared, entries, index, broadcast)) {
      shares[identifier(index)] = broadcast;
    } else blame.push({ party: index, reason: 'sent a share of the signature that does not hold' });
  }
  if (blame.length > 0) return { kind: 'abort', reason: 'a share of the signature is wrong', blame };
  return { kind: 'done', output: new Uint8Array(frost.aggregate(shared, entries, setting.message, shares)) };
}

type Shared = ReturnType<typeof packages>['shared'];
interface Entry {
  readonly index: number;
  identifier: string;
  hiding: Bytes;
  binding: Bytes;
}

function isShareOf(message: Bytes, shared: Shared, list: Entry[], index: number, share: Bytes): boolean {
  try {
    return frost.verifyShare(shared, list, message, identifier(index), share);
  } catch {
    return false;
  }
}

/** Layout of the list: for each signer, rising, index 1 | hiding 32 | binding 32. */
function readList(list: Bytes): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < list.length; at += ENTRY) {
    const index = list[at] ?? 0;
    const hiding = list.slice(at + 1, at + 1 + SIZE);
    const binding = list.slice(at + 1 + SIZE, at + ENTRY);
    entries.push({ index, identifier: identifier(index), hiding, binding });
  }
  return entries;
}

/** In the prime-order subgroup, and not the identity. */
function isPoint(bytes: Bytes): boolean {
  try {
    const point = ed25519.Point.fromBytes(bytes);
    return !point.is0() && point.isTorsionFree();
  } catch {
    return false;
  }
}
