/**
 * Sender certificate: the server's statement who we are, which goes inside each sealed message. Fetched at start,
 * renewed at half its life, checked as a recipient would check it: a certificate that recipients refuse would lose
 * messages without a word, so then sealed sending is off. Spec: protocol brief, section 5.6.
 *
 * Writes the facts `senderCertificate` and `sealedSender`; the outbox reads them.
 */
import { PublicKey, SenderCertificate } from '@signalapp/libsignal-client';
import { equal, fromBase64, toBase64, type Bytes } from '../bytes.ts';
import { BotError, describe } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { senderCertificate } from '../service/account.ts';
import type { Profile } from '../service/profile.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { account as accountCell, facts } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';

/** Fact `senderCertificate`. */
export interface CertificateFact {
  /** Base64 of the serialized SenderCertificate. */
  readonly certificate: string;
  /** ms */
  readonly expiresAt: number;
  /** ms */
  readonly fetchedAt: number;
}

/** Fact `sealedSender`: whether messages may be sealed. */
export interface SealedSenderFact {
  readonly state: 'works' | 'off';
  /** Empty while it works. */
  readonly reason: string;
}

/** ms; looked at least this often. */
const MAX_WAIT_MS = 24 * 60 * 60_000;
const MIN_WAIT_MS = 60_000;
/** ms before a certificate that was refused is fetched anew. */
const REFUSED_MS = 6 * 60 * 60_000;

export interface SenderCertificateParts {
  readonly store: Store;
  /** Authenticated. */
  readonly requester: Requester;
  readonly platform: Platform;
  readonly profile: Profile;
  /** After either fact was written. Returns at once and does not throw. */
  readonly onChange?: () => void;
}

/**
 * Fetches a certificate where there is none, or none that will do for long.
 * @returns ms until it is to be called again
 * @throws BotError `NOT_LINKED`; those of the requester and the store. What is stored stays in force then
 */
export async function renewSenderCertificate(parts: SenderCertificateParts): Promise<number> {
  const { store, platform, profile, requester } = parts;
  const { sealedSender } = profile;
  if (sealedSender.mode === 'off' || sealedSender.trustRoots.length === 0) {
    await writeFacts(parts, undefined, off('the server profile turns it off, or names no trust roots'));
    return MAX_WAIT_MS;
  }
  const batch = store.batch();
  const account = await accountCell.get(batch);
  if (!account) throw new BotError('NOT_LINKED', 'there is no account to have a certificate for');
  const now = platform.clock.now();
  const held = (await facts.get(batch, 'senderCertificate')) as CertificateFact | undefined;
  if (
    held &&
    renewAt(held) > now &&
    refusal(fromBase64(held.certificate), account, profile, now) === undefined
  ) {
    await writeFacts(parts, held, { state: 'works', reason: '' });
    return wait(held, now);
  }

  const bytes = await senderCertificate(requester);
  const reason = refusal(bytes, account, profile, now);
  if (reason !== undefined) {
    platform.log.warn({ reason }, 'sealed sending is off: recipients would refuse our certificate');
    await writeFacts(parts, undefined, off(reason));
    return REFUSED_MS;
  }
  const expiresAt = SenderCertificate.deserialize(bytes).expiration();
  const fact: CertificateFact = { certificate: toBase64(bytes), expiresAt, fetchedAt: now };
  await writeFacts(parts, fact, { state: 'works', reason: '' });
  return wait(fact, now);
}

/** Why a recipient would refuse this certificate; undefined when it would not. */
function refusal(bytes: Bytes, account: Account, profile: Profile, now: number): string | undefined {
  try {
    const certificate = SenderCertificate.deserialize(bytes);
    const roots = profile.sealedSender.trustRoots.map((root) => PublicKey.deserialize(root));
    if (certificate.expiration() <= now) return 'it has expired, or the clock of this machine is wrong';
    if (!certificate.validateWithTrustRoots(roots, now))
      return 'it is not signed by a trust root of the server profile';
    if (certificate.senderUuid() !== account.aci || certificate.senderDeviceId() !== account.deviceId) {
      return 'it is for another device';
    }
    const identity = fromBase64(account.identity.publicKey);
    return equal(certificate.key().serialize(), identity) ? undefined : 'it is for another identity key';
  } catch (error) {
    return `it cannot be read: ${describe(error)}`;
  }
}

async function writeFacts(
  { store, onChange }: SenderCertificateParts,
  certificate: CertificateFact | undefined,
  sealed: SealedSenderFact,
): Promise<void> {
  const changed = await writeAgainOnConflict(store, async (batch) => {
    const before = JSON.stringify([
      await facts.get(batch, 'senderCertificate'),
      await facts.get(batch, 'sealedSender'),
    ]);
    if (before === JSON.stringify([certificate, sealed])) return false;
    if (certificate) facts.put(batch, 'senderCertificate', certificate);
    else facts.delete(batch, 'senderCertificate');
    facts.put(batch, 'sealedSender', sealed);
    return true;
  });
  if (changed) onChange?.();
}

/** Half-way: a server that is away for days must not end sealed sending. */
function renewAt(fact: CertificateFact): number {
  return fact.fetchedAt + Math.floor((fact.expiresAt - fact.fetchedAt) / 2);
}

function wait(fact: CertificateFact, now: number): number {
  return Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, renewAt(fact) - now));
}

function off(reason: string): SealedSenderFact {
  return { state: 'off', reason };
}
