/**
 * Trust: what a plugin with the permission `identities` can do with identity keys, sessions and held messages
 * (verification brief, section 13). `host.trust` is this account and its onlookers; `transaction.trust`, also on the
 * context of a message, is all that is written: it is committed with the plugin's state and its messages, or not at all.
 * Beside them, `ctx.identityKey` is the key that a message was opened under (V-14), and `send(…, { carrier: true })` sends
 * a frame of `countersign.verify/1` by the carrier.
 *
 * The private identity key never leaves the core.
 */
import type { Aci, Address, DeviceId, Pni, ServiceId } from './address.ts';
import type { Bytes } from './bytes.ts';
import type { BotError, ErrorCode } from './errors.ts';
import type { ContactIdentity } from './identities/state.ts';
import type { Evidence, Exposure, Policy, Proof } from './store/identity-row.ts';

/** What a plugin or a handler is for; decides what it asks of a contact if it says nothing else (V-32). */
export type Purpose = 'administration' | 'signing' | 'other';

/**
 * What is asked of contacts. In a plugin's declaration (`policy`), in the options of one handler (`policy`), and by the
 * operator: `"policy": {NAME: {"inbound", "outbound", "commands": {COMMAND: {…}}}}` beside `"plugins"` in the
 * configuration, and `countersign trust policy`. The operator's word counts, then the handler's, then the plugin's, then
 * the default: `verified` for administration and signing, else `tofu`. Frames of `countersign.verify/1` are exempt.
 */
export interface PolicyRule {
  readonly purpose?: Purpose;
  /** Who may call; others' messages are left unhandled, and logged. */
  readonly inbound?: Policy;
  /** Who may be written to; else the message is held with `PEER_UNVERIFIED`. A message can ask for more. */
  readonly outbound?: Policy;
}

/**
 * `host.trust`. Its use without the permission `identities` is `PERMISSION_NEEDED`.
 * @typeParam T the `Transaction` of a plugin
 */
export interface TrustHost<T> {
  readonly own: OwnKey;
  /** As of now; for decisions that are written use `transaction.trust.identities.get`. */
  get(aci: ServiceId): Promise<ContactIdentity>;
  /** Every contact of whom something is known. */
  list(): AsyncIterable<readonly [ServiceId, ContactIdentity]>;
  /** Told after the commit. Returns at once and does not throw. */
  onEvent(listener: (event: TrustEvent) => void): void;
  /** Told before the commit of each change of a state; what it stages is committed with that change. */
  onTransition(hook: TransitionHook<T>): void;
  /**
   * Asked before a text of ours is sealed (V-20), on every attempt. A BotError refuses it: the message has failed with
   * that error, and is kept to be looked at.
   */
  guard(hook: (message: GuardedText) => BotError | undefined | Promise<BotError | undefined>): void;
  /**
   * What the service gives out as a contact's identity key when it is asked now, authenticated (V-14). It is a claim:
   * nothing is noted of it. Uses up a one-time prekey of that device.
   * @returns 33 bytes; undefined where the service does not say within 10 s
   */
  servedKey(of: Address & { readonly serviceId: Aci }): Promise<Bytes | undefined>;
  /**
   * `host.update` in the lane of this contact's sessions, so that no message is opened or sealed meanwhile. Nothing
   * slow belongs in it: derive keys before.
   */
  update<R>(aci: Aci, work: (transaction: T) => R | Promise<R>): Promise<R>;
}

/** Our own identity. All keys are public ones, 33 bytes. */
export interface OwnKey {
  readonly aci: Aci;
  readonly deviceId: DeviceId;
  /** 1..16383 */
  readonly registrationId: number;
  readonly identityKey: Bytes;
  /** What a payload's PNI block says (brief 3.5); undefined where the account has no phone number. */
  readonly pni: PniBlock | undefined;
  /**
   * Signs 32 x FF | label | bytes (XEdDSA, 64 bytes), which nothing else that this key signs can be taken for.
   * @param label `spake2-signal …`, ASCII
   * @throws BotError `CONTENT_INVALID` for any other label
   */
  sign(label: string, bytes: Uint8Array): Bytes;
  /** Signs a serialized public key: 33 bytes from 05, or 1569 from 08. @throws BotError `CONTENT_INVALID` */
  signPrekey(key: Uint8Array): Bytes;
}

/** A phone-number identity and an ACI identity that sign each other. */
export interface PniBlock {
  readonly pni: Pni;
  /** 33 bytes */
  readonly key: Bytes;
  /** The PNI's signature of the ACI key. */
  readonly signatureByPni: Bytes;
  /** The ACI's signature of the PNI key. */
  readonly signatureByAci: Bytes;
}

