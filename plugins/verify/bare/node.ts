/**
 * Verify over a bare transport, in Node: the run ends in a ratchet session, or, when the other side is a page, in texts
 * under the keys of the run.
 *
 * ```ts
 * const peer = await verifyBare(overWebSocket(socket), { create: (code) => console.log(code) });
 * await peer.send('hello');
 * for await (const text of peer.texts()) console.log(text);
 * ```
 */
import { IdentityKeyPair } from '@signalapp/libsignal-client';
import type { Socket } from 'node:net';
import { BotError, systemPlatform, type Clock, type Random } from '../../../src/index.ts';
import type { Env } from '../machine/step.ts';
import { nodePrimitives } from '../math/node.ts';
import { BareSession } from '../session/bare-session.ts';
import { overSocket as overStream } from './streams.ts';
import type { Duplex } from './duplex.ts';
import type { Failure } from '../failure.ts';
import { MemoryGuesses, MemoryLedger } from './ledger.ts';
import type { BarePeer } from './peer.ts';
import type { TextCipher } from './texts.ts';
import { occasionalOwn, verifyOver, type Side, type VerifyOptions } from './verify.ts';

export type { Duplex } from './duplex.ts';
export type { BarePeer } from './peer.ts';
export type { VerifyOptions } from './verify.ts';
export { overWebSocket, type WebSocketLike } from './websocket.ts';

export const ENV: Env = { primitives: nodePrimitives, maxProfile: 2 };

/**
 * Runs once over this duplex, with an identity made for it.
 * @throws BotError `CODE_REJECTED`, `CODE_EXPIRED`, `CODE_MISTYPED`, `PEER_GONE`, `CONTENT_INVALID`, `VERIFY_SUPERSEDED`,
 *   `VERIFY_UNSUPPORTED`, `VERIFY_LOCKED`, `USAGE`; the reason of an abort
 */
export function verifyBare(duplex: Duplex, options: VerifyOptions): Promise<BarePeer> {
  const { clock, random } = systemPlatform();
  return verifyOver(duplex, occasionalSide(clock, random), options);
}

/** A TCP or TLS socket that is connected. */
export function overSocket(socket: Socket): Duplex {
  return overStream(socket, systemPlatform().clock);
}

/** @param env tests bring one whose scrypt is cheap @param guesses what several runs share */
export function occasionalSide(
  clock: Clock,
  random: Random,
  env: Env = ENV,
  guesses = new MemoryGuesses(random),
): Side {
  const identity = IdentityKeyPair.generate();
  const own = occasionalOwn(random, identity.publicKey.serialize());
  const { aci, device, registrationId } = own;
  const session = new BareSession({
    ...{ party: { aci, device }, registrationId, identity: identity.privateKey, random },
    now: () => clock.now(),
  });
  const ledger = new MemoryLedger(session, guesses);
  return { env, own, ledger, session: inSession(session), clock, random, toError };
}

/** What is wrong, as the rest of the program says it. */
export function toError({ code, message, retryAt, next }: Failure): BotError {
  return new BotError(code, message, {
    ...(retryAt === undefined ? {} : { retryAt }),
    ...(next === undefined ? {} : { next }),
  });
}

/** A ratchet message is bound to its session, and the session to the run; the frame's head says nothing that counts. */
function inSession(session: BareSession): TextCipher {
  return {
    seal: async (_, plaintext) => (await session.seal(plaintext)).bytes,
    open: (_, body) => session.open({ kind: 'message', bytes: body }),
  };
}
