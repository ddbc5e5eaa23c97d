/**
 * Registration body: the JSON of `POST /v1/registration`. Spec: protocol brief, section 14, step 5.
 */
import type { IdentityKind } from '../address.ts';
import { fromBase64, toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { CAPABILITIES } from '../service/devices.ts';
import { accessKeyOf } from '../service/own-profile.ts';
import { signedKeyJson, type SignedKeyJson } from '../session/first-keys.ts';
import type { Batch } from '../store/store.ts';
import { prekeys } from '../store/tables.ts';
import type { PendingRegistration } from './pending-registration.ts';

export interface RegistrationBody {
  readonly sessionId: string;
  readonly skipDeviceTransfer: boolean;
  /** Base64, 33 bytes. */
  readonly aciIdentityKey: string;
  readonly pniIdentityKey: string;
  readonly aciSignedPreKey: SignedKeyJson;
  readonly pniSignedPreKey: SignedKeyJson;
  readonly aciPqLastResortPreKey: SignedKeyJson;
  readonly pniPqLastResortPreKey: SignedKeyJson;
  readonly accountAttributes: {
    readonly fetchesMessages: true;
    readonly registrationId: number;
    readonly pniRegistrationId: number;
    readonly discoverableByPhoneNumber: boolean;
    /** Base64 with padding, 16 bytes. */
    readonly unidentifiedAccessKey: string;
    readonly unrestrictedUnidentifiedAccess: boolean;
    readonly capabilities: Readonly<Record<string, boolean>>;
  };
}

/**
 * The same for the same record, so that a request can be made again.
 * @throws BotError `STORE_DAMAGED` the keys of the record are not there
 */
export async function registrationBody(
  batch: Batch,
  pending: PendingRegistration,
  sessionId: string,
): Promise<RegistrationBody> {
  const key = async (identity: IdentityKind, kind: 'signed' | 'kyber'): Promise<SignedKeyJson> => {
    const ids = pending.keys?.[identity];
    const id = kind === 'signed' ? ids?.signedId : ids?.lastResortId;
    const row = id === undefined ? undefined : await prekeys.get(batch, identity, kind, id);
    if (row === undefined) throw new BotError('STORE_DAMAGED', 'a key of the registration is missing');
    return signedKeyJson(kind, { row });
  };
  return {
    sessionId,
    skipDeviceTransfer: pending.takeOver,
    aciIdentityKey: pending.identity.publicKey,
    pniIdentityKey: pending.pniIdentity.publicKey,
    aciSignedPreKey: await key('aci', 'signed'),
    pniSignedPreKey: await key('pni', 'signed'),
    aciPqLastResortPreKey: await key('aci', 'kyber'),
    pniPqLastResortPreKey: await key('pni', 'kyber'),
    accountAttributes: {
      fetchesMessages: true,
      registrationId: pending.registrationId,
      pniRegistrationId: pending.pniRegistrationId,
      discoverableByPhoneNumber: true,
      unidentifiedAccessKey: toBase64(accessKeyOf(fromBase64(pending.profileKey))),
      unrestrictedUnidentifiedAccess: false,
      capabilities: CAPABILITIES,
    },
  };
}
