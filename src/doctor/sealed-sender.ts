/**
 * Sealed sender: would a recipient take the certificate that this server gives us, and do our own trust roots fit what
 * others seal (protocol brief, 5.6)?
 */
import { PublicKey, SenderCertificate } from '@signalapp/libsignal-client';
import { Reader } from 'protobufjs/minimal.js';
import { equal, fromBase64, type Bytes } from '../bytes.ts';
import { describe } from '../errors.ts';
import type { Profile } from '../service/profile.ts';
import type { Account } from '../store/rows.ts';
import { fail, ok, warn, type Finding } from './check.ts';

/** Fields of SenderCertificate and of the certificate inside it. */
const INNER = 1;
const SIGNER_CERTIFICATE = 5;
const SIGNER_ID = 8;
const LENGTH_DELIMITED = 2;

const DAY_MS = 24 * 60 * 60_000;
/** ms; the mock's certificates do not expire. */
const LAST_DATE_MS = 8_640_000_000_000_000;

/** @param now ms */
export function checkSenderCertificate(
  bytes: Bytes,
  account: Account,
  profile: Profile,
  now: number,
): Finding {
  if (signerOf(bytes) === 'id') {
    return fail(
      'the certificate names its signer by number only, which nobody but the official apps can look up',
      'Set unidentifiedDelivery.embedSigner to true in the configuration of the server, or "mode" to "off" in the profile.',
    );
  }
  let certificate: SenderCertificate;
  let expiration: number;
  try {
    certificate = SenderCertificate.deserialize(bytes);
    expiration = certificate.expiration();
    const roots = profile.sealedSender.trustRoots.map((root) => PublicKey.deserialize(root));
    if (expiration <= now) {
      return fail(
        'the server gives a certificate that has expired',
        'Set the clocks of the server and of this machine.',
      );
    }
    if (!certificate.validateWithTrustRoots(roots, now)) {
      return fail(
        'the certificate is not signed under a trust root of the profile: sealed messages are lost in both directions',
        'Put the public key of the root that signed the server\'s certificate into "trustRoots", or "mode" to "off".',
      );
    }
  } catch (error) {
    return fail(
      `the certificate cannot be read (${describe(error)})`,
      'Give the server a sealed-sender certificate and key of your own, or set "mode" to "off" in the profile.',
    );
  }
  const again = 'Link again; if it stays so, look at the log of the server.';
  if (certificate.senderUuid() !== account.aci || certificate.senderDeviceId() !== account.deviceId) {
    return fail('the certificate is for another device', again);
  }
  if (!equal(certificate.key().serialize(), fromBase64(account.identity.publicKey))) {
    return fail('the certificate is for another identity key than this device has', again);
  }
  const until = expiration > LAST_DATE_MS ? 'for ever' : `until ${new Date(expiration).toISOString()}`;
  if (expiration - now < DAY_MS) {
    return warn(
      `the certificate is good, but only ${until}`,
      'Let the server issue certificates for some days (unidentifiedDelivery.expiresDays).',
    );
  }
  return ok(`the certificate is good ${until}, and its signer is in it`);
}

/** How a SenderCertificate names who signed it; `unknown` when it is not well-formed. */
export function signerOf(bytes: Bytes): 'embedded' | 'id' | 'unknown' {
  try {
    const inner = fieldsOf(bytes).get(INNER);
    if (!(inner instanceof Uint8Array)) return 'unknown';
    const fields = fieldsOf(inner);
    if (fields.has(SIGNER_CERTIFICATE)) return 'embedded';
    return fields.has(SIGNER_ID) ? 'id' : 'unknown';
  } catch {
    return 'unknown';
  }
}

/** Field numbers of one protobuf message; with the content where it is bytes. */
function fieldsOf(bytes: Uint8Array): Map<number, Uint8Array | undefined> {
  const found = new Map<number, Uint8Array | undefined>();
  const reader = Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const type = tag & 7;
    if (type === LENGTH_DELIMITED) found.set(tag >>> 3, reader.bytes());
    else {
      reader.skipType(type);
      found.set(tag >>> 3, undefined);
    }
  }
  return found;
}