export type TrustEvent =
  /** A different key appeared, or a proof contradicts the pin. */
  | {
      readonly kind: 'changed';
      readonly aci: ServiceId;
      readonly pin: Bytes | undefined;
      readonly candidate: Bytes;
      /** It was verified before. */
      readonly wasVerified: boolean;
      /** ms */
      readonly at: number;
    }
  /** A false key was proven by a run and is healed. */
  | FoundEvent<'substituted'>
  /** A stored key was out of date and is healed. */
  | FoundEvent<'replaced'>
  /** Any other change of a state. */
  | {
      readonly kind: 'state';
      readonly aci: ServiceId;
      readonly from: ContactIdentity['state'];
      readonly to: ContactIdentity['state'];
      readonly at: number;
    };

interface FoundEvent<K extends string> {
  readonly kind: K;
  readonly aci: ServiceId;
  readonly key: Bytes;
  readonly falseKey: Bytes;
  readonly at: number;
}

export interface Transition {
  readonly aci: ServiceId;
  readonly before: ContactIdentity;
  readonly after: ContactIdentity;
}

export type TransitionHook<T> = (change: Transition, transaction: T) => void | Promise<void>;

export interface GuardedText {
  readonly recipient: ServiceId;
  readonly text: string;
  /** ms; names the message. */
  readonly timestamp: number;
}

/** `transaction.trust`: everything here is staged. Asking for it without the permission is `PERMISSION_NEEDED`. */
export interface TrustTransaction {
  readonly identities: IdentityWrites;
  readonly sessions: SessionWrites;
  readonly inbox: InboxWrites;
  readonly outbox: OutboxWrites;
}

/**
 * `known`: in the account's list of contacts, or there is evidence for their key. `answered`: something was sent to them of
 * late, which for a bot may be no more than its answer to whatever they have sent.
 */
export type Acquaintance = 'known' | 'answered' | 'stranger';

export interface IdentityWrites {
  get(aci: ServiceId): Promise<ContactIdentity>;
  /** As the account's list of contacts has it. */
  name(aci: Aci): Promise<string | undefined>;
  /** How the account knows them, beside what they have sent. */
  acquaintance(aci: Aci): Promise<Acquaintance>;
  /**
   * A run, a safety number or an import has succeeded for this key. The table of section 9 decides: `verified` makes it
   * the pin, releases what was held and parked for the contact once committed, and tells our own devices; `changed`
   * means that it contradicts a verified pin or is listed as revoked (V-14): it is now the candidate and nothing heals.
   * Called again for the same run and key, it puts the newer proof in the place of the older one, and is no event.
   * @param key 33 bytes
   */
  pin(aci: Aci, key: Uint8Array, proof: Proof, options?: PinOptions): Promise<'verified' | 'changed'>;
  /** What `pin` would answer, with nothing written. */
  wouldPin(aci: Aci, key: Uint8Array): Promise<'verified' | 'changed'>;
  /** Changes that are no proof. @returns the state after it */
  setState(aci: Aci, change: StateChange): Promise<ContactIdentity['state']>;
  /**
   * Notes that a PNI is theirs, once both signatures hold under the pin of a verified contact.
   * @throws BotError `CONTENT_INVALID` when a signature does not hold; `PEER_UNVERIFIED`
   */
  bindPni(aci: Aci, block: PniBlock): Promise<void>;
}

export interface PinOptions {
  /**
   * What V-14 found out: the event of that name is told of `falseKey`. Substituted keys are noted, and each is revoked
   * unless it was a verified pin.
   */
  readonly found?: {
    readonly kind: 'substituted' | 'replaced';
    readonly falseKey: Uint8Array;
    /** Others that were found with it. */
    readonly alsoFalse?: readonly Uint8Array[];
  };
}

export type StateChange =
  /** A valid introduction. `conflict` when another key is known: a verified pin stays, else the state is `changed` (V-37). */
  | {
      readonly kind: 'introduce';
      readonly key: Uint8Array;
      readonly evidence: Extract<Evidence, { kind: 'introduction' }>;
    }
  /** The introduction expired, was revoked, or its introducer is not verified any more. */
  | { readonly kind: 'unintroduce' }
  /** The operator names a key that is bad. */
  | { readonly kind: 'revoke'; readonly key: Uint8Array }
  /** The operator takes the candidate (or takes this key off the revoked list) on first-use terms. */
  | { readonly kind: 'accept'; readonly key: Uint8Array };

/** The public half of a run's prekeys (brief 3.5, profile 2); fits `PreKeyBundle.new`. */
export interface RunBundle {
  readonly deviceId: DeviceId;
  readonly registrationId: number;
  readonly prekey: { readonly id: number; readonly publicKey: Bytes };
  readonly signedPrekey: { readonly id: number; readonly publicKey: Bytes; readonly signature: Bytes };
  readonly kyberPrekey: { readonly id: number; readonly publicKey: Bytes; readonly signature: Bytes };
}

