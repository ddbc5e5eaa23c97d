/**
 * Link body: the JSON of `PUT /v1/devices/link`. Spec: protocol brief, section 2.5.
 */
import { PublicKey } from '@signalapp/libsignal-client';
import { fromBase64, toBase64 } from '../bytes.ts';
import { CAPABILITIES } from '../service/devices.ts';
import { encryptDeviceName } from '../session/device-name.ts';
import { signedKeyJson, type FirstKeys, type SignedKeyJson } from '../session/first-keys.ts';
import type { Account } from '../store/rows.ts';

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
    aciSignedPreKey: signedKeyJson('signed', aci.signed),
    aciPqLastResortPreKey: signedKeyJson('kyber', aci.lastResort),
    ...(pni && {
      pniSignedPreKey: signedKeyJson('signed', pni.signed),
      pniPqLastResortPreKey: signedKeyJson('kyber', pni.lastResort),
    }),
  };
}
