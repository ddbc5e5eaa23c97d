/**
 * Run sessions: the session that a verification run opens, with the exact calls of the verification brief, section 7.
 * Plaintexts are bytes as they are. Prekeys are the run's own; published ones are never asked for.
 */
import {
  CiphertextMessageType,
  ErrorCode,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  LibSignalErrorBase,
  PreKeyRecord,
  PreKeySignalMessage,
  PreKeyStore,
  processPreKeyBundle,
  ProtocolAddress,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
  SignalMessage,
  SignedPreKeyRecord,
  SignedPreKeyStore,
  type CiphertextMessage,
} from '@signalapp/libsignal-client';
import type { Address, ServiceId } from '../address.ts';
import { equal, own, type Bytes } from '../bytes.ts';
import { BotError, isBotError } from '../errors.ts';
import { changed, type Identities } from '../identities/identities.ts';
import type { Clock } from '../platform.ts';
import type { Batch } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { sessions } from '../store/tables.ts';
import { toBundle, type DeviceBundle } from './bundle.ts';
import { BatchIdentityStore, BatchSessionStore, NotingBatch, type StoreContext } from './libsignal-stores.ts';
import { aciIdentity, type OwnIdentity } from './own-identity.ts';
import { noteDevice } from './peer-devices.ts';

export interface RunSessionsParts {
  readonly account: Account;
  readonly identities: Identities;
  readonly clock: Clock;
}

/** Serialized records of the prekeys of one run, with their private halves. */
export interface RunRecords {
  readonly prekey: Bytes;
  readonly signedPrekey: Bytes;
  readonly kyberPrekey: Bytes;
}

export class RunSessions {
  readonly #parts: RunSessionsParts;
  readonly #own: OwnIdentity;

  constructor(parts: RunSessionsParts) {
    this.#parts = parts;
    this.#own = aciIdentity(parts.account);
  }

  /**
   * Opens a session on an empty record and seals its first message.
   * @param identityKey 33 bytes; must be the pin
   * @returns a serialized PreKeySignalMessage
   * @throws BotError `IDENTITY_CHANGED`, `CONTENT_INVALID`
   */
  async openFromBundle(
    batch: Batch,
    to: ServiceId,
    identityKey: Bytes,
    bundle: DeviceBundle,
    plaintext: Bytes,
  ): Promise<Bytes> {
    const pin = await this.#parts.identities.key(batch, to);
    if (pin === undefined || !equal(pin, identityKey)) throw changed(to);
    const address = { serviceId: to, deviceId: bundle.deviceId };
    sessions.delete(batch, 'aci', to, bundle.deviceId);
    return this.#call(batch, address, async (context, remote) => {
      const [sessionStore, identity] = storesOf(context);
      const now = new Date(this.#parts.clock.now());
      const keys = toBundle(identityKey, bundle);
      await processPreKeyBundle(keys, remote, this.#own.address, sessionStore, identity, now);
      await noteDevice(context.batch, 'aci', address, bundle.registrationId);
      const message = await signalEncrypt(plaintext, remote, this.#own.address, sessionStore, identity, now);
      return serialized(message, CiphertextMessageType.PreKey);
    });
  }

  /**
   * Opens the initial message with the run's prekeys alone.
   * @param registrationId the sender's, where it is known
   * @throws BotError `IDENTITY_CHANGED`, `CONTENT_INVALID`
   */
  async openInitial(
    batch: Batch,
    from: Address,
    bytes: Bytes,
    records: RunRecords,
    registrationId: number | undefined,
  ): Promise<Bytes> {
    return this.#call(batch, from, async (context, remote) => {
      const message = PreKeySignalMessage.deserialize(bytes);
      const prekey = PreKeyRecord.deserialize(records.prekey);
      const signed = SignedPreKeyRecord.deserialize(records.signedPrekey);
      const kyber = KyberPreKeyRecord.deserialize(records.kyberPrekey);
      const isOfRun =
        message.preKeyId() === prekey.id() &&
        message.signedPreKeyId() === signed.id() &&
        (registrationId === undefined || message.registrationId() === registrationId);
      if (!isOfRun) throw new BotError('CONTENT_INVALID', 'the initial message is not of this run');
      const [sessionStore, identity] = storesOf(context);
      const plaintext = await signalDecryptPreKey(
        message,
        remote,
        this.#own.address,
        sessionStore,
        identity,
        new RunPrekeyStore(prekey),
        new RunSignedPrekeyStore(signed),
        new RunKyberPrekeyStore(kyber),
      );
      await noteDevice(context.batch, 'aci', from, message.registrationId());
      return plaintext;
    });
  }

  /** @returns a serialized SignalMessage @throws BotError `IDENTITY_CHANGED`, `CONTENT_INVALID` */
  async sealWhisper(batch: Batch, to: Address, plaintext: Bytes): Promise<Bytes> {
    return this.#call(batch, to, async (context, remote) => {
      const [sessionStore, identity] = storesOf(context);
      const now = new Date(this.#parts.clock.now());
      const message = await signalEncrypt(plaintext, remote, this.#own.address, sessionStore, identity, now);
      return serialized(message, CiphertextMessageType.Whisper);
    });
  }

  /** @throws BotError `IDENTITY_CHANGED`, `CONTENT_INVALID` */
  async openWhisper(batch: Batch, from: Address, bytes: Bytes): Promise<Bytes> {
    return this.#call(batch, from, async (context, remote) =>
      signalDecrypt(SignalMessage.deserialize(bytes), remote, this.#own.address, ...storesOf(context)),
    );
  }

  /** Whether there is a session with this device in which it has sent us something. Stages nothing. */
  async isAnswered(batch: Batch, to: Address): Promise<boolean> {
    if ((await sessions.get(batch, 'aci', to.serviceId, to.deviceId)) === undefined) return false;
    const copy: Batch = { ...NO_WRITES, get: (key) => batch.get(key) };
    try {
      // Until then every message is one that could begin the session.
      await this.sealWhisper(copy, to, new Uint8Array(1));
      return true;
    } catch (error) {
      if (isBotError(error, 'CONTENT_INVALID') || isBotError(error, 'IDENTITY_CHANGED')) return false;
      throw error;
    }
  }

  async #call(
    batch: Batch,
    address: Address,
    work: (context: StoreContext, remote: ProtocolAddress) => Promise<Uint8Array>,
  ): Promise<Bytes> {
    const { identities, clock } = this.#parts;
    const noting = new NotingBatch(batch);
    const context: StoreContext = {
      batch: noting,
      own: this.#own,
      remote: address,
      identities,
      records: new WeakMap(),
      clock,
    };
    try {
      return own(await work(context, ProtocolAddress.new(address.serviceId, address.deviceId)));
    } catch (cause) {
      if (noting.failure !== undefined) throw noting.failure as Error;
      if (cause instanceof BotError) throw cause;
      if (cause instanceof LibSignalErrorBase && cause.code === ErrorCode.UntrustedIdentity)
        throw changed(address.serviceId);
      throw new BotError('CONTENT_INVALID', 'the session of the run does not hold', { cause });
    }
  }
}

