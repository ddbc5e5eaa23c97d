/**
 * Bundles: the keys that begin a session with one device, as the service and a run hand them over.
 */
import { KEMPublicKey, PreKeyBundle, PublicKey } from '@signalapp/libsignal-client';
import type { Bytes } from '../bytes.ts';

/** One device's entry of a bundle; the service's `BundleDevice` fits. */
export interface DeviceBundle {
  readonly deviceId: number;
  readonly registrationId: number;
  readonly signedPrekey: { readonly id: number; readonly publicKey: Bytes; readonly signature: Bytes };
  readonly prekey: { readonly id: number; readonly publicKey: Bytes } | undefined;
  readonly kyberPrekey: { readonly id: number; readonly publicKey: Bytes; readonly signature: Bytes };
}

/** @param identityKey 33 bytes @throws Error of libsignal when a key is not well-formed */
export function toBundle(identityKey: Bytes, device: DeviceBundle): PreKeyBundle {
  const { signedPrekey, prekey, kyberPrekey } = device;
  return PreKeyBundle.new(
    device.registrationId,
    device.deviceId,
    prekey?.id ?? null,
    prekey === undefined ? null : PublicKey.deserialize(prekey.publicKey),
    signedPrekey.id,
    PublicKey.deserialize(signedPrekey.publicKey),
    signedPrekey.signature,
    PublicKey.deserialize(identityKey),
    kyberPrekey.id,
    KEMPublicKey.deserialize(kyberPrekey.publicKey),
    kyberPrekey.signature,
  );
}