/** Serialized records of libsignal (PreKeyRecord, SignedPreKeyRecord, KyberPreKeyRecord). They hold private keys. */
export interface RunPrekeys {
  readonly prekey: Bytes;
  readonly signedPrekey: Bytes;
  readonly kyberPrekey: Bytes;
}

/** Plaintexts are bytes as they are: no content, no padding. */
export interface SessionWrites {
  /**
   * Opens a session under the pin and seals its first message (section 7, B).
   * @param identityKey 33 bytes; must be the pin
   * @returns a serialized PreKeySignalMessage
   * @throws BotError `IDENTITY_CHANGED`; `CONTENT_INVALID` when a key or signature does not hold
   */
  openFromBundle(aci: Aci, identityKey: Uint8Array, bundle: RunBundle, plaintext: Uint8Array): Promise<Bytes>;
  /**
   * Opens the initial message with this run's prekeys alone (section 7, A). The caller deletes them in the same transaction.
   * @param registrationId what the sender's payload says; checked, as the ids of the prekeys are
   * @throws BotError `IDENTITY_CHANGED` under another key than the pin; `CONTENT_INVALID` for all that is wrong else
   */
  openInitial(
    from: Address & { readonly serviceId: Aci },
    message: Uint8Array,
    prekeys: RunPrekeys,
    registrationId?: number,
  ): Promise<Bytes>;
  /**
   * Seals in the session with this device, which must have had an answer.
   * @returns a serialized SignalMessage
   * @throws BotError `IDENTITY_CHANGED`; `CONTENT_INVALID` without such a session
   */
  sealWhisper(to: Address & { readonly serviceId: Aci }, plaintext: Uint8Array): Promise<Bytes>;
  /** Opens a serialized SignalMessage. @throws BotError `IDENTITY_CHANGED`, `CONTENT_INVALID` */
  openWhisper(from: Address & { readonly serviceId: Aci }, message: Uint8Array): Promise<Bytes>;
  /** Deletes every session with this contact and the sender keys received from them (section 8, steps 3 and 4). */
  deleteAll(aci: Aci): Promise<void>;
  /** The same, but the sessions move to the carrier, where verification frames still find them. */
  moveToCarrier(aci: Aci): Promise<void>;
  /** The carrier of a contact (section 3.1). */
  carrier(aci: Aci): Carrier;
  /**
   * Ends all sender keys of this device, so that the next send to each group makes new ones (section 8, step 4). In which
   * groups a contact is with us is not kept, as nothing is sent to groups yet: that is why it is all of them.
   * The profile key, which that step names too, is not rotated: it is the account's, its other devices learn a new one from
   * the primary device's storage service alone, and the phone would be locked out of its own profile (docs/verification.md).
   */
  rotateSenderKeys(): Promise<void>;
  /** The devices of a contact that have said that they handle messages with this tag. */
  devicesWith(aci: Aci, tag: string): Promise<readonly DeviceId[]>;
  /** Whether the device has sent us something in the session that we would seal in now: then it has that session. */
  isAnswered(device: Address & { readonly serviceId: Aci }): Promise<boolean>;
  /**
   * Deletes the session with a device if that has never answered in it (section 4): the next send fetches keys.
   * @returns whether it was deleted
   */
  dropUnanswered(to: Address & { readonly serviceId: Aci }): Promise<boolean>;
}

/**
 * The second session table of a contact: sessions that no trust is asked for. Only frames of the tag
 * `countersign.verify/1` and fillers are sealed in it: frames sent with `{ carrier: true }`, and all frames to a contact
 * in `changed`. What cannot be opened elsewhere is tried there, and only a frame is taken from it.
 */
export interface Carrier {
  /** Whether it holds a session. */
  exists(): Promise<boolean>;
  /** The run is over: its sessions go, as soon as what was parked for the contact has been opened again. */
  end(): Promise<void>;
}

export interface InboxWrites {
  /** Envelopes of a contact in `changed` that wait, at most 100, for 7 days (V-31). */
  parked(aci: Aci): Promise<number>;
  /** Opens them again once this is committed. `pin` and `accept` do so by themselves. */
  replay(aci: Aci): Promise<void>;
  /** Forgets them. */
  discard(aci: Aci): Promise<void>;
}

export interface OutboxWrites {
  /** Messages to this contact wait, verification frames excepted, until they are released. */
  hold(aci: Aci, code: ErrorCode): Promise<void>;
  /** Ends `hold`; messages whose policy is not met stay where they are. `pin` does so by itself. */
  release(aci: Aci): Promise<void>;
  /**
   * What was sent to this contact under false keys before `pin` was told of them: "read by someone else". Oldest first, as
   * committed before this transaction.
   */
  exposed(aci: Aci): Promise<readonly Exposure[]>;
  /** The same of every contact. */
  allExposed(): AsyncIterable<readonly [Aci, Exposure]>;
}
