/**
 * Opener: what a step asks about trust and sessions, answered by the core on the transaction of that step.
 * Spec: verification brief, sections 7 and 8.
 */
import {
  isBotError,
  type Aci,
  type Bytes,
  type OwnKey,
  type Random,
  type Transaction,
} from '../../src/index.ts';
import type { SessionOpener } from './machine/settle.ts';
import type { Prepared, Questions, SessionRequest, TrustAnswer, Trusted } from './machine/step.ts';
import type { Party } from './messages/service-id.ts';
import { makeRunPrekeys } from './session/run-prekeys.ts';

type Asked<K extends keyof Questions> = Questions[K]['ask'];

export interface OpenerParts {
  readonly transaction: Transaction;
  readonly own: OwnKey;
  readonly random: Random;
  /** What the service has said, once it was asked. */
  readonly served?: ServedKey | undefined;
}

/** 33 bytes; undefined where the service did not answer. */
export interface ServedKey {
  readonly key: Bytes | undefined;
}

/** The step needs the service's word: it is to be got without a batch or a lane, and the step begun again. */
export class MustAsk extends Error {
  readonly party: Party;

  constructor(party: Party) {
    super('the service is to be asked for a key');
    this.party = party;
  }
}

export class CoreOpener implements SessionOpener {
  readonly #parts: OpenerParts;

  constructor(parts: OpenerParts) {
    this.#parts = parts;
  }

  /** With a carrier the run came by it, and what ordinary sessions there are, are not the peer's of this run. */
  async trust({ aci, identityKey }: Asked<'trust'>): Promise<TrustAnswer> {
    const { identities, sessions } = this.#parts.transaction.trust;
    const hasSession = !(await sessions.carrier(aci).exists());
    const { pin, candidate } = await identities.get(aci);
    const stored = [pin, candidate].filter((key) => key !== undefined);
    return { verdict: await identities.wouldPin(aci, identityKey), hasSession, stored };
  }

  /** @throws MustAsk until the service was asked */
  servedKey({ party }: Asked<'served-key'>): Promise<Bytes | undefined> {
    const { served } = this.#parts;
    return served === undefined ? Promise.reject(new MustAsk(party)) : Promise.resolve(served.key);
  }

  prepare({ now }: Asked<'prepare'>): Promise<Prepared> {
    const { own, random } = this.#parts;
    const signPrekey = (key: Bytes): Bytes => own.signPrekey(key);
    const owner = { device: own.deviceId, registrationId: own.registrationId, signPrekey };
    return Promise.resolve(makeRunPrekeys(owner, random, now));
  }

  async openSession(question: Asked<'open-session'>): Promise<Bytes | undefined> {
    const { transaction } = this.#parts;
    const { party, identityKey, bundle, plaintext } = question;
    await setAside(transaction, question);
    await pinProven(transaction, question);
    return ifValid(transaction.trust.sessions.openFromBundle(party.aci, identityKey, bundle, plaintext));
  }

  async takeSession(question: Asked<'take-session'>): Promise<Bytes | undefined> {
    const { transaction } = this.#parts;
    const { sessions } = transaction.trust;
    const { party, initial, prekeys, registrationId } = question;
    await sessions.deleteAll(party.aci);
    await pinProven(transaction, question);
    return ifValid(sessions.openInitial(addressOf(party), initial, prekeys, registrationId));
  }

  sealDone({ party, plaintext }: Asked<'seal-done'>): Promise<Bytes> {
    return this.#parts.transaction.trust.sessions.sealWhisper(addressOf(party), plaintext);
  }

  openDone({ party, message }: Asked<'open-done'>): Promise<Bytes | undefined> {
    return ifValid(this.#parts.transaction.trust.sessions.openWhisper(addressOf(party), message));
  }
}

/**
 * Takes all sessions with a contact out of use, and keeps the way to them. A carrier that is there already has the
 * sessions of this run and keeps them: the run is out of `changed`, its frames came under false keys, or a run before was
 * not acknowledged. Only in the last case may the way be an ordinary session: a peer that was restored has no other.
 */
export async function setAside(
  { trust: { sessions } }: Transaction,
  { party, found }: Pick<SessionRequest, 'party' | 'found'>,
): Promise<void> {
  const { aci } = party;
  const isOrdinary = found === undefined && (await sessions.isAnswered(addressOf(party)));
  if ((await sessions.carrier(aci).exists()) && !isOrdinary) await sessions.deleteAll(aci);
  else await sessions.moveToCarrier(aci);
}

/** Makes the proven key the pin, with what V-14 has found. */
async function pinProven(
  { trust: { identities } }: Transaction,
  { party, identityKey, proof, found }: Pick<SessionRequest, 'party' | 'identityKey' | 'proof' | 'found'>,
): Promise<void> {
  const [falseKey, ...alsoFalse] = found?.falseKeys ?? [];
  const options = found && falseKey && { found: { kind: found.kind, falseKey, alsoFalse } };
  await identities.pin(party.aci, identityKey, proof, options);
}

/**
 * Notes a run that is through. Where it has opened a session the key was pinned for that, before ACCEPT was there: then
 * the evidence is renewed, so that both sides hold the same.
 */
export async function noteProven(tx: Transaction, trusted: Trusted): Promise<void> {
  const { aci, device, identityKey, found, hasOpened, check } = trusted;
  const proof = { ...trusted.proof, ...(check === undefined ? {} : { check }) };
  if (hasOpened) await tx.trust.identities.pin(aci, identityKey, proof);
  else await pinProven(tx, { party: { aci, device }, identityKey, proof, found });
}

function addressOf({ aci, device }: Party): { serviceId: Aci; deviceId: number } {
  return { serviceId: aci, deviceId: device };
}

/** @returns undefined when the peer's bytes do not hold */
async function ifValid(work: Promise<Bytes>): Promise<Bytes | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isBotError(error, 'CONTENT_INVALID')) return undefined;
    throw error;
  }
}
