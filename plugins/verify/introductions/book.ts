/**
 * Book: the introductions that others have given us, and what follows from them for the state of contacts.
 *
 * A statement goes received -> used | shown | refused; one that is kept goes on to revoked or expired, and counts only
 * while its introducer is verified with the key that signed it: losing that suspends all of their statements at once,
 * and having it again ends the suspension. All of it is staged on the transaction that is handed in.
 * Spec: verification brief, section 10.
 */
import type { Aci, Bytes, Transaction } from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';
import { judge, judgeRevocation, weightOf, type Refusal, type View } from './acceptance.ts';
import { sourceOf, type Conflict } from './conflict.ts';
import { allGot, deleteGot, getGot, gotAbout, gotBy, idOf, putGot, type Got } from './rows.ts';
import { contradicts, settle, type Live } from './settlement.ts';
import { decodeStatement, type Signed, type Statement } from './statement.ts';

export interface BookParts {
  readonly own: Aci;
  readonly now: () => number;
  /** Introducers that must name the same key before a contact counts as introduced; 1 or more. */
  readonly needed: number;
  /**
   * Whether an account is in a group now; the group's id has 32 bytes. Asked when a statement for the group arrives, of
   * its introducer and of us.
   */
  readonly isMember: (group: Bytes, aci: Aci) => boolean | Promise<boolean>;
  /** Introducers who count for any number of contacts (V-35). */
  readonly directories: readonly Aci[];
}

/** What became of a statement. */
export type Receipt =
  | { readonly kind: 'used' | 'shown' | 'revoked'; readonly statement: Statement }
  /** It is here already. */
  | { readonly kind: 'known'; readonly statement: Statement }
  | Conflict
  /** `malformed`: not a statement; `reused`: the introducer has given this id to another statement before. */
  | { readonly kind: 'refused'; readonly reason: Refusal | 'malformed' | 'reused' };

/** Who handed us a statement, and the key of the session that it came in. */
export interface Bearer {
  readonly aci: Aci;
  readonly identityKey: Bytes | undefined;
}

/** Statements of one introducer about one contact; of more, the one that ends first goes. */
const MAX_PER_SUBJECT = 4;
/** Revocations of one introducer for statements that never came; likewise. */
const MAX_UNMATCHED = 100;

interface Counting extends Live {
  readonly got: Got;
}

export class Book {
  readonly #parts: BookParts;

  constructor(parts: BookParts) {
    this.#parts = parts;
  }

  /** Takes in a statement, whoever brings it. */
  async receive(tx: Transaction, bytes: Bytes, bearer: Bearer): Promise<Receipt> {
    const signed = decodeStatement(bytes);
    if (signed === undefined) return { kind: 'refused', reason: 'malformed' };
    const { kind, introducer } = signed.statement;
    const held = await getGot(tx.state, introducer, idOf(signed));
    const view = await this.#view(tx, signed, held, bearer);
    return kind === 'introduction'
      ? this.#introduce(tx, { signed, bytes, held, view })
      : this.#revoke(tx, { signed, bytes, held, view });
  }

  /** Brings the state of a contact in line with the introductions that count now. */
  async settle(tx: Transaction, subject: Aci): Promise<void> {
    const { identities } = tx.trust;
    const decision = settle(await identities.get(subject), await this.#live(tx, subject), this.#parts.needed);
    if (decision.kind === 'unintroduce') await identities.setState(subject, decision);
    if (decision.kind !== 'introduce') return;
    const [first] = decision.by;
    if (first === undefined) return;
    await this.#apply(tx, first);
    // Others that say the same are added one by one: the change itself may have led here again and added them.
    await this.settle(tx, subject);
  }

  /** The introducer's standing may have changed: settles everybody whom they have introduced. */
  async settleBy(tx: Transaction, introducer: Aci): Promise<void> {
    const subjects = (await gotBy(tx.state, introducer)).map(({ signed }) => signed.statement.subject);
    for (const subject of new Set(subjects)) await this.settle(tx, subject);
  }

  /** Forgets what has expired. @returns when the next one does, ms; undefined where nothing is left */
  async expire(tx: Transaction): Promise<number | undefined> {
    const now = this.#parts.now();
    let next: number | undefined;
    for (const got of await allGot(tx.state)) {
      if (got.until > now) {
        next = Math.min(next ?? got.until, got.until);
        continue;
      }
      await deleteGot(tx.state, got);
      await this.settle(tx, got.signed.statement.subject);
    }
    return next;
  }

  async #view(tx: Transaction, { statement }: Signed, held: Got | undefined, bearer: Bearer): Promise<View> {
    const { own, isMember } = this.#parts;
    const { introducer, subject, audience } = statement;
    const now = this.#parts.now();
    const others = (await gotBy(tx.state, introducer)).filter((got) => isGood(got, now));
    const isShared =
      audience.kind === 'group' &&
      (await isMember(audience.id, introducer)) &&
      (await isMember(audience.id, own));
    return {
      own,
      now,
      introducer: await tx.trust.identities.get(introducer),
      isShared,
      isRevoked: held?.revokedAt !== undefined,
      isHeld: held?.signed.statement.kind === 'introduction',
      otherSubjects: new Set(
        others.map(({ signed }) => signed.statement.subject).filter((aci) => aci !== subject),
      ).size,
      isDirectory: this.#parts.directories.includes(introducer),
      directKey: bearer.aci === introducer ? bearer.identityKey : undefined,
    };
  }

