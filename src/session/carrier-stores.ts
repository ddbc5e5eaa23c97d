/**
 * libsignal's stores as the carrier has them: its own session table, and an identity view that trusts the key that it is
 * asked about and notes none (verification brief, section 3.1).
 */
import { IdentityChange, SessionRecord, SessionStore, type PublicKey } from '@signalapp/libsignal-client';
import type { ProtocolAddress } from '@signalapp/libsignal-client';
import { BotError } from '../errors.ts';
import { carrierSessions } from '../store/tables.ts';
import { BatchIdentityStore, type StoreContext } from './libsignal-stores.ts';

export class CarrierSessionStore extends SessionStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super();
    this.#context = context;
  }

  override saveSession(_address: ProtocolAddress, record: SessionRecord): Promise<void> {
    const { batch, remote } = this.#context;
    carrierSessions.put(batch, remote.serviceId, remote.deviceId, record.serialize());
    return Promise.resolve();
  }

  override async getSession(): Promise<SessionRecord | null> {
    const { batch, remote } = this.#context;
    const bytes = await carrierSessions.get(batch, remote.serviceId, remote.deviceId);
    return bytes === undefined ? null : SessionRecord.deserialize(bytes);
  }

  override getExistingSessions(): Promise<SessionRecord[]> {
    return Promise.reject(new BotError('USAGE', 'there is one session to a store'));
  }
}

export class CarrierIdentityStore extends BatchIdentityStore {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    super(context);
    this.#context = context;
  }

  override isTrustedIdentity(_address: ProtocolAddress, key: PublicKey): Promise<boolean> {
    this.#context.asked = key.serialize();
    return Promise.resolve(true);
  }

  override saveIdentity(): Promise<IdentityChange> {
    return Promise.resolve(IdentityChange.NewOrUnchanged);
  }
}
