/** Random bytes that are the same each time: for tests alone, where a run that failed is to be run again. */
import { createHash } from 'node:crypto';
import type { Bytes } from '../bytes.ts';
import type { Random } from '../platform.ts';

export class SeededRandom implements Random {
  readonly #seed: string;
  #count = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** SHA-256 of the seed and a number that counts up, block after block of 32 bytes. */
  bytes(length: number): Bytes {
    const blocks = Array.from({ length: Math.ceil(length / 32) }, () =>
      createHash('sha256')
        .update(`${this.#seed} ${String(this.#count++)}`)
        .digest(),
    );
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  }

  /** 0 to below 1. */
  fraction(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) / 0x1_0000_0000;
  }

  /** 0 to below `limit`, a whole number. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }
}
