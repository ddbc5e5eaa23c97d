/**
 * libsignal's store interfaces over one batch, so that all that one operation reads and writes is committed together
 * or not at all (protocol brief, section 6.6). One set per own identity and batch.
 */
import {
  IdentityChange,
  IdentityKeyStore,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  PreKeyRecord,
  PreKeyStore,
  PublicKey,
  SenderKeyRecord,
  SenderKeyStore,
  SessionRecord,
  SessionStore,
  SignedPreKeyRecord,
  SignedPreKeyStore,
  type IdentityKeyPair,
  type PrivateKey,
  type ProtocolAddress,
  type Uuid,
} from '@signalapp/libsignal-client';
import { parseServiceId, type Address, type ServiceId } from '../address.ts';
import { equal, toHex, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Identities } from '../identities/identities.ts';
import type { Clock } from '../platform.ts';
import { onceRead, type Reading } from '../store/reading.ts';
import type { Batch } from '../store/store.ts';
import type { PrekeyKind, PrekeyRow } from '../store/rows.ts';
import { lastResortUses, prekeys, senderKeys, sessions } from '../store/tables.ts';
import type { OwnIdentity } from './own-identity.ts';

/** What all stores of one operation share. */
export interface StoreContext {
  readonly batch: NotingBatch;
  readonly own: OwnIdentity;
  /** Whose sessions the operation is about: libsignal asks for no other's, and an address tells its parts slowly. */
  readonly remote: Address;
  readonly identities: Identities;
  readonly records: SessionRecords;
  readonly clock: Clock;
  /** The key that `isTrustedIdentity` last refused. */
  untrusted?: Bytes;
  /** The key that it was last asked about: what a message was opened under (V-14). */
  asked?: Bytes;
}

/**
 * The batch as libsignal's stores use it. libsignal turns what a store throws into an error of its own; the first
 * failure to read is noted here, so that a damaged store is not taken for a bad message.
 */
export class NotingBatch implements Batch {
  readonly #batch: Batch;
  failure: unknown;

  constructor(batch: Batch) {
    this.#batch = batch;
  }

  /** The batch that is committed. */
  get whole(): Batch {
    return this.#batch;
  }

  get(key: string): Reading<Bytes | undefined> {
    const bytes = this.#batch.get(key);
    return bytes instanceof Promise ? bytes.catch((error: unknown) => this.#note(error)) : bytes;
  }

  put(key: string, value: Bytes): void {
    this.#batch.put(key, value);
  }

  delete(key: string): void {
    this.#batch.delete(key);
  }

  commit(): Promise<void> {
    return this.#batch.commit();
  }

  #note(error: unknown): never {
    this.failure ??= error;
    throw error;
  }
}

/** Records that libsignal gave us, by the bytes that were stored: to parse one costs as much as to write it. */
export type SessionRecords = WeakMap<Bytes, SessionRecord>;

function peer(address: ProtocolAddress): ServiceId {
  return parseServiceId(address.name());
}

export class BatchSessionStore extends SessionStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super();
    this.#context = context;
  }

  override saveSession(_address: ProtocolAddress, record: SessionRecord): Promise<void> {
    const { batch, own, remote, records } = this.#context;
    const bytes = record.serialize();
    records.set(bytes, record);
    sessions.put(batch, own.kind, remote.serviceId, remote.deviceId, bytes);
    return Promise.resolve();
  }

  override getSession(): Promise<SessionRecord | null> {
    const { batch, own, remote, records } = this.#context;
    const bytes = sessions.get(batch, own.kind, remote.serviceId, remote.deviceId);
    return promised(bytes, (read) =>
      read === undefined ? null : (records.get(read) ?? SessionRecord.deserialize(read)),
    );
  }

  /** Only sends to many at once ask for these. */
  override getExistingSessions(): Promise<SessionRecord[]> {
    return Promise.reject(new BotError('USAGE', 'there is one session to a store'));
  }
}

