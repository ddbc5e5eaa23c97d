/**
 * States of a run, as they are kept. All of it can be stored (`row.ts`); what is secret is named in `secretsOf`.
 *
 *   creator   offered -> checking -> proved -> verified
 *   enterer   ringing -> replied -> accepted -> finished
 *   suite 2   greeting -> confirming -> proved (who sent the smaller share), or replied
 *   any       closed
 *
 * Spec: verification brief, section 4.
 */
import type { Aci, Bytes, DeviceId, PniBlock, RunPrekeys } from '../../../src/index.ts';
import type { Share } from '../math/spake2.ts';
import type { AbortReason, Format, Mode, Profile, Suite } from '../messages/frame.ts';

/** This account and device. */
export interface Own {
  readonly aci: Aci;
  readonly device: DeviceId;
  /** 1..16383 */
  readonly registrationId: number;
  /** 33 bytes. */
  readonly identityKey: Bytes;
  /** Whether the peer may vouch for us towards others (V-36). */
  readonly mayBeIntroduced: boolean;
  readonly pni: PniBlock | undefined;
}

export interface Terms {
  readonly suite: Suite;
  readonly mode: Mode;
  readonly profile: Profile;
  readonly format: Format;
}

interface Run {
  /** 16 bytes; zero while suite 2 has none. */
  readonly runId: Bytes;
  readonly terms: Terms;
  /** undefined in mode 2, where names are hidden until sealed. */
  readonly peer: Aci | undefined;
  /** The device that the run is bound to, once it is; undefined in mode 2. */
  readonly peerDevice: DeviceId | undefined;
  /** ms; what happens then is section 4's. */
  readonly deadline: number;
}

interface OwnRun extends Run {
  readonly own: Own;
}

/** The frames that all later keys depend on; in suite 2, HELLO | CONFIRM of low, and of high. */
interface Bound extends OwnRun {
  readonly offer: Bytes;
  readonly reply: Bytes;
  readonly prk: Bytes;
  /** The peer's identity key as we saw it when our first confirmation left; undefined where we knew none. */
  readonly view: Bytes | undefined;
  /** The keys that this run's frames were opened under, each once. Empty in mode 2. */
  readonly seenKeys: readonly Bytes[];
  /** How often the last frame was sent again on request. */
  readonly repeats: number;
}

export interface Offered extends OwnRun {
  readonly kind: 'offered';
  readonly offer: Bytes;
  readonly channel: Bytes;
  readonly w: Bytes;
  readonly share: Share;
  readonly nonce: Bytes;
  /** Devices of the peer that have sent ABORT. */
  readonly refused: readonly DeviceId[];
}

/** A REPLY is bound and charged, and not looked at yet (V-17). */
export interface Checking extends Omit<Offered, 'kind'> {
  readonly kind: 'checking';
  readonly reply: Bytes;
  readonly seenKeys: readonly Bytes[];
}

export interface Proved extends Bound {
  readonly kind: 'proved';
  readonly proof: Bytes;
  /** Zero in suite 2. */
  readonly nonce: Bytes;
  /** Profile 2. */
  readonly prekeys: RunPrekeys | undefined;
}

/** The creator is through. What is left answers a repeated ACCEPT. */
export interface Verified extends Run {
  readonly kind: 'verified';
  readonly party: Trustee;
  /** SHA-256 of the ACCEPT that was taken. */
  readonly acceptHash: Bytes;
  readonly done: Bytes;
  readonly repeats: number;
}

export interface Ringing extends Run {
  readonly kind: 'ringing';
  readonly offer: Bytes;
  readonly seenKeys: readonly Bytes[];
  /** A person has begun to type; no other OFFER replaces this one. */
  readonly isTyping: boolean;
}

export interface Replied extends Bound {
  readonly kind: 'replied';
  /** The cA that PROOF must have; empty in suite 2. */
  readonly expected: Bytes;
  /** A new session is asked for, whatever there is. */
  readonly wantsSession: boolean;
}

