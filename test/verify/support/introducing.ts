/**
 * Accounts that introduce each other: Alice has verified Bob and Carol, and what they say can be made by hand.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach } from 'vitest';
import { parseAci, type Aci } from '../../../src/address.ts';
import { copy, type Bytes } from '../../../src/bytes.ts';
import type { RunBundle } from '../../../src/trust.ts';
import type { GivenLine } from '../../../plugins/verify/introductions/listing.ts';
import type { IntroductionOptions } from '../../../plugins/verify/introductions/plugin.ts';
import { encodeStatement, type Statement } from '../../../plugins/verify/introductions/statement.ts';
import { makeRunPrekeys } from '../../../plugins/verify/session/run-prekeys.ts';
import { ManualClock, settle } from '../../support/clock.ts';
import { DAY, Member, T0, verifyEachOther } from './member.ts';
import { random } from './party.ts';

export interface Scene {
  readonly clock: ManualClock;
  readonly alice: Member;
  readonly bob: Member;
  readonly carol: Member;
}

export const running: Member[] = [];

afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});

export async function member(clock: ManualClock, options?: IntroductionOptions, aci?: Aci): Promise<Member> {
  const made = await Member.make(clock, options, aci === undefined ? {} : { aci });
  made.start();
  running.push(made);
  await settle();
  return made;
}

/** Alice has verified Bob, who agrees to be introduced, and Carol; both have verified her. */
export async function scene(options?: IntroductionOptions): Promise<Scene> {
  const clock = new ManualClock(T0);
  const [alice, bob, carol] = [await member(clock), await member(clock), await member(clock, options)];
  await verifyEachOther(alice, bob, carol);
  return { clock, alice, bob, carol };
}

export async function introduce(
  by: Member,
  subject: Member,
  to: readonly Member[],
  input: object = {},
): Promise<GivenLine[]> {
  const done = await by.act<{ introductions: GivenLine[] }>('introduce', {
    contact: subject,
    contacts: [...to],
    input,
  });
  return done.introductions;
}

/** The statement that was given last, as it went. */
export async function payloadOf(by: Member): Promise<Bytes> {
  const letter = (await by.sent()).at(-1);
  if (letter === undefined) throw new Error('nothing was sent');
  return letter.payload;
}

/** A statement of a member's own making. */
export function made(by: Member, change: Partial<Statement>, isUnsigned = false): Bytes {
  const { own } = by.host.trust;
  const now = by.clock.now();
  const statement: Statement = {
    ...{ kind: 'introduction', id: copy(randomBytes(16)), introducer: by.aci, introducerKey: by.key },
    ...{ subject: parseAci(randomUUID()), subjectKey: by.key, method: 'pake', verifiedAt: now - (now % DAY) },
    ...{
      issuedAt: now,
      notAfter: now + DAY,
      audience: { kind: 'aci', aci: by.aci },
      depth: 0,
      bundle: undefined,
    },
    ...change,
  };
  return encodeStatement(statement, isUnsigned ? undefined : own);
}

export function about(subject: Member, to: Member, key = subject.key): Partial<Statement> {
  return { subject: subject.aci, subjectKey: key, audience: { kind: 'aci', aci: to.aci } };
}

/** Prekeys of a member's, made for an introduction. */
export function handed(by: Member): RunBundle {
  const { own } = by.host.trust;
  const { deviceId: device, registrationId } = own;
  const signPrekey = (key: Bytes): Bytes => own.signPrekey(key);
  return makeRunPrekeys({ device, registrationId, signPrekey }, random, T0).bundle;
}
