/**
 * Identify: the part of opening that needs no session. It decides who an envelope is from and whether it may be opened
 * at all, with every acceptance rule in one order (protocol brief, section 6.3); nothing is read from the store.
 */
import {
  PublicKey,
  sealedSenderDecryptToUsmc,
  type IdentityKeyStore,
  type SenderCertificate,
  type UnidentifiedSenderMessageContent,
} from '@signalapp/libsignal-client';
import { hash } from 'node:crypto';
import { isPni, parseAci, parseDeviceId, type Address, type IdentityKind } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { ENVELOPE, type Envelope } from '../content/envelope.ts';
import { describe } from '../errors.ts';
import type { Reading } from '../store/reading.ts';
import type { OwnIdentity } from './own-identity.ts';

/** Inner types, in libsignal's numbers. */
export const INNER = { WHISPER: 2, PREKEY: 3, SENDER_KEY: 7, PLAINTEXT: 8 } as const;

/** Hints of the sealed layer: whether a failure is worth a retry request. */
export const HINT = { DEFAULT: 0, RESENDABLE: 1, IMPLICIT: 2 } as const;

export interface Identified {
  readonly kind: 'message';
  readonly source: Address;
  readonly to: IdentityKind;
  /** One of `INNER`. */
  readonly type: number;
  readonly ciphertext: Bytes;
  readonly sealed: boolean;
  /** A failure to decrypt is answered by a retry request. */
  readonly resendable: boolean;
}

export type Identification =
  | Identified
  /** A delivery receipt of the server (type 5). */
  | { readonly kind: 'receipt'; readonly source: Address | undefined }
  /** Not for us, or not allowed: acknowledged and forgotten. */
  | { readonly kind: 'dropped'; readonly reason: string }
  /** Sealed, and the seal does not open or does not hold: kept in the quarantine. */
  | { readonly kind: 'unreadable'; readonly reason: string };

export interface IdentifyParts {
  readonly aci: OwnIdentity;
  readonly pni: OwnIdentity | undefined;
  /** Keys of the seal; only our own key pair is asked for. */
  readonly keys: IdentityKeyStore;
  readonly certificates: CertificateCheck;
}

/** At once, unless there is a seal to be opened. */
export function identify(parts: IdentifyParts, envelope: Envelope): Reading<Identification> {
  const to = destination(parts, envelope);
  if (to === undefined) return { kind: 'dropped', reason: 'not addressed to this account' };
  if (envelope.story) return { kind: 'dropped', reason: 'a story' };
  const source = sourceOf(envelope);
  if (envelope.type === ENVELOPE.RECEIPT) return { kind: 'receipt', source };
  if (envelope.content.length === 0) return { kind: 'dropped', reason: 'an empty envelope' };
  if (envelope.type === ENVELOPE.SEALED) {
    return to === 'aci' ? identifySealed(parts, envelope) : { kind: 'dropped', reason: 'sealed to a PNI' };
  }
  const type = innerType(envelope.type);
  if (type === undefined) return { kind: 'dropped', reason: `of type ${String(envelope.type)}` };
  if (source === undefined) return { kind: 'dropped', reason: 'neither sealed nor from anybody' };
  if (isPni(source.serviceId)) return { kind: 'dropped', reason: 'from a PNI' };
  if (to === 'pni' && type !== INNER.PREKEY)
    return { kind: 'dropped', reason: 'to a PNI, but no prekey message' };
  const resendable = type !== INNER.PLAINTEXT;
  return { kind: 'message', source, to, type, ciphertext: envelope.content, sealed: false, resendable };
}

function destination({ aci, pni }: IdentifyParts, envelope: Envelope): IdentityKind | undefined {
  if (envelope.destination === undefined || envelope.destination === aci.serviceId) return 'aci';
  return envelope.destination === pni?.serviceId ? 'pni' : undefined;
}

function sourceOf({ source, sourceDevice }: Envelope): Address | undefined {
  return source === undefined || sourceDevice === undefined
    ? undefined
    : { serviceId: source, deviceId: sourceDevice };
}

function innerType(envelopeType: number): number | undefined {
  if (envelopeType === ENVELOPE.CIPHERTEXT) return INNER.WHISPER;
  if (envelopeType === ENVELOPE.PREKEY) return INNER.PREKEY;
  return envelopeType === ENVELOPE.PLAINTEXT ? INNER.PLAINTEXT : undefined;
}

async function identifySealed(parts: IdentifyParts, envelope: Envelope): Promise<Identification> {
  let content: UnidentifiedSenderMessageContent;
  let source: Address;
  try {
    content = await sealedSenderDecryptToUsmc(envelope.content, parts.keys);
    const problem = parts.certificates.problem(content.senderCertificate(), envelope.serverTimestamp);
    if (problem !== undefined) return { kind: 'unreadable', reason: problem };
    const certificate = content.senderCertificate();
    source = {
      serviceId: parseAci(certificate.senderUuid()),
      deviceId: parseDeviceId(certificate.senderDeviceId()),
    };
  } catch (error) {
    return { kind: 'unreadable', reason: `the seal does not open: ${describe(error)}` };
  }
  const { aci } = parts;
  if (source.serviceId === aci.serviceId && source.deviceId === aci.deviceId) {
    return { kind: 'dropped', reason: 'sealed by this very device' };
  }
  return {
    kind: 'message',
    source,
    to: 'aci',
    type: content.msgType(),
    ciphertext: content.contents(),
    sealed: true,
    resendable: content.contentHint() === HINT.RESENDABLE && content.msgType() !== INNER.PLAINTEXT,
  };
}

/** Bound of the certificates that are remembered as signed by a trust root. */
const REMEMBERED = 1000;

/** Checks sender certificates; one that was found good is checked again only for its time. */
export class CertificateCheck {
  readonly #roots: PublicKey[];
  readonly #good = new Map<string, number>();

  /** @param roots 33 bytes each; none: sealed sender is off */
  constructor(roots: readonly Bytes[]) {
    this.#roots = roots.map((root) => PublicKey.deserialize(root));
  }

  /** @param time ms, the server's @returns what is wrong, in words; undefined when all is well */
  problem(certificate: SenderCertificate, time: number): string | undefined {
    if (this.#roots.length === 0) return 'the server profile names no trust roots for sealed sender';
    const name = hash('sha256', certificate.serialize(), 'base64');
    const expires = this.#good.get(name);
    if (expires !== undefined) return time <= expires ? undefined : 'the sender certificate has expired';
    if (!certificate.validateWithTrustRoots(this.#roots, time)) {
      return certificate.expiration() < time
        ? 'the sender certificate has expired'
        : "the sender certificate is not signed by the profile's trust roots";
    }
    const oldest = this.#good.keys().next();
    if (this.#good.size >= REMEMBERED && oldest.done !== true) this.#good.delete(oldest.value);
    this.#good.set(name, certificate.expiration());
    return undefined;
  }
}
