/**
 * Issuing: what we say of a contact to others, and taking it back.
 *
 * The subject agrees first (V-36): in the run that verified them (flag bit 0 of their payload), or, where no run has asked,
 * by telling the operator. Whoever gets a statement must be verified themselves, for it tells them who knows whom.
 * When the key of a contact changes, what we have said of it is taken back in the same batch (section 9).
 * Spec: verification brief, section 10, V-36 and V-39.
 */
import {
  BotError,
  type Aci,
  type Bytes,
  type ContactIdentity,
  type OwnKey,
  type Random,
  type Transaction,
} from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';
import { MAX_SUBJECTS } from './acceptance.ts';
import { proofsOfPin } from './proofs.ts';
import { allGiven, deleteGiven, givenOf, idOf, putGiven, type Given } from './rows.ts';
import {
  DAY_MS,
  decodeStatement,
  encodeStatement,
  ID_BYTES,
  type Audience,
  type Method,
  type Statement,
} from './statement.ts';
import { INTRODUCTION } from './tag.ts';

export interface IssuingParts {
  readonly own: OwnKey;
  readonly now: () => number;
  readonly random: Random;
  /** We are a key directory: who is to believe us for more than 50 contacts has to say so as well (V-35). */
  readonly isDirectory: boolean;
}

export interface IssueRequest {
  readonly subject: Aci;
  /** Each gets a statement of their own; or all the same one, for `group`. */
  readonly to: readonly Aci[];
  /** 32 bytes: the statement is for whoever is in this group together with us. */
  readonly group?: Bytes;
  /** 1..90 */
  readonly days: number;
  /** The operator has asked the contact; counts only where no run has. */
  readonly hasAgreed: boolean;
  /** No signature: believed only in a session with us, and no proof towards others that we know the subject. */
  readonly isUnsigned: boolean;
}

export class Issuing {
  readonly #parts: IssuingParts;

  constructor(parts: IssuingParts) {
    this.#parts = parts;
  }

