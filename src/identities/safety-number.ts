/**
 * Safety number: both identity keys of a conversation as digits to read out, or as a code to scan (verification brief,
 * section 11), with the values of the official apps.
 */
import { Fingerprint, PublicKey, ScannableFingerprint } from '@signalapp/libsignal-client';
import { serviceIdToBytes, type Aci } from '../address.ts';
import { own, type Bytes } from '../bytes.ts';

/** Iterations of the hash. */
const ITERATIONS = 5200;
/** 2: an account is named by its ACI, 16 bytes. */
const VERSION = 2;

/** An account with its identity key, 33 bytes. */
export interface Party {
  readonly aci: Aci;
  readonly key: Bytes;
}

export interface SafetyNumber {
  /** 60, the same on both sides. */
  readonly digits: string;
  /** What goes into a QR code as raw bytes; each side's is its own. */
  readonly scannable: Bytes;
  /** Whether the code of the other side's screen is about the same two keys. */
  matches(scanned: Bytes): boolean;
}

export function safetyNumber(ours: Party, theirs: Party): SafetyNumber {
  const fingerprint = Fingerprint.new(
    ITERATIONS,
    VERSION,
    serviceIdToBytes(ours.aci),
    PublicKey.deserialize(ours.key),
    serviceIdToBytes(theirs.aci),
    PublicKey.deserialize(theirs.key),
  );
  const scannable = fingerprint.scannableFingerprint();
  return {
    digits: fingerprint.displayableFingerprint().toString(),
    scannable: own(scannable.toBuffer()),
    matches: (scanned) => {
      try {
        return scannable.compare(ScannableFingerprint._fromBuffer(scanned));
      } catch {
        return false; // not a code of this version
      }
    },
  };
}
