/**
 * False device: what the attack lab gives out in the place of a real one. It has a key of its own under the real device's
 * address, takes what is sealed for it, and seals in the other's name.
 */
import {
  CiphertextMessageType,
  KEMKeyPair,
  KEMPublicKey,
  KyberPreKeyRecord,
  PreKeyBundle,
  PreKeyRecord,
  PrivateKey,
  processPreKeyBundle,
  ProtocolAddress,
  PublicKey,
  signalEncrypt,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client';
import { own, toBase64, type Bytes } from '../bytes.ts';
import {
  AnyIdentity,
  MemoryKyberPrekeys,
  MemoryPrekeys,
  MemorySessions,
  MemorySignedPrekeys,
  openSealed,
  type DeviceStores,
} from './memory-stores.ts';
import type { Device, KeyKind } from './mock.ts';

export interface SealedEntry {
  /** 1 or 3, as PUT /v1/messages names them. */
  readonly type: number;
  readonly content: Bytes;
}

/** As GET /v2/keys writes them. */
export interface ServedDevice {
  readonly deviceId: number;
  readonly registrationId: number;
  readonly signedPreKey: object;
  readonly preKey: object;
  readonly pqPreKey: object;
}

export class FalseDevice {
  readonly #identity: PrivateKey;
  readonly #address: ProtocolAddress;
  readonly #registrationId: number;
  readonly #stores: DeviceStores;
  #nextId = 1;

  /** @param identity of the whole false account */
  constructor(identity: PrivateKey, aci: string, deviceId: number, registrationId: number) {
    this.#identity = identity;
    this.#address = ProtocolAddress.new(aci, deviceId);
    this.#registrationId = registrationId;
    this.#stores = {
      identities: new AnyIdentity(identity, registrationId),
      sessions: new MemorySessions(),
      prekeys: new MemoryPrekeys(),
      signedPrekeys: new MemorySignedPrekeys(),
      kyberPrekeys: new MemoryKyberPrekeys(),
    };
  }

  /** Fresh keys, which are kept. */
  async serve(now: number): Promise<ServedDevice> {
    const id = this.#nextId++;
    const [prekey, signed, kyber] = [PrivateKey.generate(), PrivateKey.generate(), KEMKeyPair.generate()];
    const signedKey = signed.getPublicKey();
    const signature = this.#identity.sign(signedKey.serialize());
    const kyberKey = kyber.getPublicKey();
    const kyberSignature = this.#identity.sign(kyberKey.serialize());
    const { prekeys, signedPrekeys, kyberPrekeys } = this.#stores;
    await prekeys.savePreKey(id, PreKeyRecord.new(id, prekey.getPublicKey(), prekey));
    const record = SignedPreKeyRecord.new(id, now, signedKey, signed, signature);
    await signedPrekeys.saveSignedPreKey(id, record);
    await kyberPrekeys.saveKyberPreKey(id, KyberPreKeyRecord.new(id, now, kyber, kyberSignature));
    const written = (key: Uint8Array, by?: Uint8Array): object => ({
      keyId: id,
      publicKey: toBase64(key),
      ...(by && { signature: toBase64(by).replace(/=+$/, '') }),
    });
    return {
      deviceId: this.#address.deviceId(),
      registrationId: this.#registrationId,
      preKey: written(prekey.getPublicKey().serialize()),
      signedPreKey: written(signedKey.serialize(), signature),
      pqPreKey: written(kyberKey.serialize(), kyberSignature),
    };
  }

  /** @returns the padded content; undefined when it was not sealed for this device */
  async open(from: ProtocolAddress, { type, content }: SealedEntry): Promise<Bytes | undefined> {
    try {
      return own(await openSealed(this.#stores, this.#address, from, type, content));
    } catch {
      return undefined; // sealed for somebody else
    }
  }

  /** Seals in the name of the device whose address this has. @param target gives its keys where there is no session yet */
  async seal(target: Device, kind: KeyKind, plaintext: Bytes): Promise<SealedEntry> {
    const to = ProtocolAddress.new(target.aci, target.deviceId);
    const { sessions, identities } = this.#stores;
    if ((await sessions.getSession(to)) === null) await this.#begin(to, target, kind);
    const message = await signalEncrypt(plaintext, to, this.#address, sessions, identities, new Date());
    const isInitial = message.type() === (CiphertextMessageType.PreKey as number);
    return { type: isInitial ? 3 : 1, content: own(message.serialize()) };
  }

  async #begin(to: ProtocolAddress, target: Device, kind: KeyKind): Promise<void> {
    const { identityKey, signedPreKey, preKey, pqPreKey } = await target.popSingleUseKey(kind);
    const bundle = PreKeyBundle.new(
      target.getCheckedRegistrationId(kind),
      target.deviceId,
      preKey?.keyId ?? null,
      preKey === undefined ? null : ecKey(preKey.publicKey),
      signedPreKey.keyId,
      ecKey(signedPreKey.publicKey),
      signedPreKey.signature,
      ecKey(identityKey),
      pqPreKey.keyId,
      KEMPublicKey.deserialize(own(pqPreKey.publicKey.serialize())),
      pqPreKey.signature,
    );
    const { sessions, identities } = this.#stores;
    await processPreKeyBundle(bundle, to, this.#address, sessions, identities, new Date());
  }
}

/** The mock has a libsignal of its own, and its objects are none of ours. */
function ecKey(key: { serialize(): Uint8Array }): PublicKey {
  return PublicKey.deserialize(own(key.serialize()));
}
