/**
 * Carrier: a contact's second session table, whose identity view trusts the key that it is asked about (verification
 * brief, section 3.1). It brings the frames of a run to a contact in `changed`, and ACCEPT to one who has not healed yet.
 *
 * Only frames of `countersign.verify/1` and fillers are sealed in it, and only a frame is taken from it; whoever uses it
 * sees to that. It goes opened (by a frame, or by sessions that move here) -> ended with the run, once what was parked
 * has been opened again.
 */
import {
  CiphertextMessageType,
  LibSignalErrorBase,
  PreKeySignalMessage,
  processPreKeyBundle,
  ProtocolAddress,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
  SignalMessage,
} from '@signalapp/libsignal-client';
import type { Aci, Address, ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { parseTag } from '../content/app-message.ts';
import { decodeParts, type Parts } from '../content/content.ts';
import { pad, unpad } from '../content/padding.ts';
import { BotError } from '../errors.ts';
import type { Identities } from '../identities/identities.ts';
import type { Platform } from '../platform.ts';
import type { Batch, Staging, Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { carriers, carrierSessions, parkedRows, sessions } from '../store/tables.ts';
import { toBundle, type DeviceBundle } from './bundle.ts';
import { CarrierIdentityStore, CarrierSessionStore } from './carrier-stores.ts';
import { INNER, type Identified } from './identify.ts';
import {
  BatchIdentityStore,
  BatchKyberPrekeyStore,
  BatchPrekeyStore,
  BatchSignedPrekeyStore,
  NotingBatch,
  type StoreContext,
} from './libsignal-stores.ts';
import { aciIdentity, type OwnIdentity } from './own-identity.ts';
import { deleteSessions, devicesWithin, noteDevice } from './peer-devices.ts';
import type { SealedMessage } from './session.ts';

/** The tag of the frames. */
export const VERIFY_TAG = parseTag('countersign.verify/1');

export interface CarrierParts {
  readonly store: Store;
  readonly account: Account;
  readonly identities: Identities;
  readonly platform: Platform;
}

/** What came by the carrier. */
export interface Carried {
  readonly content: Bytes;
  readonly parts: Parts;
  /** 33 bytes: the key that it was opened under. */
  readonly identityKey: Bytes | undefined;
  /** It used up a prekey of ours. */
  readonly prekey: boolean;
}

export class Carrier {
  readonly #parts: CarrierParts;
  readonly #own: OwnIdentity;

  constructor(parts: CarrierParts) {
    this.#parts = parts;
    this.#own = aciIdentity(parts.account);
  }

  /** Whether there is a session with this device. */
  async has(batch: Staging, { serviceId, deviceId }: Address): Promise<boolean> {
    return (await carrierSessions.get(batch, serviceId, deviceId)) !== undefined;
  }

  /** Whether there is a carrier for this contact. */
  async isOpen(batch: Staging, serviceId: ServiceId): Promise<boolean> {
    return (await carriers.get(batch, serviceId)) !== undefined;
  }

  /**
   * Opens what could not be opened elsewhere, on a batch of its own: unless it is a frame, the batch is to be dropped. To
   * be called in the sender's lane.
   * @param trust `lenient` for frames; `strict` where trust is back, to open what was parked
   * @returns undefined when it cannot be opened
   * @throws BotError `STORE_DAMAGED`
   */
  async open(
    batch: Batch,
    message: Identified,
    trust: 'lenient' | 'strict' = 'lenient',
  ): Promise<Carried | undefined> {
    const isRatchet = message.type === INNER.WHISPER || message.type === INNER.PREKEY;
    if (message.to !== 'aci' || !isRatchet) return undefined;
    const context = this.#context(batch, message.source);
    try {
      const content = unpad(await this.#decrypt(context, message, trust));
      const parts = decodeParts(content);
      // Opening what was parked does not prolong a carrier: it ends once all of that is opened.
      if (trust === 'lenient') await this.#note(batch, message.source.serviceId);
      return { content, parts, identityKey: context.asked, prekey: message.type === INNER.PREKEY };
    } catch (error) {
      if (context.batch.failure !== undefined) throw context.batch.failure as Error;
      if (error instanceof BotError && error.code.startsWith('STORE_')) throw error;
      return undefined;
    }
  }

  /**
   * Seals a frame or a filler; never under sealed sender, which would need a key that is trusted.
   * @returns undefined when there is no session to seal in
   */
  async seal(batch: Batch, to: Address, content: Bytes): Promise<SealedMessage | undefined> {
    if (!(await this.has(batch, to))) return undefined;
    const context = this.#context(batch, to);
    const { remote, sessionStore, identity, now } = this.#stores(context);
    try {
      const message = await signalEncrypt(
        pad(content),
        remote,
        this.#own.address,
        sessionStore,
        identity,
        now,
      );
      const type = message.type() === (CiphertextMessageType.PreKey as number) ? 3 : 1;
      return { type, content: message.serialize() };
    } catch (error) {
      if (context.batch.failure !== undefined) throw context.batch.failure as Error;
      if (error instanceof LibSignalErrorBase) return undefined;
      throw error;
    }
  }

  /** Begins a session from a bundle, under whatever key it has. @throws BotError `CONTENT_INVALID` when a signature is wrong */
  async begin(batch: Batch, to: ServiceId, identityKey: Bytes, device: DeviceBundle): Promise<void> {
    const address = { serviceId: to, deviceId: device.deviceId };
    const context = this.#context(batch, address);
    const { remote, sessionStore, identity, now } = this.#stores(context);
    try {
      await processPreKeyBundle(
        toBundle(identityKey, device),
        remote,
        this.#own.address,
        sessionStore,
        identity,
        now,
      );
    } catch (cause) {
      if (context.batch.failure !== undefined) throw context.batch.failure as Error;
      throw new BotError('CONTENT_INVALID', `the server gave keys of ${to} that do not hold`, { cause });
    }
    await this.#note(batch, to);
    await noteDevice(batch, 'aci', address, device.registrationId);
  }

  /** Stages that every session with a contact moves here, in place of what is here. */
  async move(batch: Staging, aci: Aci): Promise<void> {
    const { store } = this.#parts;
    for (const deviceId of await devicesWithin(store, sessions.key('aci', aci))) {
      const record = await sessions.get(batch, 'aci', aci, deviceId);
      if (record !== undefined) carrierSessions.put(batch, aci, deviceId, record);
    }
    await deleteSessions(store, batch, aci);
    await this.#note(batch, aci);
  }

  /** Stages the end, or, where something parked may still open here, a note that it is over. */
  async end(batch: Staging, aci: ServiceId): Promise<void> {
    const { store } = this.#parts;
    const row = await carriers.get(batch, aci);
    for await (const [key] of store.scan(parkedRows.key(aci), { limit: 1 })) {
      if (key !== '' && row !== undefined) {
        carriers.put(batch, aci, { ...row, ending: true });
        return;
      }
    }
    for (const deviceId of await devicesWithin(store, carrierSessions.key(aci))) {
      carrierSessions.delete(batch, aci, deviceId);
    }
    carriers.delete(batch, aci);
  }

  /** Whether its run is over. */
  async isEnding(batch: Staging, aci: ServiceId): Promise<boolean> {
    return (await carriers.get(batch, aci))?.ending === true;
  }

  async #decrypt(context: StoreContext, message: Identified, trust: 'lenient' | 'strict'): Promise<Bytes> {
    const { remote, sessionStore } = this.#stores(context);
    const identity = trust === 'strict' ? new BatchIdentityStore(context) : new CarrierIdentityStore(context);
    const { address } = this.#own;
    if (message.type === INNER.WHISPER) {
      const whisper = SignalMessage.deserialize(message.ciphertext);
      return signalDecrypt(whisper, remote, address, sessionStore, identity);
    }
    const initial = PreKeySignalMessage.deserialize(message.ciphertext);
    const plaintext = await signalDecryptPreKey(
      initial,
      remote,
      address,
      sessionStore,
      identity,
      new BatchPrekeyStore(context),
      new BatchSignedPrekeyStore(context),
      new BatchKyberPrekeyStore(context),
    );
    await noteDevice(context.batch, 'aci', message.source, initial.registrationId());
    return plaintext;
  }

  /** Upkeep ends what was not used for long. */
  async #note(batch: Staging, serviceId: ServiceId): Promise<void> {
    const known = await carriers.get(batch, serviceId);
    if (known === undefined || known.ending) {
      carriers.put(batch, serviceId, { since: this.#parts.platform.clock.now(), ending: false });
    }
  }

  #context(batch: Batch, remote: Address): StoreContext {
    const { identities, platform } = this.#parts;
    return {
      batch: new NotingBatch(batch),
      own: this.#own,
      remote,
      identities,
      records: new WeakMap(),
      clock: platform.clock,
    };
  }

  #stores(context: StoreContext): {
    remote: ProtocolAddress;
    sessionStore: CarrierSessionStore;
    identity: CarrierIdentityStore;
    now: Date;
  } {
    const { serviceId, deviceId } = context.remote;
    return {
      remote: ProtocolAddress.new(serviceId, deviceId),
      sessionStore: new CarrierSessionStore(context),
      identity: new CarrierIdentityStore(context),
      now: new Date(context.clock.now()),
    };
  }
}