export class BatchIdentityStore extends IdentityKeyStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super();
    this.#context = context;
  }

  override getIdentityKey(): Promise<PrivateKey> {
    return Promise.resolve(this.#context.own.keys.privateKey);
  }

  override getIdentityKeyPair(): Promise<IdentityKeyPair> {
    return Promise.resolve(this.#context.own.keys);
  }

  override getLocalRegistrationId(): Promise<number> {
    return Promise.resolve(this.#context.own.registrationId);
  }

  override saveIdentity(_address: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    const { batch, identities, remote } = this.#context;
    const bytes = key.serialize();
    return promised(identities.key(batch, remote.serviceId), (before) => {
      if (before !== undefined && equal(before, bytes)) return IdentityChange.NewOrUnchanged;
      // A key that differs is only noted as a candidate: what libsignal asks next is still answered with the old one.
      const change = before === undefined ? IdentityChange.NewOrUnchanged : IdentityChange.ReplacedExisting;
      return onceRead(identities.save(batch, remote.serviceId, bytes, batch.whole), () => change);
    });
  }

  override isTrustedIdentity(_address: ProtocolAddress, key: PublicKey): Promise<boolean> {
    const { batch, identities, remote } = this.#context;
    const bytes = key.serialize();
    this.#context.asked = bytes;
    return promised(identities.isTrusted(batch, remote.serviceId, bytes), (trusted) => {
      if (!trusted) this.#context.untrusted = bytes;
      return trusted;
    });
  }

  override getIdentity(): Promise<PublicKey | null> {
    const { batch, identities, remote } = this.#context;
    return promised(identities.key(batch, remote.serviceId), (bytes) =>
      bytes === undefined ? null : PublicKey.deserialize(bytes),
    );
  }
}

/** Serves private halves and marks them as used; making and removing them is upkeep's. */
export class BatchPrekeyStore extends PreKeyStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super();
    this.#context = context;
  }

  override savePreKey(): Promise<void> {
    return Promise.reject(new BotError('STORE_CONFLICT', 'libsignal does not make prekeys here'));
  }

  override async getPreKey(id: number): Promise<PreKeyRecord> {
    return PreKeyRecord.deserialize((await row(this.#context, 'ec', id)).record);
  }

  /** The private half stays for a while: another message may have been built on the same key (3.3). */
  override async removePreKey(id: number): Promise<void> {
    const { batch, own, clock } = this.#context;
    const key = await row(this.#context, 'ec', id);
    if (key.usedAt === 0) prekeys.put(batch, own.kind, 'ec', id, { ...key, usedAt: clock.now() });
  }
}

export class BatchSignedPrekeyStore extends SignedPreKeyStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super();
    this.#context = context;
  }

  override saveSignedPreKey(): Promise<void> {
    return Promise.reject(new BotError('STORE_CONFLICT', 'libsignal does not make prekeys here'));
  }

  override async getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return SignedPreKeyRecord.deserialize((await row(this.#context, 'signed', id)).record);
  }
}

export class BatchKyberPrekeyStore extends KyberPreKeyStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super();
    this.#context = context;
  }

  override saveKyberPreKey(): Promise<void> {
    return Promise.reject(new BotError('STORE_CONFLICT', 'libsignal does not make prekeys here'));
  }

  override async getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return KyberPreKeyRecord.deserialize((await row(this.#context, 'kyber', id)).record);
  }

  /** A one-time key goes; the last resort stays, and the same use of it is not taken a second time. */
  override async markKyberPreKeyUsed(id: number, signedId: number, baseKey: PublicKey): Promise<void> {
    const { batch, own, clock } = this.#context;
    if (!(await row(this.#context, 'kyber', id)).lastResort) {
      prekeys.delete(batch, own.kind, 'kyber', id);
      return;
    }
    const use = `${String(id)}.${String(signedId)}.${toHex(baseKey.serialize())}`;
    if ((await lastResortUses.get(batch, own.kind, use)) !== undefined) {
      throw new BotError('CONTENT_INVALID', 'a prekey message was sent a second time');
    }
    lastResortUses.put(batch, own.kind, use, clock.now());
  }
}

export class BatchSenderKeyStore extends SenderKeyStore {
  readonly #batch: Batch;

  constructor(batch: Batch) {
    super();
    this.#batch = batch;
  }

  override async saveSenderKey(
    sender: ProtocolAddress,
    distributionId: Uuid,
    record: SenderKeyRecord,
  ): Promise<void> {
    senderKeys.put(this.#batch, peer(sender), sender.deviceId(), distributionId, record.serialize());
    return Promise.resolve();
  }

  override async getSenderKey(
    sender: ProtocolAddress,
    distributionId: Uuid,
  ): Promise<SenderKeyRecord | null> {
    const bytes = await senderKeys.get(this.#batch, peer(sender), sender.deviceId(), distributionId);
    return bytes === undefined ? null : SenderKeyRecord.deserialize(bytes);
  }
}

/** A promise, as libsignal wants it, of what is made of a reading. */
function promised<T, R>(reading: Reading<T>, make: (value: T) => Reading<R>): Promise<R> {
  return Promise.resolve(onceRead(reading, make));
}

/** The error's text is what the quarantine shows as the likely reason. */
async function row(context: StoreContext, kind: PrekeyKind, id: number): Promise<PrekeyRow> {
  const value = await prekeys.get(context.batch, context.own.kind, kind, id);
  if (value === undefined)
    throw new BotError('CONTENT_INVALID', `there is no ${kind} prekey ${String(id)} (any more)`);
  return value;
}
