/**
 * Bare session: the ratchet session that a run of mode 2 ends with, on libsignal with stores in memory.
 *
 * B opens it from A's bundle, A takes it with the initial message; both then exchange bytes through `seal` and `open`.
 * Whoever it belongs to has one peer and one identity, and no directory.
 * Spec: verification brief, sections 3.1 (mode 2) and 7.
 */
import {
  CiphertextMessageType,
  PreKeyBundle,
  PreKeySignalMessage,
  processPreKeyBundle,
  ProtocolAddress,
  PublicKey,
  KEMPublicKey,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
  SignalMessage,
  type PrivateKey,
} from '@signalapp/libsignal-client';
import type { Bytes, RunBundle, RunPrekeys } from '../../../src/index.ts';
import type { SessionOpener } from '../machine/settle.ts';
import type { SessionRequest } from '../machine/step.ts';
import type { Random } from '../math/spake2.ts';
import type { Party } from '../messages/service-id.ts';
import { OnePin, OneSession, RunPrekeyStores } from './memory-stores.ts';
import { makeRunPrekeys } from './run-prekeys.ts';

export interface BareSessionParts {
  /** Us. */
  readonly party: Party;
  readonly registrationId: number;
  readonly identity: PrivateKey;
  readonly random: Random;
  readonly now: () => number;
}

/** Bytes in the session. `initial`: they open it at the other side too, until that has answered (V-27). */
export interface Sealed {
  readonly kind: 'initial' | 'message';
  readonly bytes: Bytes;
}

interface Peer {
  readonly address: ProtocolAddress;
  readonly pin: OnePin;
  readonly session: OneSession;
}

export class BareSession implements SessionOpener {
  readonly #parts: BareSessionParts;
  readonly #address: ProtocolAddress;
  #peer: Peer | undefined;
  /** libsignal reads the record, waits, and writes it: two at once would lose a step of the ratchet. */
  #lane: Promise<unknown> = Promise.resolve();

  constructor(parts: BareSessionParts) {
    this.#parts = parts;
    this.#address = addressOf(parts.party);
  }

  /** There is a session to seal and open with. */
  get isOpen(): boolean {
    return this.#peer !== undefined;
  }

  trust(): ReturnType<SessionOpener['trust']> {
    return Promise.resolve({ verdict: 'verified', hasSession: false });
  }

  servedKey(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  prepare({ now }: { now: number }): ReturnType<SessionOpener['prepare']> {
    const { party, registrationId, identity, random } = this.#parts;
    const owner = { device: party.device, registrationId, signPrekey: (key: Bytes) => identity.sign(key) };
    return Promise.resolve(makeRunPrekeys(owner, random, now));
  }

  openSession(request: SessionRequest & { bundle: RunBundle; plaintext: Bytes }): Promise<Bytes | undefined> {
    const peer = this.#peerOf(request);
    const now = new Date(this.#parts.now());
    return this.#adopt(peer, async () => {
      const bundle = bundleOf(request.bundle, request.identityKey);
      await processPreKeyBundle(bundle, peer.address, this.#address, peer.session, peer.pin, now);
      const { kind, bytes } = await this.#seal(peer, request.plaintext);
      return kind === 'initial' ? bytes : undefined;
    });
  }

  takeSession(request: SessionRequest & { prekeys: RunPrekeys; initial: Bytes }): Promise<Bytes | undefined> {
    const peer = this.#peerOf(request);
    const { initial, registrationId, prekeys } = request;
    return this.#adopt(peer, async () => {
      const message = PreKeySignalMessage.deserialize(initial);
      // That it names this run's prekeys is seen to by their stores, which know no other ids.
      if (message.registrationId() !== registrationId || message.preKeyId() === null) return undefined;
      return this.#openInitial(peer, message, prekeys);
    });
  }

  async sealDone({ plaintext }: { plaintext: Bytes }): Promise<Bytes> {
    return (await this.seal(plaintext)).bytes;
  }

  async openDone({ message }: { message: Bytes }): Promise<Bytes | undefined> {
    return this.open({ kind: 'message', bytes: message });
  }

  /** @throws Error without a session */
  async seal(plaintext: Bytes): Promise<Sealed> {
    const peer = this.#required();
    return this.#alone(() => this.#seal(peer, plaintext));
  }

  /**
   * @returns undefined for what the peer's session has not sealed, or what was opened before
   * @throws Error without a session
   */
  async open({ kind, bytes }: Sealed): Promise<Bytes | undefined> {
    const peer = this.#required();
    return this.#alone(() =>
      attempt(() => {
        if (kind === 'initial')
          return this.#openInitial(peer, PreKeySignalMessage.deserialize(bytes), undefined);
        const message = SignalMessage.deserialize(bytes);
        return signalDecrypt(message, peer.address, this.#address, peer.session, peer.pin);
      }),
    );
  }

  async #seal(peer: Peer, plaintext: Bytes): Promise<Sealed> {
    const now = new Date(this.#parts.now());
    const message = await signalEncrypt(plaintext, peer.address, this.#address, peer.session, peer.pin, now);
    const kind = message.type() === CiphertextMessageType.PreKey ? 'initial' : 'message';
    return { kind, bytes: message.serialize() };
  }

  #openInitial(peer: Peer, message: PreKeySignalMessage, prekeys: RunPrekeys | undefined): Promise<Bytes> {
    const { address, session, pin } = peer;
    const { prekey, signed, kyber } = new RunPrekeyStores(prekeys);
    return signalDecryptPreKey(message, address, this.#address, session, pin, prekey, signed, kyber);
  }

  /** The session is ours only if `work` gives something. */
  async #adopt(peer: Peer, work: () => Promise<Bytes | undefined>): Promise<Bytes | undefined> {
    const result = await attempt(work);
    if (result !== undefined) this.#peer = peer;
    return result;
  }

  #peerOf({ party, identityKey }: SessionRequest): Peer {
    const { identity, registrationId } = this.#parts;
    const pin = new OnePin(identity, registrationId, PublicKey.deserialize(identityKey));
    return { address: addressOf(party), pin, session: new OneSession() };
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lane.then(work);
    this.#lane = done.catch(() => undefined);
    return done;
  }

  #required(): Peer {
    if (this.#peer === undefined) throw new Error('no session has been opened yet');
    return this.#peer;
  }
}

/** @throws a libsignal error when a key is not one */
export function bundleOf({ deviceId, registrationId, ...keys }: RunBundle, identityKey: Bytes): PreKeyBundle {
  const { prekey, signedPrekey, kyberPrekey } = keys;
  return PreKeyBundle.new(
    registrationId,
    deviceId,
    prekey.id,
    PublicKey.deserialize(prekey.publicKey),
    signedPrekey.id,
    PublicKey.deserialize(signedPrekey.publicKey),
    signedPrekey.signature,
    PublicKey.deserialize(identityKey),
    kyberPrekey.id,
    KEMPublicKey.deserialize(kyberPrekey.publicKey),
    kyberPrekey.signature,
  );
}

/** ACIs are bound into the initial message because the name is shaped like one. */
function addressOf({ aci, device }: Party): ProtocolAddress {
  return ProtocolAddress.new(aci, device);
}

/** libsignal throws what the peer's bytes are to blame for; all that is asked here is whether they were right. */
async function attempt<T>(work: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await work();
  } catch {
    return undefined;
  }
}
