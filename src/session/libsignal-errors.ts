/**
 * libsignal's errors: which one it is, and what usually lies behind it.
 */
import { LibSignalErrorBase, type ErrorCode } from '@signalapp/libsignal-client';
import { describe } from '../errors.ts';

export function isLibsignal(error: unknown, code: ErrorCode): boolean {
  return error instanceof LibSignalErrorBase && error.code === code;
}

/** libsignal's sentence, and what usually lies behind it. */
export function likelyReason(error: unknown): string {
  const text = describe(error);
  if (/no \w+ prekey/.test(text)) return `${text}: it was built on a key that was used or replaced before`;
  if (/session with .* not found/.test(text))
    return 'there is no session with the sender: one side has lost its data';
  if (/decryption failed|MAC/i.test(text)) {
    return `${text}: the session is out of step, or the sender uses a libsignal from before 2025`;
  }
  return text;
}
