/**
 * libsignal's stores in memory, for the one session that a run of mode 2 opens.
 */
import {
  IdentityChange,
  IdentityKeyStore,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  PreKeyRecord,
  PreKeyStore,
  SessionStore,
  SignedPreKeyRecord,
  SignedPreKeyStore,
  type PrivateKey,
  type ProtocolAddress,
  type PublicKey,
  type SessionRecord,
} from '@signalapp/libsignal-client';
import type { Bytes, RunPrekeys } from '../../../src/index.ts';

/** One record, whose it is does not matter: there is one peer. */
export class OneSession extends SessionStore {
  record: SessionRecord | undefined;

  constructor(record?: SessionRecord) {
    super();
    this.record = record;
  }

  override saveSession(_: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.record = record;
    return Promise.resolve();
  }

  override getSession(): Promise<SessionRecord | null> {
    return Promise.resolve(this.record ?? null);
  }

  override getExistingSessions(): Promise<SessionRecord[]> {
    return Promise.resolve(this.record === undefined ? [] : [this.record]);
  }
}

/** Trusts the pin, for sending and receiving alike, and nothing else. */
export class OnePin extends IdentityKeyStore {
  readonly #key: PrivateKey;
  readonly #registrationId: number;
  readonly #pin: PublicKey;

  constructor(key: PrivateKey, registrationId: number, pin: PublicKey) {
    super();
    this.#key = key;
    this.#registrationId = registrationId;
    this.#pin = pin;
  }

  override getIdentityKey(): Promise<PrivateKey> {
    return Promise.resolve(this.#key);
  }

  override getLocalRegistrationId(): Promise<number> {
    return Promise.resolve(this.#registrationId);
  }

  override saveIdentity(): Promise<IdentityChange> {
    return Promise.resolve(IdentityChange.NewOrUnchanged);
  }

  override isTrustedIdentity(_: ProtocolAddress, key: PublicKey): Promise<boolean> {
    return Promise.resolve(key.equals(this.#pin));
  }

  override getIdentity(): Promise<PublicKey | null> {
    return Promise.resolve(this.#pin);
  }
}

/** The prekeys of one run, each good once; without any where the session is there already. */
export class RunPrekeyStores {
  readonly prekey: PreKeyStore;
  readonly signed: SignedPreKeyStore;
  readonly kyber: KyberPreKeyStore;

  constructor(prekeys: RunPrekeys | undefined) {
    const { prekey, signedPrekey, kyberPrekey } = prekeys ?? {};
    this.prekey = new OnePrekey(prekey);
    this.signed = new OneSignedPrekey(signedPrekey);
    this.kyber = new OneKyberPrekey(kyberPrekey);
  }
}

class OnePrekey extends PreKeyStore {
  #record: PreKeyRecord | undefined;

  constructor(record: Bytes | undefined) {
    super();
    this.#record = record && PreKeyRecord.deserialize(record);
  }

  override savePreKey(): Promise<void> {
    return refused();
  }

  override getPreKey(id: number): Promise<PreKeyRecord> {
    return withId(this.#record, id);
  }

  override removePreKey(): Promise<void> {
    this.#record = undefined;
    return Promise.resolve();
  }
}

class OneSignedPrekey extends SignedPreKeyStore {
  readonly #record: SignedPreKeyRecord | undefined;

  constructor(record: Bytes | undefined) {
    super();
    this.#record = record && SignedPreKeyRecord.deserialize(record);
  }

  override saveSignedPreKey(): Promise<void> {
    return refused();
  }

  override getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return withId(this.#record, id);
  }
}

class OneKyberPrekey extends KyberPreKeyStore {
  #record: KyberPreKeyRecord | undefined;

  constructor(record: Bytes | undefined) {
    super();
    this.#record = record && KyberPreKeyRecord.deserialize(record);
  }

  override saveKyberPreKey(): Promise<void> {
    return refused();
  }

  override getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return withId(this.#record, id);
  }

  /** Deleted, so that the initial message opens no second time. */
  override markKyberPreKeyUsed(): Promise<void> {
    this.#record = undefined;
    return Promise.resolve();
  }
}

function withId<T extends { id(): number }>(record: T | undefined, id: number): Promise<T> {
  return record?.id() === id
    ? Promise.resolve(record)
    : Promise.reject(new Error('this run has no such prekey'));
}

function refused(): Promise<never> {
  return Promise.reject(new Error('prekeys of a run are not added to'));
}
