/**
 * What differs between a bot and a page: a bot has OpenSSL (`node.ts`), a page has noble alone (`page.ts`). Both agree
 * on every byte.
 */
import type { Mhf } from './mhf.ts';
import type { Group } from './spake2.ts';

export interface Primitives {
  /** Suite 1. */
  readonly p256: Group;
  /** One for the whole program, as its codes wait for each other. */
  readonly mhf: Mhf;
  /** Compares MACs in constant time (V-11); lengths are not secret. */
  readonly isEqual: (a: Uint8Array, b: Uint8Array) => boolean;
}
