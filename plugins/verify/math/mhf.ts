/**
 * From a code to the shared scalar w, through scrypt (V-1 to V-3).
 *
 * okm = scrypt(code, salt, N = 2^log2N, r, p, 40 bytes), w = okm as a big-endian integer mod the order of P-256. It runs
 * when a person has created or typed a code, never because a frame arrived, and one at a time, so frames cannot burn
 * processor time or memory. The scrypt itself is handed in: OpenSSL's in a bot, noble's in a page.
 * Spec: verification brief, sections 1 ("From password to w") and 5.
 */
import { p256 } from '@noble/curves/nist.js';
import { bytesToNumberBE, concatBytes } from '@noble/curves/utils.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import type { Bytes } from '../../../src/index.ts';
import { toScalarBytes } from './spake2.ts';

/** As an OFFER carries them, a byte each. */
export interface MhfParams {
  readonly log2N: number;
  readonly r: number;
  readonly p: number;
}

export interface ScryptCost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  /** Bytes that it may take: 256 * N * r, since half of that is refused by Node at its default (V-2). */
  readonly maxmem: number;
}

/** Gives `length` bytes, and does not hold up the event loop meanwhile. */
export type Scrypt = (
  code: Uint8Array,
  salt: Uint8Array,
  cost: ScryptCost,
  length: number,
) => Promise<Uint8Array>;

/** What a creator chooses and an enterer accepts; r and p are those chosen. */
export interface MhfProfile {
  readonly params: MhfParams;
  readonly minLog2N: number;
  readonly maxLog2N: number;
}

export interface CodeInput {
  /** The normalised text of section 5. */
  readonly code: string;
  readonly suite: number;
  /** 16 bytes. */
  readonly runId: Uint8Array;
  readonly params: MhfParams;
}

/** The only profile outside tests. */
export const STANDARD: MhfProfile = { params: { log2N: 15, r: 8, p: 1 }, minLog2N: 14, maxLog2N: 17 };

const OKM_BYTES = 40;
const SALT_LABEL = utf8ToBytes('spake2-signal v1 mhf');

export class Mhf {
  readonly #scrypt: Scrypt;
  readonly #profile: MhfProfile;
  #running: Promise<unknown> = Promise.resolve();

  /** @param profile tests may bring a cheap one; no option and no frame may */
  constructor(scrypt: Scrypt, profile: MhfProfile = STANDARD) {
    this.#scrypt = scrypt;
    this.#profile = profile;
  }

  /** What the creator of a code puts into the OFFER. */
  get params(): MhfParams {
    return this.#profile.params;
  }

  /** Whether an enterer may take these up (V-3). */
  accepts({ log2N, r, p }: MhfParams): boolean {
    const { params, minLog2N, maxLog2N } = this.#profile;
    const isInRange = Number.isInteger(log2N) && log2N >= minLog2N && log2N <= maxLog2N;
    return isInRange && r === params.r && p === params.p;
  }

  /**
   * Waits for those asked for before.
   * @returns w, 32 bytes, big-endian
   * @throws RangeError when the parameters are not accepted, or w is 0 or order - 1 (nobody ever meets those two)
   */
  async codeToW(input: CodeInput): Promise<Bytes> {
    if (!this.accepts(input.params)) throw new RangeError('scrypt parameters are out of range');
    const okm = this.#running.then(() => this.#stretch(input));
    this.#running = okm.catch(() => undefined);
    return reduce(await okm);
  }

  #stretch({ code, suite, runId, params: { log2N, r, p } }: CodeInput): Promise<Uint8Array> {
    const N = 2 ** log2N;
    const cost = { N, r, p, maxmem: 256 * N * r };
    return this.#scrypt(utf8ToBytes(code), mhfSalt(suite, runId), cost, OKM_BYTES);
  }
}

/** SHA-256("spake2-signal v1 mhf" | suite as 2 bytes | run id). */
export function mhfSalt(suite: number, runId: Uint8Array): Bytes {
  return sha256(concatBytes(SALT_LABEL, new Uint8Array([suite >>> 8, suite & 0xff]), runId));
}

function reduce(okm: Uint8Array): Bytes {
  const { ORDER } = p256.Point.Fn;
  const w = bytesToNumberBE(okm) % ORDER;
  // The multiplication that OpenSSL helps with needs w + 1 as well, hence not order - 1 either.
  if (w === 0n || w === ORDER - 1n) throw new RangeError('this code gives no scalar');
  return toScalarBytes(w);
}
