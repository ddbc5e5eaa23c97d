/**
 * Verify over a bare transport, in a page: noble and WebCrypto alone, profile 1, texts under the keys of the run. No
 * import of this file or below it needs Node.
 *
 * The identity key is a name that the run authenticates; nothing is done with its private half, which is not kept.
 */
import { x25519 } from '@noble/curves/ed25519.js';
import type { Env } from '../machine/step.ts';
import { pagePrimitives } from '../math/page.ts';
import { concat, u8 } from '../messages/wire.ts';
import { noSessions } from '../session/no-sessions.ts';
import type { Duplex } from './duplex.ts';
import type { Failure, FailureCode } from '../failure.ts';
import { pageClock, pageRandom } from './page-platform.ts';
import { MemoryGuesses, MemoryLedger } from './ledger.ts';
import type { BarePeer } from './peer.ts';
import { occasionalOwn, verifyOver, type Side, type VerifyOptions } from './verify.ts';

export type { Duplex } from './duplex.ts';
export type { BarePeer } from './peer.ts';
export type { VerifyOptions } from './verify.ts';
export { overWebSocket, type WebSocketLike } from './websocket.ts';

const ENV: Env = { primitives: pagePrimitives, maxProfile: 1 };
const DJB = 0x05;

/** What went wrong, with the code that the program's table has for it. */
export class VerifyError extends Error {
  readonly code: FailureCode;

  constructor({ code, message }: Failure) {
    super(message);
    this.name = 'VerifyError';
    this.code = code;
  }
}

/** @throws VerifyError with the codes of `verifyBare` in Node; the reason of an abort */
export function verifyBare(duplex: Duplex, options: Omit<VerifyOptions, 'profile'>): Promise<BarePeer> {
  return verifyOver(duplex, pageSide(), options);
}

/** @param env tests bring one whose scrypt is cheap */
export function pageSide(env: Env = ENV): Side {
  const publicKey = x25519.getPublicKey(x25519.utils.randomSecretKey());
  return {
    env,
    own: occasionalOwn(pageRandom, concat(u8(DJB), publicKey)),
    ledger: new MemoryLedger(noSessions, new MemoryGuesses(pageRandom)),
    session: undefined,
    clock: pageClock,
    random: pageRandom,
    toError: (failure) => new VerifyError(failure),
  };
}
