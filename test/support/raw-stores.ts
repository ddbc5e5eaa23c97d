/**
 * libsignal stores in memory, for the raw device of the development server's tests.
 */
import {
  IdentityChange,
  IdentityKeyStore,
  KyberPreKeyStore,
  PreKeyStore,
  SessionStore,
  SignedPreKeyStore,
  type KyberPreKeyRecord,
  type PreKeyRecord,
  type PrivateKey,
  type ProtocolAddress,
  type PublicKey,
  type SessionRecord,
  type SignedPreKeyRecord,
} from '@signalapp/libsignal-client';

const name = (address: ProtocolAddress): string => `${address.name()}.${String(address.deviceId())}`;

export class RawIdentities extends IdentityKeyStore {
  readonly known = new Map<string, PublicKey>();
  readonly #key: PrivateKey;
  readonly #registrationId: number;
  constructor(key: PrivateKey, registrationId: number) {
    super();
    this.#key = key;
    this.#registrationId = registrationId;
  }
  override getIdentityKey(): Promise<PrivateKey> {
    return Promise.resolve(this.#key);
  }
  override getLocalRegistrationId(): Promise<number> {
    return Promise.resolve(this.#registrationId);
  }
  override saveIdentity(address: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    this.known.set(name(address), key);
    return Promise.resolve(IdentityChange.NewOrUnchanged);
  }
  override isTrustedIdentity(): Promise<boolean> {
    return Promise.resolve(true);
  }
  override getIdentity(address: ProtocolAddress): Promise<PublicKey | null> {
    return Promise.resolve(this.known.get(name(address)) ?? null);
  }
}

export class RawSessions extends SessionStore {
  readonly records = new Map<string, SessionRecord>();
  override saveSession(address: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.records.set(name(address), record);
    return Promise.resolve();
  }
  override getSession(address: ProtocolAddress): Promise<SessionRecord | null> {
    return Promise.resolve(this.records.get(name(address)) ?? null);
  }
  override getExistingSessions(addresses: ProtocolAddress[]): Promise<SessionRecord[]> {
    const found = addresses.map((address) => this.records.get(name(address)));
    return found.every((record) => record !== undefined)
      ? Promise.resolve(found)
      : Promise.reject(new Error('no session'));
  }
}

export class RawPrekeys extends PreKeyStore {
  readonly records = new Map<number, PreKeyRecord>();
  override savePreKey(id: number, record: PreKeyRecord): Promise<void> {
    this.records.set(id, record);
    return Promise.resolve();
  }
  override getPreKey(id: number): Promise<PreKeyRecord> {
    return found(this.records.get(id));
  }
  override removePreKey(): Promise<void> {
    return Promise.resolve();
  }
}

export class RawSignedPrekeys extends SignedPreKeyStore {
  readonly records = new Map<number, SignedPreKeyRecord>();
  override saveSignedPreKey(id: number, record: SignedPreKeyRecord): Promise<void> {
    this.records.set(id, record);
    return Promise.resolve();
  }
  override getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return found(this.records.get(id));
  }
}

export class RawKyberPrekeys extends KyberPreKeyStore {
  readonly records = new Map<number, KyberPreKeyRecord>();
  override saveKyberPreKey(id: number, record: KyberPreKeyRecord): Promise<void> {
    this.records.set(id, record);
    return Promise.resolve();
  }
  override getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return found(this.records.get(id));
  }
  override markKyberPreKeyUsed(): Promise<void> {
    return Promise.resolve();
  }
}

function found<T>(value: T | undefined): Promise<T> {
  return value === undefined ? Promise.reject(new Error('no such key')) : Promise.resolve(value);
}
