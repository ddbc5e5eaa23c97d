/**
 * Rows: what stands under the keys of the tables (tables.ts), as code sees it. Bytes inside JSON rows are base64.
 */
import type { Aci, DeviceId, Pni, ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import type { Policy } from './identity-row.ts';

export type { Identity, Policy } from './identity-row.ts';

/** A key pair in base64: 33-byte public, 32-byte private. */
export interface StoredKeyPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** Who we are. */
export interface Account {
  readonly aci: Aci;
  readonly pni: Pni | null;
  readonly number: string | null;
  readonly deviceId: DeviceId;
  /** The device's secret towards the server. */
  readonly password: string;
  readonly name: string;
  /** Chat origin the device is linked to. */
  readonly server: string;
  readonly registrationId: number;
  readonly pniRegistrationId: number | null;
  readonly identity: StoredKeyPair;
  readonly pniIdentity: StoredKeyPair | null;
  /** Base64, 32 bytes. */
  readonly profileKey: string | null;
  readonly accountEntropyPool: string | null;
  /** Base64, 32 bytes. */
  readonly masterKey: string | null;
  /** ms */
  readonly linkedAt: number;
  /** False between "device registered" and "keys uploaded"; the next start takes the upload up again. */
  readonly keysUploaded: boolean;
  /** ms; set when the server has removed this device. What is stored is kept. */
  readonly unlinkedAt: number | null;
}

/** Counters and times of one identity's prekeys. */
export interface PrekeyState {
  readonly nextEcId: number;
  readonly nextSignedId: number;
  readonly nextKyberId: number;
  readonly signedId: number | null;
  /** ms */
  readonly signedAt: number;
  readonly lastResortId: number | null;
  /** ms */
  readonly lastResortAt: number;
}

/** What we know of one peer's devices, from sessions we hold. */
export interface Peer {
  readonly devices: readonly PeerDevice[];
  /** ms; until then the server said that the account is not registered. */
  readonly unregisteredUntil?: number;
  /** Sealed sending: what worked last. `unknown` is tried sealed when there is a key. */
  readonly sealed?: 'unknown' | 'refused';
  /** Base64, 32 bytes; from their messages. */
  readonly profileKey?: string;
  /** Hash of our tag set that we have announced to this peer; empty: a device of theirs has come since. */
  readonly announced?: string;
}

export interface PeerDevice {
  readonly id: DeviceId;
  /** Of the identity that the service id names; a new value means that the device was relinked. */
  readonly registrationId: number;
  /** The tags that this device announced; absent until it has. */
  readonly tags?: readonly string[];
}

/** The time of a contact's carrier. */
export interface Carrier {
  /** ms */
  readonly since: number;
  /** The run is over; it goes once what was parked has been opened again. */
  readonly ending: boolean;
}

/** A contact as the account's phone told us, or as their messages did. */
export interface Contact {
  readonly number?: string;
  readonly name?: string;
  readonly blocked?: boolean;
}

/** What a linked device asks its primary one for. */
export type SyncRequest = 'contacts' | 'blocked' | 'configuration' | 'keys';

export interface InboxRow {
  readonly source: ServiceId;
  readonly sourceDevice: DeviceId;
  /** ms, the sender's. */
  readonly timestamp: number;
  /** ms */
  readonly serverTimestamp: number;
  readonly sealed: boolean;
  readonly toPni: boolean;
  /** Content, padding removed. */
  readonly content: Bytes;
  readonly attempts: number;
  /** ms, 0 = now */
  readonly retryAt: number;
  readonly error: string;
  readonly plugin: string;
  /** ms */
  readonly receivedAt: number;
  /** Absent or empty until a plugin has had it. */
  readonly progress?: readonly Progress[];
  /** 33 bytes: the key under which it was opened; absent or empty where libsignal asked for none. */
  readonly identityKey?: Bytes;
}

/** How far one plugin has come with an inbox row. */
export interface Progress {
  readonly plugin: string;
  /** Its writes are committed. */
  readonly done: boolean;
  /** That failed. */
  readonly attempts: number;
  /** ms, 0 = now */
  readonly retryAt: number;
  /** Of the last attempt. */
  readonly error: string;
  /** Weight of the calls that the process did not outlive; absent or 0: none. */
  readonly deaths?: number;
}

export type OutboxKind = 'text' | 'app' | 'announce' | 'receipt' | 'sync' | 'null' | 'retry' | 'resend';

export interface OutboxRow {
  readonly recipient: ServiceId;
  /** ms; names the message on the wire. */
  readonly timestamp: number;
  /** Content, not padded. */
  readonly content: Bytes;
  readonly kind: OutboxKind;
  /** Empty: all of them. */
  readonly devices: readonly DeviceId[];
  /** App tag: the devices that are known to lack it get a filler. */
  readonly tag: string;
  readonly urgent: boolean;
  /** Our own other devices get a sync transcript. */
  readonly transcript: boolean;
  readonly attempts: number;
  /** ms, 0 = now */
  readonly retryAt: number;
  /** `held`: waits for the contact to be trusted; `failed`: will not be sent. Both are kept for a while to be looked at. */
  readonly state: 'queued' | 'held' | 'failed';
  /** Code of the last failure. */
  readonly error: string;
  /** Kept in the sent log, to answer retry requests. */
  readonly log: boolean;
  /** Kind `retry`: a serialized PlaintextContent, sent as it is. */
  readonly plaintext: Bytes;
  /** What is asked of the recipient; absent or empty: `tofu`. */
  readonly policy?: Policy | '';
  /** A verification frame that goes by the carrier. */
  readonly carrier?: boolean;
}

export interface SentRow {
  readonly content: Bytes;
  /** ms */
  readonly sentAt: number;
  readonly devices: readonly DeviceId[];
  readonly urgent: boolean;
  readonly tag: string;
}

export interface QuarantineRow {
  readonly source: string;
  readonly sourceDevice: number;
  /** ms, the sender's. */
  readonly timestamp: number;
  /** ms */
  readonly at: number;
  readonly reason: string;
  /** The envelope as it came. */
  readonly envelope: Bytes;
}

export interface PrekeyRow {
  readonly record: Bytes;
  /** ms */
  readonly createdAt: number;
  /** ms, 0 = the server has not taken it yet */
  readonly confirmedAt: number;
  /** ms, 0 = unused */
  readonly usedAt: number;
  /** ms, 0 = current */
  readonly replacedAt: number;
  readonly lastResort: boolean;
}

export type PrekeyKind = 'ec' | 'signed' | 'kyber';
