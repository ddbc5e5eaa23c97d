/**
 * The primitives of a page: noble alone. No import of this file or below it needs Node.
 */
import { equalBytes } from '@noble/curves/utils.js';
import { scryptAsync } from '@noble/hashes/scrypt.js';
import { Mhf, type Scrypt } from './mhf.ts';
import { nobleP256 } from './p256.ts';
import type { Primitives } from './primitives.ts';

/** Gives way to the event loop every 10 ms. */
export const nobleScrypt: Scrypt = (code, salt, { N, r, p, maxmem }, dkLen) =>
  // noble asks for a little more than 128 * N * r; our bound is about twice that.
  scryptAsync(code, salt, { N, r, p, maxmem, dkLen });

export const pagePrimitives: Primitives = {
  // Plain: a page runs once, and the tables cost more than they would save.
  p256: nobleP256(),
  mhf: new Mhf(nobleScrypt),
  // Reads every byte whatever it finds; the platform of a page has nothing stricter.
  isEqual: equalBytes,
};