function storesOf(context: StoreContext): [BatchSessionStore, BatchIdentityStore] {
  return [new BatchSessionStore(context), new BatchIdentityStore(context)];
}

/** What is sealed to see whether it can be is thrown away, with the step of the ratchet. */
const NO_WRITES: Batch = {
  get: () => Promise.resolve(undefined),
  put: () => undefined,
  delete: () => undefined,
  commit: () => Promise.resolve(),
};

/** @throws BotError `CONTENT_INVALID` when it is of another type */
function serialized(message: CiphertextMessage, type: CiphertextMessageType): Uint8Array {
  if (message.type() !== (type as number))
    throw new BotError('CONTENT_INVALID', 'the session is not in the state that the run needs');
  return message.serialize();
}

function notOurs(): Promise<never> {
  return Promise.reject(new BotError('CONTENT_INVALID', 'a prekey that is not of this run'));
}

class RunPrekeyStore extends PreKeyStore {
  readonly #record: PreKeyRecord;

  constructor(record: PreKeyRecord) {
    super();
    this.#record = record;
  }

  override savePreKey(): Promise<void> {
    return notOurs();
  }

  override getPreKey(id: number): Promise<PreKeyRecord> {
    return id === this.#record.id() ? Promise.resolve(this.#record) : notOurs();
  }

  /** The caller deletes the run's keys with the run. */
  override removePreKey(): Promise<void> {
    return Promise.resolve();
  }
}

class RunSignedPrekeyStore extends SignedPreKeyStore {
  readonly #record: SignedPreKeyRecord;

  constructor(record: SignedPreKeyRecord) {
    super();
    this.#record = record;
  }

  override saveSignedPreKey(): Promise<void> {
    return notOurs();
  }

  override getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return id === this.#record.id() ? Promise.resolve(this.#record) : notOurs();
  }
}

class RunKyberPrekeyStore extends KyberPreKeyStore {
  readonly #record: KyberPreKeyRecord;

  constructor(record: KyberPreKeyRecord) {
    super();
    this.#record = record;
  }

  override saveKyberPreKey(): Promise<void> {
    return notOurs();
  }

  override getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return id === this.#record.id() ? Promise.resolve(this.#record) : notOurs();
  }

  /** Used once (section 7): the caller deletes the run's keys with the run, in the batch of the message that used them. */
  override markKyberPreKeyUsed(): Promise<void> {
    return Promise.resolve();
  }
}
