/**
 * Identity row: what is kept of the trust that is placed in one contact's identity key (verification brief, section 9).
 */
import type { Aci, DeviceId, Pni } from '../address.ts';
import type { ErrorCode } from '../errors.ts';

/**
 * - `unknown`: no key yet
 * - `tofu`: the first key that was seen
 * - `introduced`: a verified contact vouches for it
 * - `verified`: by a spoken code, by safety number, or imported
 * - `changed`: another key appeared; the pin stays, nothing is sent or opened
 * - `revoked`: the pin is known to be bad
 */
export type TrustState = 'unknown' | 'tofu' | 'introduced' | 'verified' | 'changed' | 'revoked';

/** What a handler or a message asks of a contact, rising. `changed` and `revoked` satisfy none of them (V-32). */
export type Policy = 'any' | 'tofu' | 'introduced' | 'verified';

/** Why a key is trusted, or was not. Nothing in it is secret. Times in ms since 1970. */
export type Evidence =
  | {
      readonly kind: 'pake';
      /** 16 bytes, hex. */
      readonly runId: string;
      /** The verification hash, 32 bytes, hex: a one-way output. */
      readonly vh: string;
      readonly role: 'A' | 'B';
      readonly suite: number;
      readonly codeFormat: number;
      /** The peer's. */
      readonly device: DeviceId;
      /** Whether the peer agrees to be introduced to others (V-36); absent where it was not noted. */
      readonly mayBeIntroduced?: boolean;
      /** The six digits that both operators saw (V-25); absent where there were none, or they were not noted. */
      readonly check?: string;
      readonly at: number;
    }
  | { readonly kind: 'safety-number'; readonly by: 'operator' | 'sync'; readonly at: number }
  /** `fileHash`: SHA-256, hex. */
  | { readonly kind: 'imported'; readonly fileHash: string; readonly by: 'operator'; readonly at: number }
  | {
      readonly kind: 'introduction';
      /** 16 bytes, hex. */
      readonly statementId: string;
      readonly introducer: Aci;
      /** When the introducer verified the contact. */
      readonly verifiedAt: number;
      readonly notAfter: number;
      readonly at: number;
    }
  /** A false key that a run has proven: base64, 33 bytes. */
  | { readonly kind: 'substituted'; readonly key: string; readonly at: number };

/** What makes a key verified. */
export type Proof = Extract<Evidence, { kind: 'pake' | 'safety-number' | 'imported' }>;

/** One line of a contact's history. Keys: base64. */
export interface HistoryEntry {
  /** ms */
  readonly at: number;
  readonly event: string;
  readonly from: TrustState;
  readonly to: TrustState;
  /** The key that the event was about. */
  readonly key?: string;
}

/** A phone-number identity that the same person holds, signed both ways. */
export interface PniBinding {
  readonly pni: Pni;
  /** Base64, 33 bytes. */
  readonly key: string;
  /** ms */
  readonly at: number;
}

/** What was sent to a contact under keys that a run has proven false, before it did: read by someone else. */
export interface Exposure {
  /** ms; when it was proven. */
  readonly at: number;
  /** Base64, 33 bytes each. */
  readonly falseKeys: readonly string[];
  /** Each named by its timestamp, ms; oldest first, the newest 500 of those that the sent log still had. */
  readonly messages: readonly { readonly timestamp: number; readonly devices: readonly DeviceId[] }[];
}

/** What we hold of a contact's identity. Rows written before there was evidence have the first four fields alone. */
export interface Identity {
  /** Base64, 33 bytes: the pin. Empty while no key is trusted (`unknown`, or `changed` without one). */
  readonly key: string;
  readonly state: TrustState;
  /** ms */
  readonly since: number;
  /** Base64: a different key that appeared and is not trusted. */
  readonly candidate?: string;
  /** The pin was verified, and has not been accepted on lesser terms since. */
  readonly verified?: boolean;
  /** Base64: keys that are known to be bad. */
  readonly revoked?: readonly string[];
  readonly pni?: PniBinding;
  readonly evidence?: readonly Evidence[];
  readonly history?: readonly HistoryEntry[];
  /** ms; when the key took the place of another one. */
  readonly replacedAt?: number;
  /** Code of the reason why messages to this contact are held back, whatever the state. */
  readonly hold?: ErrorCode;
  /** Of a PNI: the ACI that it is bound to. */
  readonly boundTo?: Aci;
}
