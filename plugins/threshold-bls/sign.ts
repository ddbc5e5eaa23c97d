/**
 * Signing, as a protocol of the rounds runtime: one round in which each signer broadcasts its partial signature (48 bytes).
 * Any t + 1 that hold are enough; a wrong one is named and left out, so n - t - 1 parties may be absent or wrong.
 */
import type { Bytes, Codec } from '../../src/index.ts';
import type { Blame, Protocol, RoundMessages, Setting, Step } from '../../src/rounds/index.ts';
import { decodeKeyShare, encodeKeyShare, publicKeyOf, sharingOf, type KeyShare } from './key-share.ts';
import { decodeG1, encodePoint, PUBLIC_KEY_SIZE, SIGNATURE_SIZE } from './math/curve.ts';
import { expectedShare } from './math/feldman.ts';
import {
  combine,
  encodeSignature,
  isPartialOf,
  messagePoint,
  signPartially,
  verify,
  type Partial,
} from './math/signing.ts';

export interface SignParams {
  readonly threshold: number;
  /** 96 bytes */
  readonly publicKey: Bytes;
  /** 32 bytes: of which sharing of the key, beside its epoch (`sharingOf`). */
  readonly sharing: Bytes;
}

export interface Signed {
  /** 48 bytes */
  readonly signature: Bytes;
  /** Indices of those whose partial signatures are in it. */
  readonly signers: readonly number[];
}

const SHARING_SIZE = 32;
const SHARING_AT = 1 + PUBLIC_KEY_SIZE;

/** Layout: t 1 | public key 96 | sharing 32. */
const params: Codec<SignParams> = {
  encode: ({ threshold, publicKey, sharing }) => new Uint8Array([threshold, ...publicKey, ...sharing]),
  decode: (bytes) => {
    if (bytes.length !== SHARING_AT + SHARING_SIZE)
      throw new RangeError('these are no parameters of a signing');
    const publicKey = new Uint8Array(bytes.subarray(1, SHARING_AT));
    return { threshold: bytes[0] ?? 0, publicKey, sharing: new Uint8Array(bytes.subarray(SHARING_AT)) };
  },
};

/** Layout: signature 48 | index 1 for each signer. */
const output: Codec<Signed> = {
  encode: ({ signature, signers }) => new Uint8Array([...signature, ...signers]),
  decode: (bytes) => ({
    signature: new Uint8Array(bytes.subarray(0, SIGNATURE_SIZE)),
    signers: [...bytes.subarray(SIGNATURE_SIZE)],
  }),
};

const keyShare: Codec<KeyShare> = { encode: encodeKeyShare, decode: decodeKeyShare };

export const sign: Protocol<SignParams, KeyShare, KeyShare, Signed> = {
  name: 'countersign.bls-sign',
  version: 1,
  rounds: [{ broadcast: true, maxBytes: SIGNATURE_SIZE }],
  params,
  input: keyShare,
  state: keyShare,
  output,
  quorum: ({ threshold }) => threshold + 1,
  check: ({ threshold }, { signers }) =>
    signers.length > threshold ? undefined : `${String(threshold + 1)} signers are needed`,
  start: (setting, share) => {
    if (!isOf(setting, share)) return { kind: 'abort', reason: 'our share is not of this key and epoch' };
    const partial = signPartially(messagePoint(setting.message), share.share);
    return { kind: 'next', state: share, broadcast: encodePoint(partial) };
  },
  step,
};

/** A share of another epoch makes partial signatures that fit no other's. */
function isOf(
  { self, parties, epoch, params: { threshold, publicKey, sharing } }: Setting<SignParams>,
  share: KeyShare,
): boolean {
  return (
    share.epoch === epoch &&
    share.index === self &&
    share.parties === parties.length &&
    share.threshold === threshold &&
    Buffer.compare(publicKeyOf(share), publicKey) === 0 &&
    Buffer.compare(sharingOf(share), sharing) === 0
  );
}

function step(
  setting: Setting<SignParams>,
  share: KeyShare,
  messages: RoundMessages,
): Step<KeyShare, Signed> {
  const { threshold, publicKey } = setting.params;
  const point = messagePoint(setting.message);
  const good: Partial[] = [];
  const blame: Blame[] = [];
  for (const [index, { broadcast }] of messages) {
    const signature = broadcast && decodeG1(broadcast);
    if (signature !== undefined && isPartialOf(expectedShare(share.commitments, index), point, signature)) {
      good.push({ index, signature });
    } else blame.push({ party: index, reason: 'sent a partial signature that does not hold' });
  }
  if (good.length <= threshold) return { kind: 'wait', blame };
  const used = good.sort((a, b) => a.index - b.index).slice(0, threshold + 1);
  const signature = encodeSignature(combine(used));
  if (!verify(publicKey, signature, setting.message)) {
    return { kind: 'abort', reason: 'the signature does not hold although all its parts do', blame };
  }
  return { kind: 'done', output: { signature, signers: used.map(({ index }) => index) }, blame };
}
