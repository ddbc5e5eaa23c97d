/**
 * Provision message: what the primary device hands to a new device, which checks it before anything is built on it.
 *
 * Spec: protocol brief, section 2.3. Required: ACI, its identity pair, the code. The PNI with its identity pair is
 * there as a whole or not at all (accounts without a number).
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import { parseAci, parsePni, uuidFromBytes, uuidToBytes, type Aci, type Pni } from '../address.ts';
import { copy, decodeProto, equal, fromBase64, own, toBase64, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { signal } from '../proto/messages.js';
import type { StoredKeyPair } from '../store/rows.ts';

/** The newest `provisioningVersion` that we know. */
const PROVISIONING_VERSION = 1;

/** What approves a link, as the new device may show it. */
const USER_AGENT = 'Countersign';
const MAX_CODE_LENGTH = 1024;
const NUMBER = /^\+[0-9]{1,20}$/;
const ENTROPY_POOL = /^[0-9a-z]{64}$/;

/** The account as its phone gave it to us. Secrets in base64. */
export interface Provision {
  readonly aci: Aci;
  readonly pni: Pni | null;
  readonly number: string | null;
  /** Single use; goes to the server and nowhere else, least of all to a log. */
  readonly code: string;
  readonly identity: StoredKeyPair;
  readonly pniIdentity: StoredKeyPair | null;
  /** 32 bytes */
  readonly profileKey: string | null;
  readonly accountEntropyPool: string | null;
  /** 32 bytes */
  readonly masterKey: string | null;
}

/**
 * @param bytes serialized ProvisionMessage
 * @throws BotError `CONTENT_INVALID` a required field is missing, a public key does not belong to its private key, or
 *   the version is newer than ours
 */
export function parseProvisionMessage(bytes: Uint8Array): Provision {
  const message = decodeProto(signal.ProvisionMessage, bytes, 'the provision message');
  const version = message.provisioningVersion ?? 0;
  if (version > PROVISIONING_VERSION) {
    throw invalid(
      `the phone speaks version ${String(version)} of linking, we know ${String(PROVISIONING_VERSION)}`,
    );
  }
  const code = message.provisioningCode;
  if (!code || code.length > MAX_CODE_LENGTH) throw invalid('the provision message lacks a usable code');
  return {
    aci: readAci(message),
    ...readPni(message),
    number: readNumber(message.number),
    code,
    identity: readPair(message.aciIdentityKeyPublic, message.aciIdentityKeyPrivate, 'ACI'),
    profileKey: readSecret(message.profileKey, 'profile key'),
    masterKey: readSecret(message.masterKey, 'master key'),
    accountEntropyPool: readEntropyPool(message.accountEntropyPool),
  };
}

/**
 * Writes all that a device needs, ids in both forms. Not among it: a backup key for history transfer, for the new device would
 * wait for an archive that nobody makes; the salt for group credentials, which only accounts without a number have.
 * @param more what a linked device of ours has no use for: base64, 32 bytes
 * @returns serialized ProvisionMessage
 */
export function encodeProvisionMessage(
  provision: Provision,
  more: { readonly mediaRootBackupKey?: string } = {},
): Bytes {
  const { aci, pni, number, code, identity, pniIdentity, profileKey, masterKey, accountEntropyPool } =
    provision;
  const { mediaRootBackupKey } = more;
  const fields: signal.ProvisionMessage.$Properties = {
    aciIdentityKeyPublic: fromBase64(identity.publicKey),
    aciIdentityKeyPrivate: fromBase64(identity.privateKey),
    aci,
    aciBinary: uuidToBytes(aci),
    provisioningCode: code,
    provisioningVersion: PROVISIONING_VERSION,
    userAgent: USER_AGENT,
    readReceipts: false,
  };
  if (number !== null) fields.number = number;
  if (pni !== null && pniIdentity !== null) {
    const uuid = pni.replace(/^PNI:/, '');
    Object.assign(fields, {
      pniIdentityKeyPublic: fromBase64(pniIdentity.publicKey),
      pniIdentityKeyPrivate: fromBase64(pniIdentity.privateKey),
      pni: uuid,
      pniBinary: uuidToBytes(uuid),
    });
  }
  if (profileKey !== null) fields.profileKey = fromBase64(profileKey);
  if (masterKey !== null) fields.masterKey = fromBase64(masterKey);
  if (accountEntropyPool !== null) fields.accountEntropyPool = accountEntropyPool;
  if (mediaRootBackupKey !== undefined) fields.mediaRootBackupKey = fromBase64(mediaRootBackupKey);
  return own(signal.ProvisionMessage.encode(fields).finish());
}

/** Fields 17 and 18 are preferred; older phones send 8 and 10. */
function readAci(message: signal.ProvisionMessage): Aci {
  if (message.aciBinary?.length) return parseAci(uuidFromBytes(message.aciBinary));
  if (message.aci) return parseAci(message.aci);
  throw invalid('the provision message names no ACI');
}

function readPni(message: signal.ProvisionMessage): { pni: Pni | null; pniIdentity: StoredKeyPair | null } {
  const { pniBinary, pni, pniIdentityKeyPublic, pniIdentityKeyPrivate } = message;
  const named = Boolean(pniBinary?.length) || Boolean(pni);
  const keyed = Boolean(pniIdentityKeyPublic?.length) || Boolean(pniIdentityKeyPrivate?.length);
  if (!named && !keyed) return { pni: null, pniIdentity: null };
  if (!named) throw invalid('the provision message has a PNI identity and names no PNI');
  return {
    pni: parsePni(pniBinary?.length ? uuidFromBytes(pniBinary) : (pni ?? '')),
    pniIdentity: readPair(pniIdentityKeyPublic, pniIdentityKeyPrivate, 'PNI'),
  };
}

function readPair(publicKey: Uint8Array | null, privateKey: Uint8Array | null, which: string): StoredKeyPair {
  if (!publicKey?.length || !privateKey?.length)
    throw invalid(`the provision message lacks the ${which} identity`);
  let derived: Uint8Array;
  try {
    derived = PrivateKey.deserialize(own(copy(privateKey)))
      .getPublicKey()
      .serialize();
  } catch (cause) {
    throw invalid(`the ${which} identity is not a key`, cause);
  }
  if (!equal(derived, publicKey)) throw invalid(`the ${which} identity's two halves do not belong together`);
  return { publicKey: toBase64(publicKey), privateKey: toBase64(privateKey) };
}

function readSecret(value: Uint8Array | null, what: string): string | null {
  if (!value?.length) return null;
  if (value.length !== 32) throw invalid(`the ${what} has ${String(value.length)} bytes and not 32`);
  return toBase64(value);
}

function readNumber(value: string | null): string | null {
  if (!value) return null;
  if (!NUMBER.test(value)) throw invalid('the phone number is not in international form');
  return value;
}

function readEntropyPool(value: string | null): string | null {
  if (!value) return null;
  if (!ENTROPY_POOL.test(value)) throw invalid('the account entropy pool is malformed');
  return value;
}

function invalid(message: string, cause?: unknown): BotError {
  return new BotError('CONTENT_INVALID', message, cause === undefined ? {} : { cause });
}
