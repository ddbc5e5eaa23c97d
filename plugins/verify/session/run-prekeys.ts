/**
 * Prekeys of one run: made by A when cB is right, sent in its payload, and gone when the run is over. They are never
 * uploaded, and their ids never mixed with published ones: the stores that know them know nothing else.
 * Spec: verification brief, section 7; V-28 for sizes.
 */
import {
  KEMKeyPair,
  KyberPreKeyRecord,
  PreKeyRecord,
  PrivateKey,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client';
import type { Bytes, DeviceId } from '../../../src/index.ts';
import type { Prepared } from '../machine/step.ts';
import type { Random } from '../math/spake2.ts';

export interface PrekeyOwner {
  readonly device: DeviceId;
  /** 1..16383 */
  readonly registrationId: number;
  /** Signs a serialized public key with the ACI identity key. */
  readonly signPrekey: (key: Bytes) => Bytes;
}

/** Ids are varints in the initial message: three bytes keep it short. */
const ID_BYTES = 3;

/** @param now ms since 1970 */
export function makeRunPrekeys(owner: PrekeyOwner, random: Random, now: number): Prepared {
  const prekey = PrivateKey.generate();
  const signed = PrivateKey.generate();
  const kyber = KEMKeyPair.generate();
  const [prekeyPublic, signedPublic] = [prekey.getPublicKey(), signed.getPublicKey()];
  const signedSignature = owner.signPrekey(signedPublic.serialize());
  const kyberSignature = owner.signPrekey(kyber.getPublicKey().serialize());
  const [id, signedId, kyberId] = [drawId(random), drawId(random), drawId(random)];
  return {
    bundle: {
      deviceId: owner.device,
      registrationId: owner.registrationId,
      prekey: { id, publicKey: prekeyPublic.serialize() },
      signedPrekey: { id: signedId, publicKey: signedPublic.serialize(), signature: signedSignature },
      kyberPrekey: { id: kyberId, publicKey: kyber.getPublicKey().serialize(), signature: kyberSignature },
    },
    prekeys: {
      prekey: PreKeyRecord.new(id, prekeyPublic, prekey).serialize(),
      signedPrekey: SignedPreKeyRecord.new(signedId, now, signedPublic, signed, signedSignature).serialize(),
      kyberPrekey: KyberPreKeyRecord.new(kyberId, now, kyber, kyberSignature).serialize(),
    },
  };
}

/** 1..0xFFFFFF */
function drawId(random: Random): number {
  const id = random.bytes(ID_BYTES).reduce((sum, byte) => sum * 256 + byte, 0);
  return id === 0 ? 1 : id;
}