  async #introduce(tx: Transaction, { signed, bytes, held, view }: Arrival): Promise<Receipt> {
    const { statement } = signed;
    const verdict = judge(signed, view);
    if (verdict === 'revoked' && held !== undefined) {
      // Whatever the two say about their end: the revocation outlives what it revokes.
      await putGot(tx.state, { ...held, until: Math.max(held.until, statement.notAfter) });
    }
    if (verdict !== 'used' && verdict !== 'shown') return { kind: 'refused', reason: verdict };
    if (held !== undefined) {
      if (isSame(held.signed.body, signed.body)) return { kind: 'known', statement };
      return { kind: 'refused', reason: 'reused' };
    }
    const got: Got = { signed, bytes, receivedAt: view.now, until: statement.notAfter, revokedAt: undefined };
    await this.#makeRoom(tx, got);
    await putGot(tx.state, got);
    if (verdict === 'shown') return { kind: 'shown', statement };
    return (await this.#conflict(tx, got)) ?? (await this.#use(tx, statement));
  }

  async #use(tx: Transaction, statement: Statement): Promise<Receipt> {
    await this.settle(tx, statement.subject);
    return { kind: 'used', statement };
  }

  /** A key that is there stays; unless it is verified, the contact is stopped until somebody looks at it. */
  async #conflict(tx: Transaction, got: Got): Promise<Conflict | undefined> {
    const { subject, subjectKey, introducer } = got.signed.statement;
    const contact = await tx.trust.identities.get(subject);
    const all = await this.#live(tx, subject);
    const news = countingOf(got);
    const others = all.filter(({ id, introducer: by }) => id !== news.id || by !== introducer);
    if (!contradicts(news, contact, others)) return undefined;
    if (contact.pin !== undefined) await this.#apply(tx, news);
    const { state } = await tx.trust.identities.get(subject);
    const source = sourceOf(contact, news, others);
    const known = contact.pin ?? others[0]?.subjectKey;
    return {
      ...{ kind: 'conflict', subject, introducer, stated: subjectKey, known, source, state },
      at: this.#parts.now(),
    };
  }

  /** A revocation takes nothing but the statement with the same introducer and id, here or still to come (V-39). */
  async #revoke(tx: Transaction, { signed, bytes, held, view }: Arrival): Promise<Receipt> {
    const { statement } = signed;
    const verdict = judgeRevocation(signed, view);
    if (verdict !== 'used') return { kind: 'refused', reason: verdict };
    if (held?.revokedAt !== undefined) return { kind: 'known', statement };
    if (held === undefined) {
      const got = { signed, bytes, receivedAt: view.now, revokedAt: view.now };
      await this.#makeRoom(tx, { ...got, until: statement.notAfter });
      await putGot(tx.state, { ...got, until: statement.notAfter });
      return { kind: 'revoked', statement };
    }
    const until = Math.max(held.until, statement.notAfter);
    await putGot(tx.state, { ...held, revokedAt: view.now, until });
    await this.settle(tx, held.signed.statement.subject);
    return { kind: 'revoked', statement: held.signed.statement };
  }

  /** Keeps what one introducer can fill within bounds. */
  async #makeRoom(tx: Transaction, { signed }: Got): Promise<void> {
    const { introducer, subject, kind } = signed.statement;
    const alike = (await gotBy(tx.state, introducer)).filter(({ signed: { statement } }) =>
      kind === 'revocation'
        ? statement.kind === kind
        : statement.kind === kind && statement.subject === subject,
    );
    const limit = kind === 'revocation' ? MAX_UNMATCHED : MAX_PER_SUBJECT;
    const [first] = alike.sort((a, b) => a.until - b.until);
    if (first !== undefined && alike.length >= limit) await deleteGot(tx.state, first);
  }

  async #apply(tx: Transaction, { got, introducer, id, subjectKey }: Counting): Promise<void> {
    const { subject, verifiedAt, notAfter } = got.signed.statement;
    const at = this.#parts.now();
    const evidence = { kind: 'introduction', statementId: id, introducer, verifiedAt, notAfter, at } as const;
    await tx.trust.identities.setState(subject, { kind: 'introduce', key: subjectKey, evidence });
  }

  /** Introductions of a contact that count now. */
  async #live(tx: Transaction, subject: Aci): Promise<Counting[]> {
    const now = this.#parts.now();
    const found: Counting[] = [];
    for (const got of await gotAbout(tx.state, subject)) {
      const { statement } = got.signed;
      if (!isGood(got, now)) continue;
      const introducer = await tx.trust.identities.get(statement.introducer);
      if (weightOf(statement, introducer) === 'used') found.push(countingOf(got));
    }
    return found;
  }
}

interface Arrival {
  readonly signed: Signed;
  readonly bytes: Bytes;
  readonly held: Got | undefined;
  readonly view: View;
}

/** Neither revoked nor expired. */
export function isGood({ signed: { statement }, revokedAt }: Got, now: number): boolean {
  return statement.kind === 'introduction' && revokedAt === undefined && statement.notAfter > now;
}

function countingOf(got: Got): Counting {
  const { introducer, subjectKey } = got.signed.statement;
  return { got, introducer, id: idOf(got.signed), subjectKey };
}
