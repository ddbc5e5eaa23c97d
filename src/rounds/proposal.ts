/**
 * Proposal: what a ceremony is to do, the same bytes at every party. Its hash, the topic, is where the parties meet before
 * there is a ceremony; with a fresh nonce of everyone present it makes the ceremony id, which was never there before.
 */
import { createHash } from 'node:crypto';
import { concat, copy, fromUtf8, toHex, type Bytes } from '../bytes.ts';
import { encodeParties, readParties, type PartySet } from './party-set.ts';
import { invalid, lv4, Reader, text, u16, u32, u8 } from './wire.ts';

export const NONCE_BYTES = 32;
export const ID_BYTES = 32;

export interface Proposal {
  readonly protocol: string;
  readonly version: number;
  /** As the protocol's codec writes them. */
  readonly params: Bytes;
  /** For signing: what; else empty. */
  readonly message: Bytes;
  /** Of the key; 0 where there is none yet. */
  readonly epoch: number;
  readonly parties: PartySet;
  /** Indices of those who are to take part, rising. */
  readonly signers: readonly number[];
}

/** A party that takes part, with its nonce of 32 bytes. */
export interface Present {
  readonly index: number;
  readonly nonce: Bytes;
}

/**
 * Layout: protocol lv | version 2 | params lv4 | message lv4 | epoch 4 | parties | signers: count 1, index 1 each.
 */
export function encodeProposal(proposal: Proposal): Bytes {
  const { protocol, version, params, message, epoch, parties, signers } = proposal;
  return concat(
    text(protocol),
    u16(version),
    lv4(params),
    lv4(message),
    u32(epoch),
    encodeParties(parties),
    u8(signers.length),
    Uint8Array.from(signers),
  );
}

/** @throws BotError `CONTENT_INVALID`, `GROUP_INVALID` */
export function decodeProposal(bytes: Uint8Array): Proposal {
  const reader = new Reader(bytes);
  const proposal = {
    protocol: reader.text(),
    version: reader.u16(),
    params: copy(reader.lv4()),
    message: copy(reader.lv4()),
    epoch: reader.u32(),
    parties: readParties(reader),
    signers: reader.list(reader.u8(), () => reader.u8()),
  };
  reader.end();
  const { signers, parties } = proposal;
  const isRising = signers.every((index, i) => index > (signers[i - 1] ?? 0) && index <= parties.length);
  if (signers.length === 0 || !isRising) throw invalid('the signers of a proposal are not rising indices');
  return proposal;
}

/** 32 bytes, hex. */
export function topicOf(proposal: Proposal): string {
  return toHex(hash('countersign rounds topic v1', encodeProposal(proposal)));
}

/** 32 bytes. @param present by rising index */
export function ceremonyId(topic: string, present: readonly Present[]): Bytes {
  const each = present.map(({ index, nonce }) => concat(u8(index), nonce));
  return hash('countersign rounds ceremony v1', fromUtf8(topic), u8(present.length), ...each);
}

/** SHA-256 of label | 00 | parts. */
export function hash(label: string, ...parts: readonly Uint8Array[]): Bytes {
  return copy(
    createHash('sha256')
      .update(concat(fromUtf8(label), u8(0), ...parts))
      .digest(),
  );
}
