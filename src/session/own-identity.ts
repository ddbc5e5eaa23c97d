/**
 * Our own side of every session: key pair, registration id and local address, for the ACI and for the PNI.
 */
import { IdentityKeyPair, PrivateKey, ProtocolAddress, PublicKey } from '@signalapp/libsignal-client';
import type { DeviceId, IdentityKind, ServiceId } from '../address.ts';
import { fromBase64, type Bytes } from '../bytes.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';

export interface OwnIdentity {
  readonly kind: IdentityKind;
  readonly serviceId: ServiceId;
  readonly deviceId: DeviceId;
  readonly keys: IdentityKeyPair;
  readonly registrationId: number;
  readonly address: ProtocolAddress;
}

export function aciIdentity({ aci, deviceId, identity, registrationId }: Account): OwnIdentity {
  return make('aci', aci, deviceId, identity, registrationId);
}

/** @returns undefined for an account without a phone number */
export function pniIdentity({ deviceId, ...account }: Account): OwnIdentity | undefined {
  const { pni, pniIdentity: pair, pniRegistrationId: registrationId } = account;
  if (pni === null || pair === null || registrationId === null) return undefined;
  return make('pni', pni, deviceId, pair, registrationId);
}

/** Our identity keys by service id, 33 bytes. */
export function ownKeys(account: Account): ReadonlyMap<ServiceId, Bytes> {
  const keys = new Map<ServiceId, Bytes>([[account.aci, fromBase64(account.identity.publicKey)]]);
  if (account.pni !== null && account.pniIdentity !== null) {
    keys.set(account.pni, fromBase64(account.pniIdentity.publicKey));
  }
  return keys;
}

function make(
  kind: IdentityKind,
  serviceId: ServiceId,
  deviceId: DeviceId,
  pair: StoredKeyPair,
  registrationId: number,
): OwnIdentity {
  const keys = new IdentityKeyPair(
    PublicKey.deserialize(fromBase64(pair.publicKey)),
    PrivateKey.deserialize(fromBase64(pair.privateKey)),
  );
  return {
    kind,
    serviceId,
    deviceId,
    keys,
    registrationId,
    address: ProtocolAddress.new(serviceId, deviceId),
  };
}
