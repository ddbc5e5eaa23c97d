/**
 * Bare runs of an account: its identity, and its store for guesses, trust and the session. A peer that is verified so is a
 * verified contact like any other. Each step is one commit (V-15).
 *
 * In mode 2 nothing but the peer's own word says which account it is: TT has no names, and the code was for whoever sits
 * there. Section 12 has the claim of a stranger's key, and is silent on that of a stranger's name, under which the key of
 * whoever has the code would be verified. So the operator names the contact, and the run is refused with anybody else; what
 * is known of that contact is judged as in mode 1 (V-14). Without a name the run is played on a store that is forgotten:
 * the guess alone is kept, and a peer that calls itself a contact of another key is refused.
 * Spec: verification brief, sections 3.1 (mode 2), 5 (V-21 to V-24) and 9.
 */
import {
  isBotError,
  type Aci,
  type BotError,
  type Bytes,
  type Host,
  type Random,
  type Transaction,
} from '../../../src/index.ts';
import type { Failure } from '../failure.ts';
import { failuresInARow, gateOf, hashCode, NO_COUNTERS, wasTyped, type Gate } from '../limits.ts';
import type { Advanced, SessionOpener } from '../machine/settle.ts';
import type { Effect, Env, TrustAnswer, Trusted } from '../machine/step.ts';
import type { Party } from '../messages/service-id.ts';
import { CoreOpener, noteProven } from '../opener.ts';
import { changeCounters, localKey, readCounters } from '../rows.ts';
import { counted, type Ledger } from './ledger.ts';
import { explain, isUncontested, type Claim, type IsNamed } from './claim.ts';
import { ENV } from './node.ts';
import type { TextCipher } from './texts.ts';
import type { Side } from './verify.ts';

type At = Parameters<Ledger['step']>[1];

/** Nobody who could be asked for the peer's key. */
const NO_SERVICE = { key: undefined };

/**
 * Runs with a contact, who is verified by it.
 * @param contact whom the operator has named @param env tests bring one whose scrypt is cheap
 */
export function storedSide(host: Host, contact: Aci, random: Random, env: Env = ENV): Side {
  const ledger = new StoredLedger(host, random, ({ aci }) => Promise.resolve(aci === contact));
  const toNamed = (failure: Failure): BotError => explain(failure, ledger.claim, contact);
  return { env, ledger, session: ledger.texts, ...ofHost(host, random), toError: toNamed };
}

/**
 * Runs with whoever it is, of whom nothing is kept.
 * @param passing the same account on a store that is forgotten
 */
export function passingSide(host: Host, passing: Host, random: Random, env: Env = ENV): Side {
  const stored = new StoredLedger(host, random, () => Promise.resolve(false));
  const forgotten = new StoredLedger(passing, random, (claim) => isUncontested(host, claim));
  const ledger = new PassingLedger(stored, forgotten);
  const toAnybody = (failure: Failure): BotError => explain(failure, forgotten.claim, undefined);
  return { env, ledger, session: forgotten.texts, ...ofHost(host, random), toError: toAnybody };
}

function ofHost(host: Host, random: Random): Pick<Side, 'own' | 'clock' | 'random'> {
  const { aci, deviceId: device, registrationId, identityKey } = host.trust.own;
  const own = { aci, device, registrationId, identityKey, mayBeIntroduced: false, pni: undefined };
  return { own, clock: host.clock, random };
}

/** Of whoever is at the other end of a connection. */
class BareOpener extends CoreOpener {
  readonly #isNamed: IsNamed;

  constructor(parts: ConstructorParameters<typeof CoreOpener>[0], isNamed: IsNamed) {
    super({ ...parts, served: NO_SERVICE });
    this.#isNamed = isNamed;
  }

  override async trust(claim: Parameters<CoreOpener['trust']>[0]): Promise<TrustAnswer> {
    const answer = await super.trust(claim);
    return (await this.#isNamed(claim)) ? answer : { ...answer, verdict: 'misnamed' };
  }
}

class StoredLedger implements Ledger {
  readonly unlocking = 'Find out who connects, then: countersign verify unlock --bare --data DIR';
  readonly texts: StoredTexts;
  readonly #host: Host;
  readonly #random: Random;
  readonly #isNamed: IsNamed;
  #claim: Claim | undefined;

  constructor(host: Host, random: Random, isNamed: IsNamed) {
    this.texts = new StoredTexts(host);
    this.#host = host;
    this.#random = random;
    this.#isNamed = (claim) => {
      this.#claim = claim;
      return isNamed(claim);
    };
  }

  /** Who the peer says it is, once it has. */
  get claim(): Claim | undefined {
    return this.#claim;
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

  async step(advance: (opener: SessionOpener) => Promise<Advanced>, at: At): Promise<Advanced> {
    const { own } = this.#host.trust;
    let advanced: Advanced | undefined;
    try {
      return await this.#host.update(async (transaction) => {
        advanced = await advance(new BareOpener({ transaction, own, random: this.#random }, this.#isNamed));
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

  async #write(tx: Transaction, { effects }: Advanced, at: At): Promise<void> {
    await this.#count(tx, effects, at);
    for (const effect of effects) {
      if (effect.kind === 'trusted') await this.#trust(tx, effect.trusted);
      if (effect.kind === 'contradicted') {
        await tx.trust.identities.pin(effect.aci, effect.identityKey, effect.proof);
      }
    }
  }

  /** Charges and refunds alone, of a step that was written down elsewhere. */
  async count(effects: readonly Effect[], at: At): Promise<void> {
    await this.#host.update((tx) => this.#count(tx, effects, at));
  }

  async #count(tx: Transaction, effects: readonly Effect[], at: At): Promise<void> {
    if (!effects.some(({ kind }) => kind === 'charge' || kind === 'refund')) return;
    const key = await localKey(tx, this.#random);
    await changeCounters(tx, (counters) => counted(counters, effects, { ...at, localKey: key }));
  }

  async #trust(tx: Transaction, trusted: Trusted): Promise<void> {
    const { aci, device, hasOpened, heals } = trusted;
    // Profile 1 opens no session: what was open under another key must not stay.
    if (heals && !hasOpened) await tx.trust.sessions.deleteAll(aci);
    if (heals) await tx.trust.sessions.rotateSenderKeys();
    await noteProven(tx, trusted);
    // The run's frames have a way of their own: what sessions there were before are of no more use.
    if (hasOpened) await tx.trust.sessions.carrier(aci).end();
    this.texts.party = { aci, device };
  }
}

/** A run of which the guesses are kept, before a frame of the step leaves, and all else is forgotten. */
class PassingLedger implements Ledger {
  readonly unlocking: string;
  readonly #stored: StoredLedger;
  readonly #forgotten: StoredLedger;

  constructor(stored: StoredLedger, forgotten: StoredLedger) {
    this.unlocking = stored.unlocking;
    this.#stored = stored;
    this.#forgotten = forgotten;
  }

  gate(now: number): Promise<Gate> {
    return this.#stored.gate(now);
  }

  wasTyped(code: string, now: number): Promise<boolean> {
    return this.#stored.wasTyped(code, now);
  }

  failures(): Promise<number> {
    return this.#stored.failures();
  }

  async step(advance: (opener: SessionOpener) => Promise<Advanced>, at: At): Promise<Advanced> {
    const advanced = await this.#forgotten.step(advance, at);
    await this.#stored.count(advanced.effects, at);
    return advanced;
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
