/**
 * How a connection ended, and what that means: one pure table (protocol brief, 1.8).
 */
import type { BotErrorOptions } from '../errors.ts';
import { BotError } from '../errors.ts';

/** How a websocket closed. 1006 = without a closing handshake. */
export interface CloseInfo {
  readonly code: number;
  readonly reason: string;
  /** Who began it. */
  readonly by: 'us' | 'them';
}

/** Why we closed or lost the socket ourselves, or what kind of answer was still out. */
export type Circumstance =
  /** The server closed while a keepalive waited for its answer: with 1000 that says that we were deaf. */
  | 'keepalive-pending'
  /** A keepalive was not answered in time. */
  | 'dead'
  /** `restart()`, or the regular replacement of an anonymous socket. */
  | 'replaced'
  /** A delivery could not be acknowledged. */
  | 'abandoned'
  | 'none';

/** How one attempt to be connected ended. */
export type Ending =
  | { readonly kind: 'closed'; readonly close: CloseInfo; readonly circumstance: Circumstance }
  | { readonly kind: 'not-opened'; readonly error: BotError };

/** What to do next. */
export type Verdict =
  | { readonly kind: 'at-once' }
  /** After a short delay, of so many ms at least; a longer one when it happens again and again. */
  | { readonly kind: 'soon'; readonly leastMs?: number }
  | { readonly kind: 'backoff'; readonly error: BotError }
  | { readonly kind: 'stop'; readonly error: BotError };

export interface Judgement {
  readonly verdict: Verdict;
  /** The server has said once that these credentials are no good; the next connection confirms or clears it. */
  readonly suspected: boolean;
}

/**
 * ms from 4401 to the next attempt. When an account is registered again, the servers say so before they take the old
 * credentials away, and a socket that is opened in between stays open, deaf (seen in the sources of all generations).
 */
const TAKE_OVER_MS = 1_000;

/**
 * @param suspected what the last judgement said; false again once a keepalive has been answered
 * @param authenticated whether the socket carried credentials
 */
export function judge(ending: Ending, suspected: boolean, authenticated: boolean): Judgement {
  if (ending.kind === 'not-opened') return judgeFailure(ending.error, suspected);
  const { close, circumstance } = ending;
  if (close.code >= 3000) return judgeCode(close, false, suspected, authenticated); // said by the server, whatever we did
  if (circumstance === 'dead') return keep(suspected, backoff('the server did not answer a keepalive'));
  if (circumstance === 'replaced') return keep(suspected, { kind: 'at-once' });
  if (circumstance === 'abandoned') return keep(suspected, { kind: 'soon' });
  return judgeCode(close, circumstance === 'keepalive-pending', suspected, authenticated);
}

function judgeCode(close: CloseInfo, asked: boolean, suspected: boolean, authenticated: boolean): Judgement {
  switch (close.code) {
    case 1000:
      return keep(suspected, asked ? { kind: 'at-once' } : { kind: 'soon' });
    case 4401: // removed, or the credentials changed: the next upgrade tells which
      return {
        suspected: authenticated,
        verdict: suspected || !authenticated ? backoff(text(close)) : { kind: 'soon', leastMs: TAKE_OVER_MS },
      };
    case 3000: // the mock's way to refuse credentials
      if (!authenticated) return keep(suspected, backoff(text(close)));
      return judgeFailure(
        unlinked('the server refused the credentials of this device (close code 3000)'),
        suspected,
      );
    case 4409:
      if (!authenticated) return keep(suspected, backoff(text(close))); // of no device
      // After 4401 it may be the account's new primary device, and our credentials be gone: the next upgrade tells.
      if (suspected) return { suspected, verdict: { kind: 'soon', leastMs: TAKE_OVER_MS } };
      return stop(
        new BotError(
          'CONNECTED_ELSEWHERE',
          'another connection with the credentials of this device was opened',
        ),
      );
    default:
      // Without the anonymous socket a bot goes on by the other one: it is no reason to stop.
      if (close.code >= 4000 && authenticated) {
        return stop(new BotError('REQUEST_REFUSED', `${text(close)}, which this version does not know`));
      }
      return keep(suspected, backoff(text(close)));
  }
}

/** Codes that a repeat within this run does not change stop it; a refusal of the credentials does so the second time. */
function judgeFailure(error: BotError, suspected: boolean): Judgement {
  switch (error.code) {
    case 'TLS_UNTRUSTED':
    case 'REQUEST_REFUSED':
    case 'PROFILE_INVALID':
      return stop(error);
    case 'DEVICE_UNLINKED':
    case 'CLIENT_OUTDATED':
      return suspected ? stop(error) : { suspected: true, verdict: { kind: 'soon' } };
    default:
      return keep(suspected, { kind: 'backoff', error });
  }
}

/**
 * A refused upgrade as an error.
 * @param retryAt ms since 1970, when the server said so
 */
export function upgradeError(status: number, authenticated: boolean, retryAt?: number): BotError {
  const options: BotErrorOptions = retryAt === undefined ? {} : { retryAt };
  if (status === 403 && authenticated)
    return unlinked('the server refused the credentials of this device (403)');
  if (status === 499)
    return new BotError('CLIENT_OUTDATED', 'the server says that this client is too old (499)');
  if (status === 508) return new BotError('REQUEST_REFUSED', 'the server wants no further attempts (508)');
  if (status === 429)
    return new BotError('RATE_LIMITED', 'the server takes no more connections for now (429)', options);
  if (status < 500)
    options.next = 'Does the address in the profile name a Signal-compatible server, and nothing in between?';
  return new BotError(
    'SERVER_UNREACHABLE',
    `the server answered ${String(status)} in place of a websocket`,
    options,
  );
}

function unlinked(what: string): BotError {
  return new BotError('DEVICE_UNLINKED', `${what}: this device is not linked any more; its data was kept`);
}

function text(close: CloseInfo): string {
  if (close.code === 1006) return 'the connection was lost';
  const who = close.by === 'us' ? 'this side' : 'the server';
  return `${who} closed the connection with code ${String(close.code)}`;
}

function keep(suspected: boolean, verdict: Verdict): Judgement {
  return { suspected, verdict };
}

function stop(error: BotError): Judgement {
  return { suspected: false, verdict: { kind: 'stop', error } };
}

function backoff(what: string): Verdict {
  return { kind: 'backoff', error: new BotError('SERVER_UNREACHABLE', what) };
}
