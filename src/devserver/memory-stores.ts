/**
 * libsignal's stores in memory, for whoever sits between two accounts in the attack lab (`interceptor.ts`), and for the
 * devices that tests work by hand. They trust every key: that is what the attacker wants. Records can be changed from
 * outside, by `name.device` or by id.
 */
import {
  IdentityChange,
  IdentityKeyStore,
  KyberPreKeyStore,
  PreKeySignalMessage,
  PreKeyStore,
  SessionStore,
  signalDecrypt,
  signalDecryptPreKey,
  SignalMessage,
  SignedPreKeyStore,
  type KyberPreKeyRecord,
  type PreKeyRecord,
  type PrivateKey,
  type ProtocolAddress,
  type PublicKey,
  type SessionRecord,
  type SignedPreKeyRecord,
} from '@signalapp/libsignal-client';
import type { Bytes } from '../bytes.ts';

export class AnyIdentity extends IdentityKeyStore {
  readonly known = new Map<string, PublicKey>();
  readonly #own: PrivateKey;
  readonly #registrationId: number;

  constructor(own: PrivateKey, registrationId: number) {
    super();
    this.#own = own;
    this.#registrationId = registrationId;
  }

  override getIdentityKey(): Promise<PrivateKey> {
    return Promise.resolve(this.#own);
  }

  override getLocalRegistrationId(): Promise<number> {
    return Promise.resolve(this.#registrationId);
  }

  override saveIdentity(address: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    this.known.set(keyOf(address), key);
    return Promise.resolve(IdentityChange.NewOrUnchanged);
  }

  override isTrustedIdentity(): Promise<boolean> {
    return Promise.resolve(true);
  }

  override getIdentity(address: ProtocolAddress): Promise<PublicKey | null> {
    return Promise.resolve(this.known.get(keyOf(address)) ?? null);
  }
}

export class MemorySessions extends SessionStore {
  readonly records = new Map<string, SessionRecord>();

  override saveSession(address: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.records.set(keyOf(address), record);
    return Promise.resolve();
  }

  override getSession(address: ProtocolAddress): Promise<SessionRecord | null> {
    return Promise.resolve(this.records.get(keyOf(address)) ?? null);
  }

  override getExistingSessions(addresses: ProtocolAddress[]): Promise<SessionRecord[]> {
    return Promise.all(addresses.map((address) => present(this.records.get(keyOf(address)))));
  }
}

export class MemoryPrekeys extends PreKeyStore {
  readonly records = new Map<number, PreKeyRecord>();

  override savePreKey(id: number, record: PreKeyRecord): Promise<void> {
    this.records.set(id, record);
    return Promise.resolve();
  }

  override getPreKey(id: number): Promise<PreKeyRecord> {
    return present(this.records.get(id));
  }

  override removePreKey(id: number): Promise<void> {
    this.records.delete(id);
    return Promise.resolve();
  }
}

export class MemorySignedPrekeys extends SignedPreKeyStore {
  readonly records = new Map<number, SignedPreKeyRecord>();

  override saveSignedPreKey(id: number, record: SignedPreKeyRecord): Promise<void> {
    this.records.set(id, record);
    return Promise.resolve();
  }

  override getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return present(this.records.get(id));
  }
}

export class MemoryKyberPrekeys extends KyberPreKeyStore {
  readonly records = new Map<number, KyberPreKeyRecord>();

  override saveKyberPreKey(id: number, record: KyberPreKeyRecord): Promise<void> {
    this.records.set(id, record);
    return Promise.resolve();
  }

  override getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return present(this.records.get(id));
  }

  /** It may be one of last resort. */
  override markKyberPreKeyUsed(): Promise<void> {
    return Promise.resolve();
  }
}

/** The stores of one device. */
export interface DeviceStores {
  readonly identities: AnyIdentity;
  readonly sessions: MemorySessions;
  readonly prekeys: MemoryPrekeys;
  readonly signedPrekeys: MemorySignedPrekeys;
  readonly kyberPrekeys: MemoryKyberPrekeys;
}

/**
 * Opens what was sealed for a device.
 * @param type 1 or 3, as PUT /v1/messages names them
 * @returns the padded content
 * @throws Error of libsignal
 */
export function openSealed(
  { identities, sessions, prekeys, signedPrekeys, kyberPrekeys }: DeviceStores,
  own: ProtocolAddress,
  from: ProtocolAddress,
  type: number,
  content: Bytes,
): Promise<Uint8Array> {
  if (type === 1) return signalDecrypt(SignalMessage.deserialize(content), from, own, sessions, identities);
  const message = PreKeySignalMessage.deserialize(content);
  return signalDecryptPreKey(message, from, own, sessions, identities, prekeys, signedPrekeys, kyberPrekeys);
}

function keyOf(address: ProtocolAddress): string {
  return `${address.name()}.${String(address.deviceId())}`;
}

function present<T>(value: T | undefined): Promise<T> {
  return value === undefined ? Promise.reject(new Error('there is no such record')) : Promise.resolve(value);
}
