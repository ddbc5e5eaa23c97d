/**
 * Verify a number: session, captcha, code. Each step that a person has to take is remembered, so that a later call goes on
 * with it: a code that was sent is not sent again, unless it is asked for another way.
 * Spec: protocol brief, section 14, steps 1 to 4.
 */
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import {
  giveCaptcha,
  openVerification,
  readVerification,
  requestCode,
  submitCode,
  type VerificationOutcome,
  type VerificationSession,
} from '../service/verification.ts';
import type { Requester } from '../transport/request.ts';

/** Who is asked. Undefined: there is no answer to be had. */
export interface Questions {
  /** `prefix.sitekey.action.token` */
  captcha(): Promise<string | undefined>;
  /** As sent to the number. @param again the one before was wrong */
  code(again: boolean): Promise<string | undefined>;
}

export interface VerifyParts {
  /** Anonymous. */
  readonly requester: Requester;
  readonly clock: Clock;
  readonly questions: Questions;
  /** Undefined: as the code went that was sent last. */
  readonly transport: CodeTransport | undefined;
  /** The code that was sent before is lost: another one is sent. */
  readonly newCode: boolean;
  /** Keeps how far it has come. */
  readonly note: (progress: Begun & { readonly sessionId: string }) => Promise<unknown>;
}

export type CodeTransport = 'sms' | 'voice';

/** How far an earlier call has come. */
export interface Begun {
  readonly sessionId: string | null;
  readonly codeRequested: boolean;
  readonly codeTransport: CodeTransport;
}

/** Codes that are taken in one call; the server has a bound of its own, which may be wider. */
const MAX_CODES = 10;

/**
 * @param begun what an earlier call has noted
 * @returns id of a session that is verified
 * @throws BotError `CAPTCHA_NEEDED`, `CAPTCHA_REFUSED`, `CODE_NEEDED`, `CODE_WRONG`, `REGISTRATION_REFUSED` (the number),
 *   `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_REFUSED`, and as `Requester.request`
 */
export async function verifyNumber(parts: VerifyParts, number: string, begun: Begun): Promise<string> {
  const { note } = parts;
  const transport = parts.transport ?? begun.codeTransport;
  let session = begun.sessionId === null ? undefined : await takeUp(parts, begun.sessionId);
  let codeRequested = begun.codeRequested && !parts.newCode && begun.codeTransport === transport;
  if (session === undefined) {
    session = read(parts, await openVerification(parts.requester, number), 'the number');
    codeRequested = false;
    await note({ sessionId: session.id, codeRequested, codeTransport: transport });
  }
  const { id } = session;
  if (session.verified) return id;
  if (!session.allowedToRequestCode && !codeRequested) await passCaptcha(parts, session);
  if (!codeRequested) {
    const outcome = await requestCode(parts.requester, id, transport);
    if (outcome.kind === 'conflict' && outcome.session?.verified === true) return id;
    read(parts, outcome, 'the request for a code');
    await note({ sessionId: id, codeRequested: true, codeTransport: transport });
  }
  await enterCode(parts, id, transport);
  return id;
}

/** The session of an earlier call, unless the server has forgotten it. */
async function takeUp(parts: VerifyParts, id: string): Promise<VerificationSession | undefined> {
  const outcome = await readVerification(parts.requester, id);
  if (outcome.kind === 'unknown' || outcome.kind === 'invalid') return undefined;
  return read(parts, outcome, 'the verification');
}

async function passCaptcha(
  { requester, questions, clock }: VerifyParts,
  session: VerificationSession,
): Promise<void> {
  const captcha = await questions.captcha();
  if (captcha === undefined) {
    const wanted = session.requestedInformation.join(', ') || 'a captcha';
    throw new BotError('CAPTCHA_NEEDED', `before it sends a code, the server asks for: ${wanted}`);
  }
  const outcome = await giveCaptcha(requester, session.id, captcha.trim().replace(/^signalcaptcha:\/\//, ''));
  if (outcome.kind === 'invalid')
    throw new BotError('CAPTCHA_REFUSED', 'the server does not take this captcha');
  const { allowedToRequestCode } = read({ clock }, outcome, 'the captcha');
  if (!allowedToRequestCode) {
    throw new BotError('CAPTCHA_REFUSED', 'the server took the captcha, and still sends no code');
  }
}

async function enterCode(parts: VerifyParts, id: string, transport: CodeTransport): Promise<void> {
  const { requester, questions, note } = parts;
  for (let tries = 0; ; tries++) {
    const code = tries < MAX_CODES ? await questions.code(tries > 0) : undefined;
    if (code === undefined) {
      throw tries === 0
        ? new BotError('CODE_NEEDED', 'the server has sent a code to the number')
        : new BotError('CODE_WRONG', 'this is not the code that was sent');
    }
    const outcome = await submitCode(requester, id, code.replace(/[\s-]/g, ''));
    if (outcome.kind === 'conflict' && outcome.session?.verified === true) return;
    if (outcome.kind === 'conflict') {
      // No code is open on the server: it was never sent, is too old, or was tried too often.
      await note({ sessionId: id, codeRequested: false, codeTransport: transport });
      throw new BotError(
        'CODE_NEEDED',
        'the server waits for no code: the one that was sent is not valid any more',
        {
          next: 'Run it again: a new code is sent.',
        },
      );
    }
    if (outcome.kind === 'invalid') continue;
    if (read(parts, outcome, 'the code').verified) return;
  }
}

function read(
  { clock }: { readonly clock: Clock },
  outcome: VerificationOutcome,
  what: string,
): VerificationSession {
  switch (outcome.kind) {
    case 'session':
      return outcome.session;
    case 'unknown':
      throw new BotError('CODE_NEEDED', 'the server has forgotten this verification', {
        next: 'Run it again: a new code is sent.',
      });
    case 'conflict':
      throw new BotError('CAPTCHA_NEEDED', `the server is not ready for ${what}: it wants a captcha first`);
    case 'invalid':
      throw new BotError('REGISTRATION_REFUSED', `the server refused ${what} with ${String(outcome.status)}`);
    case 'rate-limited':
      throw new BotError('RATE_LIMITED', `the server asks to wait before ${what}`, {
        retryAt: clock.now() + outcome.retryAfterMs,
        next: 'Wait until the time given, then run it again: what was begun is taken up.',
      });
    case 'unavailable':
      throw new BotError('SERVER_UNREACHABLE', `the server answered ${String(outcome.status)} to ${what}`);
    case 'unauthorized':
    case 'refused':
      throw new BotError('REQUEST_REFUSED', `the server refused ${what}`);
  }
}
