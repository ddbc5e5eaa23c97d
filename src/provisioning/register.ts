/**
 * Register: the one request that makes us a device, and what each answer to it means for the user.
 * Spec: protocol brief, section 2.5.
 */
import { BotError } from '../errors.ts';
import { CAPABILITIES, deviceLimit } from '../service/devices.ts';
import { linkDevice, type LinkOutcome } from '../service/link.ts';
import type { Requester } from '../transport/request.ts';
import type { LinkBody } from './link-body.ts';
import type { PendingLink, Registered } from './pending-link.ts';

/**
 * How the request ended: `unanswered` may or may not have made a device. So may one that was `refused`, where the refusal
 * is such as the same request meets again after it was carried out: something on the way may have sent it twice.
 */
export type Registration =
  | { readonly kind: 'registered'; readonly registered: Registered }
  | { readonly kind: 'refused'; readonly error: BotError; readonly mayBeRepeat: boolean }
  | { readonly kind: 'unanswered'; readonly error: BotError };

/**
 * Sends the request once; its code is single use.
 * @param requester an anonymous connection
 * @throws the signal's reason, which counts as unanswered
 */
export async function registerDevice(
  requester: Requester,
  pending: PendingLink,
  body: LinkBody,
  now: () => number,
): Promise<Registration> {
  let outcome: LinkOutcome;
  try {
    outcome = await linkDevice(requester, { aci: pending.aci, password: pending.password, body });
  } catch (error) {
    if (error instanceof BotError) return { kind: 'unanswered', error: unanswered(error.message, error) };
    throw error;
  }
  if (outcome.kind === 'linked') {
    const { deviceId, pni } = outcome;
    return { kind: 'registered', registered: { deviceId, pni: pni ?? null, number: pending.number } };
  }
  if (outcome.kind === 'unavailable') {
    return { kind: 'unanswered', error: unanswered(`the server answered ${String(outcome.status)}`) };
  }
  const mayBeRepeat = outcome.kind !== 'capability' && outcome.kind !== 'invalid';
  return { kind: 'refused', error: refusal(outcome, now()), mayBeRepeat };
}

type Refusal = Exclude<LinkOutcome, { kind: 'linked' | 'unavailable' }>;

function refusal(outcome: Refusal, now: number): BotError {
  switch (outcome.kind) {
    case 'expired':
      return new BotError('LINK_EXPIRED', 'the code of the phone was too old, or had been used', {
        next: 'Run link again and scan the new QR code; confirm on the phone within ten minutes.',
      });
    case 'capability': {
      const names = Object.keys(CAPABILITIES).join(', ');
      return new BotError(
        'LINK_CAPABILITY',
        `this server asks new devices for a capability that was not declared. It does not say which; declared were ${names}`,
      );
    }
    case 'limit':
      return deviceLimit(outcome);
    case 'rate-limited':
      return new BotError(
        'RATE_LIMITED',
        `too many attempts to link; wait ${durationText(outcome.retryAfterMs)}`,
        {
          retryAt: now + outcome.retryAfterMs,
          next: `Wait ${durationText(outcome.retryAfterMs)}, then run link again and scan a new QR code.`,
        },
      );
    case 'invalid':
      return new BotError(
        'LINK_FAILED',
        `the server refused the request to link with status ${String(outcome.status)}`,
      );
  }
}

/** In words, rounded up: `45 seconds`, `2 minutes`, `3 hours`. */
function durationText(ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  if (seconds < 120) return seconds === 1 ? '1 second' : `${String(seconds)} seconds`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${String(minutes)} minutes` : `${String(Math.ceil(minutes / 60))} hours`;
}

function unanswered(message: string, cause?: unknown): BotError {
  return new BotError('SERVER_UNREACHABLE', `it is not known whether the device was linked: ${message}`, {
    ...(cause === undefined ? {} : { cause }),
    next: 'Run link again: it finds out, and takes up what was begun. No second device is made.',
  });
}
