/**
 * People: the account that a plugin is tested on and those who write to it, with identity keys of their own, as far trusted
 * as a test says.
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import type { Aci, ServiceId } from '../address.ts';
import { fromBase64, toBase64, type Bytes } from '../bytes.ts';
import type { TrustState } from '../store/identity-row.ts';
import type { Store } from '../store/store.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';
import { identityRows } from '../store/tables.ts';

/** An account of which a plugin sees the identity key, and nothing else. */
export function accountOf(aci: Aci): Account {
  return {
    ...{
      aci,
      pni: null,
      number: null,
      deviceId: 1,
      name: 'test',
      server: 'https://test.invalid',
      password: '',
    },
    ...{ registrationId: 1, pniRegistrationId: null, identity: keyPair(), pniIdentity: null },
    ...{ profileKey: null, accountEntropyPool: null, masterKey: null, unlinkedAt: null },
    ...{ linkedAt: 0, keysUploaded: true },
  };
}

/** Contacts by service id. Each has one key, which is seen and first trusted when they write. */
export class People {
  readonly #store: Store;
  readonly #now: () => number;
  /** Those who write at the same time are known one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /**
   * Somebody writes.
   * @param state how far they are trusted from now on; as before if unsaid, and at first `tofu`
   * @returns the key that the message was opened under, 33 bytes
   */
  key(serviceId: ServiceId, state?: TrustState): Promise<Bytes> {
    const known = this.#turn.then(() => this.#note(serviceId, state));
    this.#turn = known;
    return known;
  }

  async #note(serviceId: ServiceId, state: TrustState | undefined): Promise<Bytes> {
    const batch = this.#store.batch();
    const known = await identityRows.get(batch, serviceId);
    const key = known?.key ?? keyPair().publicKey;
    if (known === undefined || (state !== undefined && state !== known.state)) {
      identityRows.put(batch, serviceId, { ...known, key, state: state ?? 'tofu', since: this.#now() });
      await batch.commit();
    }
    return fromBase64(key);
  }
}

function keyPair(): StoredKeyPair {
  const key = PrivateKey.generate();
  return { publicKey: toBase64(key.getPublicKey().serialize()), privateKey: toBase64(key.serialize()) };
}
