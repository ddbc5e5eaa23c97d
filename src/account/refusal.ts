/**
 * Refusal: what each answer to a registration means for the user.
 */
import { BotError } from '../errors.ts';
import type { RegistrationOutcome } from '../service/registration.ts';

type Refused = Exclude<RegistrationOutcome, { kind: 'registered' }>;

/** @param now ms */
export function refusal(outcome: Refused, now: number): BotError {
  switch (outcome.kind) {
    case 'unverified':
      return new BotError('CODE_NEEDED', 'the server does not count the number as verified any more', {
        next: 'Run register again: a new code is sent.',
      });
    case 'forbidden':
      return new BotError('REGISTRATION_REFUSED', 'the server does not allow this registration (403)', {
        next: 'Look at the server log: numbers or recovery passwords may be restricted.',
      });
    case 'transfer':
      return new BotError(
        'TRANSFER_POSSIBLE',
        'the number has an account that could be moved over from its phone',
      );
    case 'locked': {
      const { remainingMs } = outcome;
      const message = 'the account has a registration lock';
      if (remainingMs === undefined) return new BotError('REGISTRATION_LOCKED', message);
      return new BotError('REGISTRATION_LOCKED', message, { retryAt: now + remainingMs });
    }
    case 'totp':
      return new BotError('TOTP_NEEDED', 'the account asks for a one-time password');
    case 'capability':
      return new BotError(
        'CLIENT_OUTDATED',
        'this server asks primary devices for a capability that was not declared',
        {
          next: 'Update Countersign: this server asks for something that this version does not know.',
        },
      );
    case 'rate-limited':
      return new BotError('RATE_LIMITED', 'too many registrations', {
        retryAt: now + outcome.retryAfterMs,
        next: 'Wait until the time given, then run register again: what was begun is taken up.',
      });
    case 'challenge':
      return new BotError('CHALLENGE_REQUIRED', 'the server asks for another captcha', {
        next: 'Run register again with a new --captcha TOKEN: the number is verified anew.',
      });
    case 'invalid':
      return new BotError(
        'REGISTRATION_REFUSED',
        `the server refused the registration with status ${String(outcome.status)}`,
      );
    case 'unavailable':
      return new BotError(
        'SERVER_UNREACHABLE',
        `it is not known whether the account was registered: the server answered ${String(outcome.status)}`,
        { next: 'Run register again: it takes up what was begun.' },
      );
  }
}
