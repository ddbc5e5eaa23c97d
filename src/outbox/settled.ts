/**
 * Settled: how an attempt to deliver a row can end, and the reasons that end one from within.
 */
import type { ServiceId } from '../address.ts';
import { maxContent } from '../content/app-message.ts';
import { BotError, type ErrorCode } from '../errors.ts';
import type { OutboxRow } from '../store/rows.ts';

/** A server that wants a newer client is asked again once an hour. */
const OUTDATED_MS = 3_600_000;

/** The end of one attempt. */
export type Result =
  | {
      readonly kind: 'delivered';
      readonly devices: readonly number[];
      readonly sealed: boolean;
      readonly needsSync: boolean;
    }
  /** Our own pace: nothing was tried. */
  | { readonly kind: 'paced'; readonly delayMs: number }
  /** Tried again later; `retryAt` (ms) where the server named a time. */
  | { readonly kind: 'later'; readonly error: BotError }
  /** Waits for the contact to be trusted. */
  | { readonly kind: 'held'; readonly error: BotError }
  | { readonly kind: 'failed'; readonly error: BotError };

/** Ends an attempt from within; `deliver` turns it into its result. */
export class Settled extends Error {
  readonly result: Result;

  constructor(result: Result) {
    super(result.kind);
    this.result = result;
  }
}

export function settled(
  kind: 'later' | 'failed',
  code: ErrorCode,
  message: string,
  retryAt?: number,
): Settled {
  return new Settled({ kind, error: new BotError(code, message, retryAt === undefined ? {} : { retryAt }) });
}

/** A server that calls us outdated will take the same message from a newer version. */
export function refused(status: number, what: string, now: number): Settled {
  if (status === 498 || status === 499) {
    return settled(
      'later',
      'CLIENT_OUTDATED',
      `the server refuses ${what}: it wants a newer client`,
      now + OUTDATED_MS,
    );
  }
  return settled('failed', 'REQUEST_REFUSED', `the server refuses ${what} with ${String(status)}`);
}

/** The server has taken it for the device list that it holds: whoever it was meant for is not on that list. */
export function forNobody({ recipient, devices, tag }: OutboxRow): Settled {
  if (devices.length > 0) {
    return settled('failed', 'RECIPIENT_UNKNOWN', `${recipient} has no device ${devices.join(', ')}`);
  }
  return settled('failed', 'RECIPIENT_LACKS_PLUGIN', `no device of ${recipient} handles ${tag}`);
}

/** @throws Settled `PAYLOAD_TOO_LARGE` with the figure */
export function checkSize(length: number, devices: number): void {
  const limit = maxContent(devices);
  if (length <= limit) return;
  const message = `the message has ${String(length)} bytes; at most ${String(limit)} fit for ${String(devices)} devices`;
  throw settled('failed', 'PAYLOAD_TOO_LARGE', message);
}

export function unregistered(recipient: ServiceId): Settled {
  return settled('failed', 'RECIPIENT_UNREGISTERED', `the server knows no account ${recipient}`);
}
