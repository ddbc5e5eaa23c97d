/**
 * Link body: the JSON of `PUT /v1/devices/link`. Spec: protocol brief, section 2.5.
 */
import { PublicKey } from '@signalapp/libsignal-client';
import type { IdentityKind } from '../address.ts';
import { fromBase64, toBase64 } from '../bytes.ts';
import { CAPABILITIES } from '../service/devices.ts';
import { publicSignedPrekey, type NewPrekey } from '../session/prekey-generation.ts';
import type { Account, PrekeyState } from '../store/tables.ts';
import { encryptDeviceName } from './device-name.ts';

/** A signed prekey as JSON; key and signature in base64. */
export interface SignedKeyJson {
  readonly keyId: number;
  readonly publicKey: string;
  readonly signature: string;
}

/** The `pni` fields are there if and only if the account has a PNI. */
export interface LinkBody {
  readonly verificationCode: string;
  readonly accountAttributes: {
    readonly fetchesMessages: true;
    readonly registrationId: number;
    readonly pniRegistrationId?: number;
    /** Base64 of the encrypted name. */
    readonly name: string;
    readonly capabilities: Readonly<Record<string, boolean>>;
  };
  readonly aciSignedPreKey: SignedKeyJson;
  readonly aciPqLastResortPreKey: SignedKeyJson;
  readonly pniSignedPreKey?: SignedKeyJson;
  readonly pniPqLastResortPreKey?: SignedKeyJson;
}

/** The keys that an identity is registered with, and its counters behind them. */
export interface FirstKeys {
  readonly identity: IdentityKind;
  readonly state: PrekeyState;
  readonly signed: NewPrekey;
  readonly lastResort: NewPrekey;
}

/** @param code the provisioning code of the phone */
export function linkBody(
  device: Pick<Account, 'name' | 'identity' | 'registrationId' | 'pniRegistrationId'>,
  code: string,
  aci: FirstKeys,
  pni: FirstKeys | undefined,
): LinkBody {
  const name = encryptDeviceName(device.name, PublicKey.deserialize(fromBase64(device.identity.publicKey)));
  return {
    verificationCode: code,
    accountAttributes: {
      fetchesMessages: true,
      registrationId: device.registrationId,
      ...(device.pniRegistrationId === null ? {} : { pniRegistrationId: device.pniRegistrationId }),
      name: toBase64(name),
      capabilities: CAPABILITIES,
    },
    aciSignedPreKey: signedKey('signed', aci.signed),
    aciPqLastResortPreKey: signedKey('kyber', aci.lastResort),
    ...(pni && {
      pniSignedPreKey: signedKey('signed', pni.signed),
      pniPqLastResortPreKey: signedKey('kyber', pni.lastResort),
    }),
  };
}

function signedKey(kind: 'signed' | 'kyber', key: NewPrekey): SignedKeyJson {
  const { id, publicKey, signature } = publicSignedPrekey(kind, key.row.record);
  return { keyId: id, publicKey: toBase64(publicKey), signature: toBase64(signature) };
}
