/**
 * Bare runs of an account: its identity, and its store for guesses, trust and the session. A peer that is verified so is a
 * verified contact like any other. Each step is one commit (V-15).
 *
 * In mode 2 nothing but the peer's own word says which account it is, and the code was for whoever sits there: so a name
 * counts only if the operator has given it, or if no other key is known by it. Section 12 has the claim of a stranger's
 * key; this is the claim of a stranger's name.
 * Spec: verification brief, sections 3.1 (mode 2), 5 (V-21 to V-24) and 9.
 */
import {
  isBotError,
  type Aci,
  type Bytes,
  type Host,
  type Random,
  type Transaction,
} from '../../../src/index.ts';
import { failuresInARow, gateOf, hashCode, NO_COUNTERS, wasTyped, type Gate } from '../limits.ts';
import type { Advanced, SessionOpener } from '../machine/settle.ts';
import type { Env, TrustAnswer, Trusted } from '../machine/step.ts';
import type { Party } from '../messages/service-id.ts';
import { isSame } from '../messages/wire.ts';
import { CoreOpener, noteProven } from '../signal/opener.ts';
import { changeCounters, localKey, readCounters } from '../signal/rows.ts';
import { counted, type Ledger } from './ledger.ts';
import { ENV, toError } from './node.ts';
import type { TextCipher } from './texts.ts';
import type { Side } from './verify.ts';

/** Nobody who could be asked for the peer's key. */
const NO_SERVICE = { key: undefined };

/** @param env tests bring one whose scrypt is cheap @param contact who the other side is, if the operator says so */
export function storedSide(host: Host, random: Random, env: Env = ENV, contact?: Aci): Side {
  const { aci, deviceId: device, registrationId, identityKey } = host.trust.own;
  const own = { aci, device, registrationId, identityKey, mayBeIntroduced: false, pni: undefined };
  const session = new StoredTexts(host);
  const ledger = new StoredLedger({ host, random, session, contact });
  return { env, own, ledger, session, clock: host.clock, random, toError };
}

interface LedgerParts {
  readonly host: Host;
  readonly random: Random;
  readonly session: StoredTexts;
  readonly contact: Aci | undefined;
}

/** Of whoever is at the other end of a connection. */
class BareOpener extends CoreOpener {
  readonly #contact: Aci | undefined;

  constructor(parts: ConstructorParameters<typeof CoreOpener>[0], contact: Aci | undefined) {
    super({ ...parts, served: NO_SERVICE });
    this.#contact = contact;
  }

  override async trust(question: Parameters<CoreOpener['trust']>[0]): Promise<TrustAnswer> {
    const { aci, identityKey } = question;
    const answer = await super.trust(question);
    const isOther = answer.stored?.some((key) => !isSame(key, identityKey)) === true;
    const isMisnamed = this.#contact === undefined ? isOther : aci !== this.#contact;
    return isMisnamed ? { ...answer, verdict: 'misnamed' } : answer;
  }
}

class StoredLedger implements Ledger {
  readonly #host: Host;
  readonly #random: Random;
  readonly #session: StoredTexts;
  readonly #contact: Aci | undefined;

  constructor({ host, random, session, contact }: LedgerParts) {
    this.#host = host;
    this.#random = random;
    this.#session = session;
    this.#contact = contact;
  }

  /** A record that cannot be read gives no guesses back. */
  async gate(now: number): Promise<Gate> {
    const counters = await this.#host.update(readCounters);
    return counters ? gateOf(counters, 'bare', now) : { kind: 'locked', who: 'peer', until: undefined };
  }

  wasTyped(code: string, now: number): Promise<boolean> {
    return this.#host.update(async (tx) => {
      const counters = (await readCounters(tx)) ?? NO_COUNTERS;
      return wasTyped(counters, hashCode(await localKey(tx, this.#random), code), now);
    });
  }

  async failures(): Promise<number> {
    const counters = await this.#host.update(readCounters);
    return counters ? failuresInARow(counters, 'bare') : 0;
  }

  async step(
    advance: (opener: SessionOpener) => Promise<Advanced>,
    at: { now: number; typed: string | undefined },
  ): Promise<Advanced> {
    const { own } = this.#host.trust;
    let advanced: Advanced | undefined;
    try {
      return await this.#host.update(async (transaction) => {
        advanced = await advance(new BareOpener({ transaction, own, random: this.#random }, this.#contact));
        if (advanced.mustDiscard) throw new Discarded();
        await this.#write(transaction, advanced, at);
        return advanced;
      });
    } catch (error) {
      if (!(error instanceof Discarded) || advanced === undefined) throw error;
      const closed = advanced;
      await this.#host.update((transaction) => this.#write(transaction, closed, at));
      return closed;
    }
  }

  async #write(
    tx: Transaction,
    { effects }: Advanced,
    at: { now: number; typed: string | undefined },
  ): Promise<void> {
    if (effects.some(({ kind }) => kind === 'charge' || kind === 'refund')) {
      const key = await localKey(tx, this.#random);
      await changeCounters(tx, (counters) => counted(counters, effects, { ...at, localKey: key }));
    }
    for (const effect of effects) {
      if (effect.kind === 'trusted') await this.#trust(tx, effect.trusted);
      if (effect.kind === 'contradicted') {
        await tx.trust.identities.pin(effect.aci, effect.identityKey, effect.proof);
      }
    }
  }

  async #trust(tx: Transaction, trusted: Trusted): Promise<void> {
    const { aci, device, hasOpened, heals } = trusted;
    // Profile 1 opens no session: what was open under another key must not stay.
    if (heals && !hasOpened) await tx.trust.sessions.deleteAll(aci);
    if (heals) await tx.trust.sessions.rotateSenderKeys();
    await noteProven(tx, trusted);
    // The run's frames have a way of their own: what sessions there were before are of no more use.
    if (hasOpened) await tx.trust.sessions.carrier(aci).end();
    this.#session.party = { aci, device };
  }
}

/** Texts in the session that the store holds. */
class StoredTexts implements TextCipher {
  readonly #host: Host;
  party: Party | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  seal(_head: Bytes, plaintext: Bytes): Promise<Bytes> {
    const { aci, address } = this.#peer();
    return this.#host.trust.update(aci, (tx) => tx.trust.sessions.sealWhisper(address, plaintext));
  }

  async open(_head: Bytes, body: Bytes): Promise<Bytes | undefined> {
    const { aci, address } = this.#peer();
    try {
      return await this.#host.trust.update(aci, (tx) => tx.trust.sessions.openWhisper(address, body));
    } catch (error) {
      if (isBotError(error, 'CONTENT_INVALID')) return undefined;
      throw error;
    }
  }

  #peer(): { aci: Party['aci']; address: { serviceId: Party['aci']; deviceId: Party['device'] } } {
    if (this.party === undefined) throw new Error('nobody has been verified yet');
    const { aci, device } = this.party;
    return { aci, address: { serviceId: aci, deviceId: device } };
  }
}

/** The sessions that a step has written to are dropped, and the rest of it written anew. */
class Discarded extends Error {}
