/**
 * Own key: our identity key as plugins have it: they can sign with it, and never see its private half.
 */
import { PublicKey } from '@signalapp/libsignal-client';
import { concat, fromBase64, fromUtf8, own, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { aciIdentity, pniIdentity } from '../session/own-identity.ts';
import type { Account } from '../store/rows.ts';
import type { OwnKey, PniBlock } from '../trust.ts';

/** Keeps what is signed here apart from serialized keys (05…, 08…); the label keeps it apart from alternate identities. */
const PREFIX: Bytes = new Uint8Array(32).fill(0xff);
const LABEL = /^spake2-signal [\x20-\x7e]+$/;
const EC_KEY = { type: 0x05, length: 33 } as const;
const KEM_KEY = { type: 0x08, length: 1569 } as const;

export function ownKeyOf(account: Account): OwnKey {
  const { privateKey, publicKey } = aciIdentity(account).keys;
  let pni: { readonly block: PniBlock | undefined } | undefined;
  return {
    aci: account.aci,
    deviceId: account.deviceId,
    registrationId: account.registrationId,
    identityKey: publicKey.serialize(),
    get pni() {
      return (pni ??= { block: pniBlockOf(account) }).block;
    },
    sign: (label, bytes) => own(privateKey.sign(signedBytes(label, bytes))),
    signPrekey: (key) => {
      const isKey = [EC_KEY, KEM_KEY].some(({ type, length }) => key[0] === type && key.length === length);
      if (!isKey) throw new BotError('CONTENT_INVALID', 'this is not a serialized public key');
      return own(privateKey.sign(own(key)));
    },
  };
}

/**
 * Checks what `OwnKey.sign` has made.
 * @param identityKey 33 bytes, the signer's
 */
export function verifySignature(
  identityKey: Uint8Array,
  label: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    return PublicKey.deserialize(own(identityKey)).verify(signedBytes(label, bytes), own(signature));
  } catch {
    return false; // neither a key nor a signature
  }
}

/** Whether both identities sign each other (verification brief, section 9): one direction anybody could sign. */
export function verifyPniBlock(identityKey: Uint8Array, block: PniBlock): boolean {
  try {
    const aciKey = PublicKey.deserialize(own(identityKey));
    const pniKey = PublicKey.deserialize(block.key);
    return (
      pniKey.verifyAlternateIdentity(aciKey, block.signatureByPni) &&
      aciKey.verifyAlternateIdentity(pniKey, block.signatureByAci)
    );
  } catch {
    return false; // a key or a signature that is none
  }
}

/** @throws BotError `CONTENT_INVALID` */
function signedBytes(label: string, bytes: Uint8Array): Bytes {
  if (!LABEL.test(label))
    throw new BotError('CONTENT_INVALID', 'a label to sign under begins "spake2-signal "');
  return concat(PREFIX, fromUtf8(label), bytes);
}

function pniBlockOf(account: Account): PniBlock | undefined {
  const [aci, pni] = [aciIdentity(account), pniIdentity(account)];
  if (pni === undefined || account.pni === null || account.pniIdentity === null) return undefined;
  return {
    pni: account.pni,
    key: fromBase64(account.pniIdentity.publicKey),
    signatureByPni: own(pni.keys.signAlternateIdentity(aci.keys.publicKey)),
    signatureByAci: own(aci.keys.signAlternateIdentity(pni.keys.publicKey)),
  };
}