  /**
   * Signs, notes and sends.
   * @returns what was given, in the order of `to`; one for a group
   * @throws BotError `PEER_UNVERIFIED` when the subject or a recipient is not verified; `INTRODUCTION_INVALID` when the
   *   subject has not agreed, was only imported, is one of the recipients or ourselves, or is one more than 50
   */
  async issue(tx: Transaction, request: IssueRequest): Promise<Given[]> {
    const { own, now } = this.#parts;
    const { subject, to, group } = request;
    if ([subject, ...to].includes(own.aci) || to.includes(subject))
      throw invalid('a contact is introduced to another one, and neither is this account');
    const contact = await verified(tx, subject);
    const proven = provenBy(contact, request.hasAgreed);
    for (const aci of to) await verified(tx, aci);
    await this.#checkSubjects(tx, subject);
    const issuedAt = now();
    const common = {
      ...({ kind: 'introduction', introducer: own.aci, introducerKey: own.identityKey, subject } as const),
      ...{ subjectKey: contact.pin, method: proven.method, issuedAt, depth: 0 },
      verifiedAt: proven.at - (proven.at % DAY_MS),
      notAfter: issuedAt + request.days * DAY_MS,
    };
    const audiences: { audience: Audience; to: readonly Aci[] }[] =
      group === undefined
        ? to.map((aci) => ({ audience: { kind: 'aci', aci }, to: [aci] }))
        : [{ audience: { kind: 'group', id: group }, to }];
    const given: Given[] = [];
    for (const { audience, to: recipients } of audiences) {
      const id = this.#parts.random.bytes(ID_BYTES);
      const statement = { ...common, id, audience, bundle: undefined };
      given.push(await this.#give(tx, statement, recipients, request.isUnsigned));
    }
    return given;
  }

  /** Takes a statement back, towards everybody who has got it. */
  async revoke(tx: Transaction, given: Given): Promise<void> {
    const { own, now } = this.#parts;
    const { statement, signature } = given.signed;
    const revokedAt = now();
    if (given.revokedAt !== undefined || statement.notAfter <= revokedAt) return;
    const bytes = encodeStatement(
      { ...statement, kind: 'revocation', issuedAt: revokedAt, bundle: undefined },
      signature === undefined ? undefined : own,
    );
    for (const aci of given.to) tx.send(aci, { tag: INTRODUCTION.tag, payload: bytes });
    await putGiven(tx.state, { ...given, revokedAt });
  }

  /** What we have said of a contact holds only as long as they are verified with the key that we have named. */
  async revokeStale(tx: Transaction, subject: Aci): Promise<void> {
    const given = (await givenOf(tx.state, subject)).filter(({ revokedAt }) => revokedAt === undefined);
    if (given.length === 0) return;
    const { state, pin } = await tx.trust.identities.get(subject);
    for (const one of given) {
      if (state !== 'verified' || !isSame(pin, one.signed.statement.subjectKey)) await this.revoke(tx, one);
    }
  }

  /** Forgets what has expired. @returns when the next one does, ms; undefined where nothing is left */
  async expire(tx: Transaction): Promise<number | undefined> {
    let next: number | undefined;
    for (const given of await allGiven(tx.state)) {
      const { notAfter } = given.signed.statement;
      if (notAfter <= this.#parts.now()) await deleteGiven(tx.state, given);
      else next = Math.min(next ?? notAfter, notAfter);
    }
    return next;
  }

  async #give(
    tx: Transaction,
    statement: Statement,
    to: readonly Aci[],
    isUnsigned: boolean,
  ): Promise<Given> {
    const bytes = encodeStatement(statement, isUnsigned ? undefined : this.#parts.own);
    const signed = decodeStatement(bytes);
    if (signed === undefined) throw invalid('this is no statement');
    const given: Given = { signed, bytes, to, revokedAt: undefined };
    await putGiven(tx.state, given);
    for (const aci of to) tx.send(aci, { tag: INTRODUCTION.tag, payload: bytes }, { policy: 'verified' });
    return given;
  }

  /** Who is told of more than 50 does not use the rest (V-35). */
  async #checkSubjects(tx: Transaction, subject: Aci): Promise<void> {
    if (this.#parts.isDirectory) return;
    const now = this.#parts.now();
    const good = (await allGiven(tx.state)).filter(
      ({ signed, revokedAt }) => revokedAt === undefined && signed.statement.notAfter > now,
    );
    const subjects = new Set(good.map(({ signed }) => signed.statement.subject));
    if (!subjects.has(subject) && subjects.size >= MAX_SUBJECTS)
      throw invalid(`you vouch for ${String(MAX_SUBJECTS)} contacts already, and more are not believed`);
  }
}

/** @throws BotError `ROW_UNKNOWN` */
export async function findGiven(tx: Transaction, id: string): Promise<Given> {
  const wanted = id.trim().toLowerCase();
  const found = (await allGiven(tx.state)).find(({ signed }) => idOf(signed) === wanted);
  if (found === undefined) throw new BotError('ROW_UNKNOWN', `you have given no introduction ${id}`);
  return found;
}

async function verified(tx: Transaction, aci: Aci): Promise<ContactIdentity & { readonly pin: Bytes }> {
  const contact = await tx.trust.identities.get(aci);
  const { state, pin } = contact;
  if (state === 'verified' && pin !== undefined) return { ...contact, pin };
  throw new BotError(
    'PEER_UNVERIFIED',
    `${aci} is ${state}: who is introduced, and to whom, is verified first`,
    {
      next: `Verify them: countersign verify start ${aci}`,
    },
  );
}

/** By what, and when; the subject's own word on it goes before what the operator was told. */
function provenBy(contact: ContactIdentity, hasAgreed: boolean): { method: Method; at: number } {
  const proofs = proofsOfPin(contact);
  const run = proofs.find((proof) => proof.kind === 'pake');
  checkWord(run?.mayBeIntroduced, hasAgreed);
  if (run !== undefined) return { method: 'pake', at: run.at };
  const number = proofs.find((proof) => proof.kind === 'safety-number');
  if (number !== undefined) return { method: 'safety-number', at: number.at };
  throw invalid('you have not verified the contact yourself: the key was imported', {
    next: 'Compare safety numbers, or run a verification.',
  });
}

/** @param word what a run has told; undefined where none has */
function checkWord(word: boolean | undefined, hasAgreed: boolean): void {
  if (word === false)
    throw invalid('the contact does not agree to be introduced', {
      next: 'They set "mayBeIntroduced" in the configuration of verify, and you verify each other again.',
    });
  if (word === undefined && !hasAgreed)
    throw invalid('the contact was not asked yet: no run with them has said whether they agree', {
      next: 'Ask them, then run it again with --agreed.',
    });
}

function invalid(message: string, options: { readonly next?: string } = {}): BotError {
  return new BotError('INTRODUCTION_INVALID', message, options);
}
