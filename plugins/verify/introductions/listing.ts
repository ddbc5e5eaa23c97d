/**
 * Listing: introductions as an operator sees them. An introduced contact is shown with the chain behind it, and never
 * with a mark that a verified one could have (V-38).
 */
import type { Aci, ContactIdentity, Transaction } from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';
import { weightOf } from './acceptance.ts';
import { isGood } from './book.ts';
import { verifiedAt } from './proofs.ts';
import { allGiven, allGot, idOf, type Given, type Got } from './rows.ts';
import type { Audience, Method, Statement } from './statement.ts';

/**
 * - `used`: the contact is trusted for it, among other reasons perhaps
 * - `waiting`: it counts, and more introducers have to say the same
 * - `shown`: the introducer is introduced themselves
 * - `suspended`: the introducer is not verified with that key now
 * - `conflict`: another key of the contact is known
 */
export type GotState = 'used' | 'waiting' | 'shown' | 'suspended' | 'conflict' | 'revoked' | 'expired';

interface Line {
  /** 32 hex digits; counts per introducer. */
  readonly id: string;
  readonly subject: Aci;
  /** Base64, 33 bytes. */
  readonly identityKey: string;
  readonly method: Method;
  /** All times in ms. */
  readonly verifiedAt: number;
  readonly issuedAt: number;
  readonly notAfter: number;
}

export interface GotLine extends Line {
  readonly introducer: Aci;
  /** When we verified the introducer; null while they are not. */
  readonly introducerVerifiedAt: number | null;
  readonly state: GotState;
  /** In words. */
  readonly chain: string;
}

export interface GivenLine extends Line {
  readonly to: readonly Aci[];
  /** The group that it is for, 32 bytes in hex; null when it is for one contact. */
  readonly group: string | null;
  readonly state: 'given' | 'revoked' | 'expired';
}

export interface Introductions {
  readonly received: readonly GotLine[];
  readonly issued: readonly GivenLine[];
}

export async function listIntroductions(tx: Transaction, now: number): Promise<Introductions> {
  const received: GotLine[] = [];
  for (const got of await allGot(tx.state)) {
    if (got.signed.statement.kind === 'introduction') received.push(await gotLine(tx, got, now));
  }
  const issued = (await allGiven(tx.state)).map((given) => givenLine(given, now));
  return { received: received.sort(byTime), issued: issued.sort(byTime) };
}

/**
 * "BOB, introduced by ALICE (you verified ALICE on 2026-05-03; they verified BOB on 2026-06-01)", with the name beside the
 * ACI, and then in its place, where the account knows one. Days are in UTC.
 */
export async function chainOf(tx: Transaction, statement: Statement): Promise<string> {
  const introducer = await tx.trust.identities.get(statement.introducer);
  const [subject, by] = [await labelOf(tx, statement.subject), await labelOf(tx, statement.introducer)];
  const ours = verifiedAt(introducer);
  const link =
    ours === undefined ? `${by.short} is ${introducer.state}` : `you verified ${by.short} on ${dayOf(ours)}`;
  const theirs = dayOf(statement.verifiedAt);
  return `${subject.whole}, introduced by ${by.whole} (${link}; they verified ${subject.short} on ${theirs})`;
}

/** How a contact is called in a line: names are no proof of anything, so the ACI is there at least once. */
export async function labelOf(tx: Transaction, aci: Aci): Promise<{ whole: string; short: string }> {
  const name = (await tx.trust.identities.name(aci))?.replace(/\s+/gu, ' ');
  return name === undefined ? { whole: aci, short: aci } : { whole: `${name} (${aci})`, short: name };
}

export function givenLine({ signed, to, revokedAt }: Given, now: number): GivenLine {
  const { statement } = signed;
  const group = groupOf(statement.audience);
  const state = revokedAt === undefined ? (statement.notAfter > now ? 'given' : 'expired') : 'revoked';
  return { ...lineOf(idOf(signed), statement), to, group, state };
}

async function gotLine(tx: Transaction, got: Got, now: number): Promise<GotLine> {
  const { statement } = got.signed;
  const introducer = await tx.trust.identities.get(statement.introducer);
  const subject = await tx.trust.identities.get(statement.subject);
  return {
    ...lineOf(idOf(got.signed), statement),
    introducer: statement.introducer,
    introducerVerifiedAt: verifiedAt(introducer) ?? null,
    state: stateOf(got, introducer, subject, now),
    chain: await chainOf(tx, statement),
  };
}

function stateOf(got: Got, introducer: ContactIdentity, subject: ContactIdentity, now: number): GotState {
  const { statement } = got.signed;
  if (got.revokedAt !== undefined) return 'revoked';
  if (!isGood(got, now)) return 'expired';
  const weight = weightOf(statement, introducer);
  if (weight !== 'used') return weight === 'shown' ? 'shown' : 'suspended';
  if (subject.pin !== undefined && !isSame(subject.pin, statement.subjectKey)) return 'conflict';
  return subject.state === 'introduced' || subject.state === 'verified' ? 'used' : 'waiting';
}

function lineOf(id: string, statement: Statement): Line {
  const { subject, subjectKey, method, verifiedAt: at, issuedAt, notAfter } = statement;
  const identityKey = Buffer.from(subjectKey).toString('base64');
  return { id, subject, identityKey, method, verifiedAt: at, issuedAt, notAfter };
}

function groupOf(audience: Audience): string | null {
  return audience.kind === 'group' ? Buffer.from(audience.id).toString('hex') : null;
}

function byTime(a: Line, b: Line): number {
  return a.issuedAt - b.issuedAt;
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
