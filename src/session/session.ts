/**
 * Session: opens and seals messages on a batch (protocol brief, sections 5.2, 5.6 and 6.6).
 *
 * All work with one peer's sessions runs in that peer's lane (`exclusive`), crypto and commit included, the network
 * never. A failed `open` leaves nothing on its batch that may be committed: the caller starts a new one.
 */
import {
  CiphertextMessageType,
  DecryptionErrorMessage,
  ErrorCode,
  PlaintextContent,
  PreKeySignalMessage,
  processPreKeyBundle,
  processSenderKeyDistributionMessage,
  ProtocolAddress,
  type PublicKey,
  groupDecrypt,
  sealedSenderEncrypt,
  type SenderCertificate,
  SenderKeyDistributionMessage,
  SessionRecord,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
  SignalMessage,
  UnidentifiedSenderMessageContent,
  type CiphertextMessage,
} from '@signalapp/libsignal-client';
import type { Address, ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { decodeParts, type Parts } from '../content/content.ts';
import type { Envelope } from '../content/envelope.ts';
import { pad, unpad } from '../content/padding.ts';
import { BotError, isBotError } from '../errors.ts';
import { changed, type Identities, type Standing } from '../identities/identities.ts';
import type { Platform } from '../platform.ts';
import type { Reading } from '../store/reading.ts';
import type { Batch } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { peers, sessions } from '../store/tables.ts';
import { Addresses } from './addresses.ts';
import { toBundle, type DeviceBundle } from './bundle.ts';
import {
  CertificateCheck,
  identify,
  INNER,
  type Identification,
  type Identified,
  type IdentifyParts,
} from './identify.ts';
import { Lanes } from './lanes.ts';
import {
  BatchIdentityStore,
  BatchKyberPrekeyStore,
  BatchPrekeyStore,
  BatchSenderKeyStore,
  BatchSessionStore,
  BatchSignedPrekeyStore,
  NotingBatch,
  type SessionRecords,
  type StoreContext,
} from './libsignal-stores.ts';
import { isLibsignal, likelyReason } from './libsignal-errors.ts';
import { aciIdentity, pniIdentity, type OwnIdentity } from './own-identity.ts';
import { noteDevice } from './peer-devices.ts';

export interface SessionParts {
  readonly account: Account;
  readonly identities: Identities;
  readonly platform: Platform;
  /** 33 bytes each; none: sealed sender is off. */
  readonly trustRoots: readonly Bytes[];
}

export type Opened =
  | {
      readonly kind: 'opened';
      readonly content: Bytes;
      readonly parts: Parts;
      readonly prekey: boolean;
      /** 33 bytes: the key it was opened under (V-14); undefined where libsignal asks for none. */
      readonly identityKey: Bytes | undefined;
    }
  /** The sender's key is not trusted now: nothing was read of it and nothing staged (V-30, V-31). */
  | { readonly kind: 'refused'; readonly standing: Exclude<Standing, 'open'> }
  /** libsignal has taken this message before. */
  | { readonly kind: 'duplicate' }
  | {
      readonly kind: 'unreadable';
      readonly reason: string;
      /** A serialized PlaintextContent to answer with, where the sender is to be asked to send again. */
      readonly retry: Bytes | undefined;
      /** 33 bytes: the key that is not trusted, where that was the reason. */
      readonly untrusted: Bytes | undefined;
    };

/** How to seal under sealed sender. */
export interface Seal {
  readonly certificate: SenderCertificate;
  /** One of `HINT`. */
  readonly hint: number;
}

/** An entry of a send: envelope type as the wire numbers it. */
export interface SealedMessage {
  readonly type: 1 | 3 | 6 | 8;
  readonly content: Bytes;
}

export class Session {
  readonly #parts: SessionParts;
  readonly #aci: OwnIdentity;
  readonly #pni: OwnIdentity | undefined;
  readonly #lanes = new Lanes();
  readonly #addresses = new Addresses();
  readonly #records: SessionRecords = new WeakMap();
  readonly #identifying: IdentifyParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#aci = aciIdentity(parts.account);
    this.#pni = pniIdentity(parts.account);
    const keys = new BatchIdentityStore(this.#context(NOTHING, this.#aci, this.#aci));
    const certificates = new CertificateCheck(parts.trustRoots);
    this.#identifying = { aci: this.#aci, pni: this.#pni, keys, certificates };
  }

  /** Runs alone among all that touches this peer's sessions. */
  exclusive<T>(peer: ServiceId, work: () => Promise<T>): Promise<T> {
    return this.#lanes.run(peer, work);
  }

  /** Who an envelope is from, and whether it may be opened; reads nothing from the store. */
  identify(envelope: Envelope): Reading<Identification> {
    return identify(this.#identifying, envelope);
  }

  /**
   * Decrypts, and stages every change of ratchet, prekeys and sender keys. To be called in the sender's lane.
   * @param timestamp ms, the envelope's
   * @throws BotError `STORE_DAMAGED` when a row cannot be read
   */
  async open(batch: Batch, message: Identified, timestamp: number): Promise<Opened> {
    const own = message.to === 'pni' ? this.#pni : this.#aci;
    if (own === undefined) return unreadable('there is no PNI identity');
    const context = this.#context(batch, own, message.source);
    try {
      // libsignal does not ask before it opens with a sender key, nor for what is not encrypted.
      const read = this.#parts.identities.standing(context.batch, message.source.serviceId);
      const standing = read instanceof Promise ? await read : read;
      if (standing !== 'open') return { kind: 'refused', standing };
      const content = unpad(await this.#decrypt(context, message));
      const parts = decodeParts(content);
      if ((message.type === INNER.PLAINTEXT) !== (parts.content.kind === 'retry')) {
        return unreadable('a content that must not be sent in this form');
      }
      const isPairwise = message.type === INNER.WHISPER || message.type === INNER.PREKEY;
      if (isPairwise) await this.takeSenderKey(batch, message.source, parts);
      const prekey = message.type === INNER.PREKEY;
      return { kind: 'opened', content, parts, prekey, identityKey: context.asked };
    } catch (error) {
      if (context.batch.failure !== undefined) throw context.batch.failure as Error;
      if (isBotError(error, 'STORE_DAMAGED')) throw error;
      return this.#failed(error, message, timestamp, context);
    }
  }

  /**
   * Encrypts for one device. To be called in the recipient's lane; the batch is committed before the bytes leave.
   * @returns undefined when there is no session to encrypt in
   * @throws BotError `IDENTITY_CHANGED`
   */
  async seal(
    batch: Batch,
    to: Address,
    content: Bytes,
    seal: Seal | undefined,
  ): Promise<SealedMessage | undefined> {
    const context = this.#context(batch, this.#aci, to);
    const remote = this.#addresses.of(to);
    let message: CiphertextMessage;
    try {
      const [stores, now] = [this.#stores(context), new Date(this.#parts.platform.clock.now())];
      message = await signalEncrypt(
        pad(content),
        remote,
        this.#aci.address,
        stores.sessions,
        stores.identity,
        now,
      );
    } catch (error) {
      if (context.batch.failure !== undefined) throw context.batch.failure as Error;
      if (isLibsignal(error, ErrorCode.UntrustedIdentity)) throw changed(to.serviceId);
      if (isLibsignal(error, ErrorCode.Generic)) return undefined;
      throw error;
    }
    if (seal !== undefined) return this.#cover(context, remote, message, seal);
    const type = message.type() === (CiphertextMessageType.PreKey as number) ? 3 : 1;
    return { type, content: message.serialize() };
  }

  /** A retry request is not encrypted; under sealed sender it is covered. */
  async sealPlaintext(
    batch: Batch,
    to: Address,
    plaintext: Bytes,
    seal: Seal | undefined,
  ): Promise<SealedMessage> {
    if (seal === undefined) return { type: 8, content: plaintext };
    const message = PlaintextContent.deserialize(plaintext).asCiphertextMessage();
    const remote = this.#addresses.of(to);
    return this.#cover(this.#context(batch, this.#aci, to), remote, message, seal);
  }

  /**
   * Begins a session from a bundle, in place of the one that there may be (that one is archived).
   * @param identityKey 33 bytes
   * @throws BotError `IDENTITY_CHANGED` when the key is not the trusted one: the batch then holds the candidate, and may
   *   be committed; `CONTENT_INVALID` when a signature or a key is wrong
   */
  async begin(batch: Batch, to: ServiceId, identityKey: Bytes, device: DeviceBundle): Promise<void> {
    const address: Address = { serviceId: to, deviceId: device.deviceId };
    const context = this.#context(batch, this.#aci, address);
    const { sessions: sessionStore, identity } = this.#stores(context);
    const remote = ProtocolAddress.new(to, device.deviceId);
    try {
      const now = new Date(this.#parts.platform.clock.now());
      await processPreKeyBundle(
        toBundle(identityKey, device),
        remote,
        this.#aci.address,
        sessionStore,
        identity,
        now,
      );
    } catch (error) {
      if (context.batch.failure !== undefined) throw context.batch.failure as Error;
      if (!isLibsignal(error, ErrorCode.UntrustedIdentity)) {
        throw new BotError('CONTENT_INVALID', `the server gave keys of ${to} that do not hold`, {
          cause: error,
        });
      }
      await this.#parts.identities.save(batch, to, identityKey);
      throw changed(to);
    }
    await noteDevice(batch, 'aci', address, device.registrationId);
  }

  /** Archives the session with a device, so that the next message needs a new one; it can still open late messages. */
  async archive(batch: Batch, address: Address, ratchetKey?: PublicKey): Promise<boolean> {
    const bytes = await sessions.get(batch, 'aci', address.serviceId, address.deviceId);
    if (bytes === undefined) return false;
    const record = SessionRecord.deserialize(bytes);
    if (ratchetKey !== undefined && !record.currentRatchetKeyMatches(ratchetKey)) return false;
    record.archiveCurrentState();
    sessions.put(batch, 'aci', address.serviceId, address.deviceId, record.serialize());
    return true;
  }

  /** Forgets devices that the account no longer has. */
  async drop(batch: Batch, serviceId: ServiceId, deviceIds: readonly number[]): Promise<void> {
    const peer = await peers.get(batch, 'aci', serviceId);
    for (const deviceId of deviceIds) sessions.delete(batch, 'aci', serviceId, deviceId);
    if (peer === undefined) return;
    const devices = peer.devices.filter((device) => !deviceIds.includes(device.id));
    peers.put(batch, 'aci', serviceId, { ...peer, devices });
  }

  #decrypt(context: StoreContext, message: Identified): Bytes | Promise<Bytes> {
    const { source, ciphertext } = message;
    const remote = this.#addresses.of(source);
    switch (message.type) {
      case INNER.WHISPER: {
        const { sessions: sessionStore, identity } = this.#stores(context);
        return signalDecrypt(
          SignalMessage.deserialize(ciphertext),
          remote,
          context.own.address,
          sessionStore,
          identity,
        );
      }
      case INNER.PREKEY:
        return this.#decryptPrekey(context, message, remote);
      case INNER.SENDER_KEY:
        return groupDecrypt(remote, new BatchSenderKeyStore(context.batch), ciphertext);
      case INNER.PLAINTEXT:
        return PlaintextContent.deserialize(ciphertext).body();
      default:
        throw new BotError('CONTENT_INVALID', `a message of inner type ${String(message.type)}`);
    }
  }

  async #decryptPrekey(
    context: StoreContext,
    { source, ciphertext }: Identified,
    remote: ProtocolAddress,
  ): Promise<Bytes> {
    const { sessions: sessionStore, identity } = this.#stores(context);
    const message = PreKeySignalMessage.deserialize(ciphertext);
    const plaintext = await signalDecryptPreKey(
      message,
      remote,
      context.own.address,
      sessionStore,
      identity,
      new BatchPrekeyStore(context),
      new BatchSignedPrekeyStore(context),
      new BatchKyberPrekeyStore(context),
    );
    await noteDevice(context.batch, context.own.kind, source, message.registrationId());
    return plaintext;
  }

  async #failed(
    error: unknown,
    message: Identified,
    timestamp: number,
    context: StoreContext,
  ): Promise<Opened> {
    if (isLibsignal(error, ErrorCode.DuplicatedMessage)) return { kind: 'duplicate' };
    if (isLibsignal(error, ErrorCode.UntrustedIdentity)) {
      return unreadable('the identity key of the sender has changed', undefined, context.untrusted);
    }
    const reason = likelyReason(error);
    if (!message.resendable) return Promise.resolve(unreadable(reason));
    try {
      const request = DecryptionErrorMessage.forOriginal(
        message.ciphertext,
        message.type,
        timestamp,
        message.source.deviceId,
      );
      return unreadable(reason, PlaintextContent.from(request).serialize());
    } catch {
      return unreadable(reason); // it is not even a message of its type, so its sender cannot know which one it was
    }
  }

  /**
   * Takes in the sender key that a content has brought, if it has. It must have come in a session, under a trusted key
   * (V-30): what is not encrypted is from whoever likes, and a group's own message can vouch for no key of it.
   */
  async takeSenderKey(batch: Batch, source: Address, { distribution }: Parts): Promise<void> {
    if (distribution === undefined) return;
    const message = SenderKeyDistributionMessage.deserialize(distribution);
    const sender = ProtocolAddress.new(source.serviceId, source.deviceId);
    await processSenderKeyDistributionMessage(sender, message, new BatchSenderKeyStore(batch));
  }

  async #cover(
    context: StoreContext,
    remote: ProtocolAddress,
    message: CiphertextMessage,
    seal: Seal,
  ): Promise<SealedMessage> {
    const content = UnidentifiedSenderMessageContent.new(message, seal.certificate, seal.hint, null);
    return { type: 6, content: await sealedSenderEncrypt(content, remote, new BatchIdentityStore(context)) };
  }

  #context(batch: Batch, own: OwnIdentity, remote: Address): StoreContext {
    const { identities, platform } = this.#parts;
    const records = this.#records;
    return { batch: new NotingBatch(batch), own, remote, identities, records, clock: platform.clock };
  }

  #stores(context: StoreContext): { sessions: BatchSessionStore; identity: BatchIdentityStore } {
    return { sessions: new BatchSessionStore(context), identity: new BatchIdentityStore(context) };
  }
}

/** For what never touches the store. */
const NOTHING: Batch = {
  get: () => undefined,
  put: () => undefined,
  delete: () => undefined,
  commit: () => Promise.resolve(),
};

function unreadable(reason: string, retry?: Bytes, untrusted?: Bytes): Opened {
  return { kind: 'unreadable', reason, retry, untrusted };
}
