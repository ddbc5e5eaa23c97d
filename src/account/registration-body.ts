/**
 * Registration body: the JSON of `POST /v1/registration`. Spec: protocol brief, section 14, step 5.
 */
import { SvrKey } from '@signalapp/libsignal-client/dist/AccountKeys.js';
import type { IdentityKind } from '../address.ts';
import { fromBase64, toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { CAPABILITIES } from '../service/devices.ts';
import { accessKeyOf } from '../service/own-profile.ts';
import { signedKeyJson, type SignedKeyJson } from '../session/first-keys.ts';
import type { Batch } from '../store/store.ts';
import { prekeys } from '../store/tables.ts';
import type { PendingRegistration } from './pending-registration.ts';

/** Why the server may believe that the number is ours. */
export type Proof =
  /** A verification session that is done. */
  | { readonly sessionId: string }
  /** Base64, 32 bytes: what an earlier registration of the number has left with the server. */
  | { readonly recoveryPassword: string };

interface Body {
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
    /** Base64, 32 bytes: registers the number again without another verification. */
    readonly recoveryPassword: string;
    readonly capabilities: Readonly<Record<string, boolean>>;
  };
}

export type RegistrationBody = Body & Proof;

/**
 * Declared by primary devices: the server then asks (409) before it lets anybody take the account over, this program too.
 */
const TRANSFER = { transfer: true } as const;

/**
 * The same for the same record, so that a request can be made again.
 * @throws BotError `STORE_DAMAGED` the keys of the record are not there
 */
export async function registrationBody(
  batch: Batch,
  pending: PendingRegistration,
  proof: Proof,
): Promise<RegistrationBody> {
  const key = async (identity: IdentityKind, kind: 'signed' | 'kyber'): Promise<SignedKeyJson> => {
    const ids = pending.keys?.[identity];
    const id = kind === 'signed' ? ids?.signedId : ids?.lastResortId;
    const row = id === undefined ? undefined : await prekeys.get(batch, identity, kind, id);
    if (row === undefined) throw new BotError('STORE_DAMAGED', 'a key of the registration is missing');
    return signedKeyJson(kind, { row });
  };
  return {
    ...proof,
    skipDeviceTransfer: pending.takeOver || 'recoveryPassword' in proof,
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
      recoveryPassword: recoveryPasswordOf(pending),
      capabilities: { ...CAPABILITIES, ...TRANSFER },
    },
  };
}

/** Of this record alone: the server knows it only if it has carried out a registration of this record. */
export function recoveryPasswordOf({ masterKey }: PendingRegistration): string {
  return toBase64(new SvrKey(fromBase64(masterKey)).deriveRegistrationRecoveryPassword());
}
