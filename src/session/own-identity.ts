/**
 * Our own side of every session: key pair, registration id and local address, for the ACI and for the PNI.
 */
import { IdentityKeyPair, PrivateKey, ProtocolAddress, PublicKey } from '@signalapp/libsignal-client';
import type { DeviceId, IdentityKind, ServiceId } from '../address.ts';
import { fromBase64, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';

export interface OwnIdentity {
  readonly kind: IdentityKind;
  readonly serviceId: ServiceId;
  readonly deviceId: DeviceId;
  readonly keys: IdentityKeyPair;
  readonly registrationId: number;
  readonly address: ProtocolAddress;
}

export function ownIdentity(account: Account, kind: IdentityKind): OwnIdentity | undefined {
  const { deviceId } = account;
  if (kind === 'aci') {
    return make(kind, account.aci, deviceId, account.identity, account.registrationId);
  }
  const { pni, pniIdentity, pniRegistrationId } = account;
  if (pni === null || pniIdentity === null || pniRegistrationId === null) return undefined;
  return make(kind, pni, deviceId, pniIdentity, pniRegistrationId);
}

/** The identity of our ACI. @throws BotError `STORE_DAMAGED` when the account row has none */
export function checkedIdentity(account: Account): OwnIdentity {
  const own = ownIdentity(account, 'aci');
  if (own === undefined) throw new BotError('STORE_DAMAGED', 'the account row has no ACI identity');
  return own;
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
