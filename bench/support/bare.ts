/**
 * The baseline: libsignal with the simple stores that its own tests use, maps in memory, sessions kept serialized. They
 * hold the same sessions as the bot's store, so that both sides work on the very same messages.
 */
import {
  IdentityChange,
  IdentityKeyStore,
  ProtocolAddress,
  PublicKey,
  SessionRecord,
  SessionStore,
  signalDecrypt,
  sealedSenderDecryptToUsmc,
  signalEncrypt,
  SignalMessage,
  type PrivateKey,
} from '@signalapp/libsignal-client';
import type { Address } from '../../src/address.ts';
import { fromBase64, type Bytes } from '../../src/bytes.ts';
import type { Store } from '../../src/store/store.ts';
import { identityRows, sessions } from '../../src/store/tables.ts';
import { aciIdentity, type OwnIdentity } from '../../src/session/own-identity.ts';
import type { Account } from '../../src/store/rows.ts';

const nameOf = (address: ProtocolAddress): string => `${address.name()}::${String(address.deviceId())}`;

class MemorySessions extends SessionStore {
  readonly records = new Map<string, Bytes>();

  override saveSession(address: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.records.set(nameOf(address), record.serialize());
    return Promise.resolve();
  }

  override getSession(address: ProtocolAddress): Promise<SessionRecord | null> {
    const bytes = this.records.get(nameOf(address));
    return Promise.resolve(bytes === undefined ? null : SessionRecord.deserialize(bytes));
  }

  override getExistingSessions(): Promise<SessionRecord[]> {
    return Promise.reject(new Error('not used'));
  }
}

class MemoryIdentities extends IdentityKeyStore {
  readonly keys = new Map<string, PublicKey>();
  readonly #own: OwnIdentity;

  constructor(own: OwnIdentity) {
    super();
    this.#own = own;
  }

  override getIdentityKey(): Promise<PrivateKey> {
    return Promise.resolve(this.#own.keys.privateKey);
  }

  override getLocalRegistrationId(): Promise<number> {
    return Promise.resolve(this.#own.registrationId);
  }

  override saveIdentity(address: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    const name = nameOf(address);
    const known = this.keys.get(name);
    this.keys.set(name, key);
    const replaced = known !== undefined && !known.equals(key);
    return Promise.resolve(replaced ? IdentityChange.ReplacedExisting : IdentityChange.NewOrUnchanged);
  }

  override isTrustedIdentity(address: ProtocolAddress, key: PublicKey): Promise<boolean> {
    const known = this.keys.get(nameOf(address));
    return Promise.resolve(known === undefined || known.equals(key));
  }

  override getIdentity(address: ProtocolAddress): Promise<PublicKey | null> {
    return Promise.resolve(this.keys.get(nameOf(address)) ?? null);
  }
}

export class Bare {
  readonly #sessions = new MemorySessions();
  readonly #identities: MemoryIdentities;
  readonly #own: ProtocolAddress;

  constructor(account: Account) {
    const own = aciIdentity(account);
    this.#identities = new MemoryIdentities(own);
    this.#own = own.address;
  }

  /** Copies the sessions with these devices, as they are now. */
  async copyFrom(store: Store, devices: readonly Address[]): Promise<void> {
    const batch = store.batch();
    for (const { serviceId, deviceId } of devices) {
      const record = await sessions.get(batch, 'aci', serviceId, deviceId);
      const identity = await identityRows.get(batch, serviceId);
      if (record === undefined || identity === undefined) throw new Error('there is no session to copy');
      const address = ProtocolAddress.new(serviceId, deviceId);
      this.#sessions.records.set(nameOf(address), record);
      this.#identities.keys.set(nameOf(address), PublicKey.deserialize(fromBase64(identity.key)));
    }
  }

  decrypt(from: ProtocolAddress, ciphertext: Bytes): Promise<Bytes> {
    const message = SignalMessage.deserialize(ciphertext);
    return signalDecrypt(message, from, this.#own, this.#sessions, this.#identities);
  }

  /** Opens the seal, checks the certificate, decrypts. */
  async decryptSealed(ciphertext: Bytes, roots: PublicKey[], time: number): Promise<Bytes> {
    const content = await sealedSenderDecryptToUsmc(ciphertext, this.#identities);
    const certificate = content.senderCertificate();
    if (!certificate.validateWithTrustRoots(roots, time)) throw new Error('the certificate does not hold');
    const from = ProtocolAddress.new(certificate.senderUuid(), certificate.senderDeviceId());
    return await this.decrypt(from, content.contents());
  }

  /** @param padded a content */
  async encrypt(to: ProtocolAddress, padded: Bytes): Promise<Bytes> {
    const message = await signalEncrypt(padded, to, this.#own, this.#sessions, this.#identities);
    return message.serialize();
  }
}