export interface Accepted extends Run {
  readonly kind: 'accepted';
  /** Whom we trust now. */
  readonly party: Trustee;
  /** SHA-256 of the PROOF that was taken. */
  readonly proofHash: Bytes;
  readonly accept: Bytes;
  readonly doneMac: Bytes;
  /** A session was opened in this run, so DONE comes in it. */
  readonly hasOpened: boolean;
  readonly repeats: number;
}

/** Whom a run has shown to be who they are, as operators are told. */
export interface Trustee {
  readonly aci: Aci;
  readonly device: DeviceId;
  /** 33 bytes. */
  readonly identityKey: Bytes;
  /** Six digits (V-25); undefined in suite 2. */
  readonly check: string | undefined;
}

/** Over, with success; nothing is waited for. */
export interface Finished {
  readonly kind: 'finished';
  readonly runId: Bytes;
  readonly party: Trustee;
  /** The enterer has had DONE. The creator knows with ACCEPT. */
  readonly isAcknowledged: boolean;
}

export interface Greeting extends OwnRun {
  readonly kind: 'greeting';
  readonly channel: Bytes;
  /** The code's UTF-8 as it is: suite 2 has no memory-hard function. */
  readonly password: Bytes;
  readonly share: Share;
  readonly hello: Bytes;
}

export interface Confirming extends OwnRun {
  readonly kind: 'confirming';
  readonly isLow: boolean;
  readonly hello: Bytes;
  readonly peerHello: Bytes;
  readonly confirm: Bytes;
  /** The MAC that the peer's CONFIRM must have. */
  readonly expected: Bytes;
  readonly prk: Bytes;
  readonly repeats: number;
}

/**
 * Why a run has ended short of trust. `contradicted`: it was right, for a key that may not replace the pin (V-14).
 * `misnamed`: it was right, and the name that came with it is not the peer's to choose. `leaked`: its code was in a text of
 * ours (V-20).
 */
export type CloseReason =
  | 'rejected'
  | 'expired'
  | 'cancelled'
  | 'aborted'
  | 'superseded'
  | 'unsupported'
  | 'contradicted'
  | 'misnamed'
  | 'leaked';

export interface Closed {
  readonly kind: 'closed';
  readonly runId: Bytes;
  readonly reason: CloseReason;
  /** What the peer said, where it was the peer. */
  readonly abort: AbortReason | undefined;
}

/** A run that somebody still works on. */
export type Live = Offered | Checking | Proved | Ringing | Replied | Greeting | Confirming;
/** A run that has succeeded here and waits for nothing but repeats, or DONE. Nothing closes it. */
export type Tail = Verified | Accepted;
export type RunState = Live | Tail | Finished | Closed;

export function isLive(state: RunState | undefined): state is Live {
  return state !== undefined && !isTail(state) && state.kind !== 'finished' && state.kind !== 'closed';
}

export function isTail(state: RunState | undefined): state is Tail {
  return state?.kind === 'verified' || state?.kind === 'accepted';
}

function prekeySecrets({ prekeys }: Proved): readonly Bytes[] {
  return prekeys === undefined ? [] : [prekeys.prekey, prekeys.signedPrekey, prekeys.kyberPrekey];
}

/** What must be gone from the store and overwritten in memory when the state is left for good (V-16). */
export function secretsOf(state: RunState): readonly Bytes[] {
  switch (state.kind) {
    case 'offered':
    case 'checking':
      return [state.w, state.share.secret, state.nonce];
    case 'proved':
      return [state.prk, state.nonce, ...prekeySecrets(state)];
    case 'replied':
      return [state.prk, state.expected];
    case 'greeting':
      return [state.password, state.share.secret];
    case 'confirming':
      return [state.prk, state.expected];
    case 'verified':
    case 'ringing':
    case 'accepted':
    case 'finished':
    case 'closed':
      return [];
  }
}
