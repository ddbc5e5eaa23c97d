/**
 * The primitives of a bot: OpenSSL multiplies, stretches codes and compares.
 */
import { scrypt, timingSafeEqual } from 'node:crypto';
import { Mhf, type Scrypt } from './mhf.ts';
import { opensslP256 } from './p256-openssl.ts';
import type { Primitives } from './primitives.ts';

/** Runs on a thread of libuv's pool. */
export const opensslScrypt: Scrypt = (code, salt, cost, length) =>
  new Promise((resolve, reject) => {
    scrypt(code, salt, length, cost, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    });
  });

export const nodePrimitives: Primitives = {
  p256: opensslP256,
  mhf: new Mhf(opensslScrypt),
  isEqual: (a, b) => a.length === b.length && timingSafeEqual(a, b),
};
