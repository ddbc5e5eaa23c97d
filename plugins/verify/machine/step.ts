/**
 * What goes into a step of a run and what comes out of it. Steps are pure: time, random values, `w` and keys come with
 * the event; what must be asked on the way (a cipher, the core's sessions) is yielded as a question and answered by
 * whoever drives (`settle.ts`). All that a step gives, the answers' own writes included, goes into one batch (V-15).
 */
import type { Aci, Bytes, DeviceId, PniBlock, Proof, RunBundle, RunPrekeys } from '../../../src/index.ts';
import type { PageKeys } from '../keys.ts';
import type { MhfParams } from '../math/mhf.ts';
import type { Primitives } from '../math/primitives.ts';
import type { Share } from '../math/spake2.ts';
import type { AbortReason, Format, Mode, Profile } from '../messages/frame.ts';
import type { Party } from '../messages/service-id.ts';
import type { CloseReason, Own, RunState, Trustee } from './state.ts';

/** What is the same for all runs of a program. */
export interface Env {
  readonly primitives: Primitives;
  /** 1 in a page, which has no libsignal. */
  readonly maxProfile: Profile;
}

interface At {
  /** ms since 1970. */
  readonly now: number;
}

/** An operator of this side starts a run and creates the code, or has typed one that was agreed beforehand. */
export interface Start extends At {
  readonly kind: 'start';
  readonly own: Own;
  /** Mode 1; undefined makes it mode 2. */
  readonly peer: Aci | undefined;
  readonly profile: Profile;
  readonly format: Format;
  readonly mhf: MhfParams;
  /** Up to 24 h. */
  readonly lifetimeMs: number;
  /** 16 random bytes: `w` depends on them. */
  readonly runId: Bytes;
  readonly w: Bytes;
  /** Of role A, from `makeShare`. */
  readonly share: Share;
  /** 32 random bytes. */
  readonly nonce: Bytes;
  /** What both programs were told to bind, else empty. */
  readonly channel: Bytes;
}

/** Suite 2, in mode 2: both sides know the code and greet. */
export interface Greet extends At {
  readonly kind: 'greet';
  readonly own: Own;
  readonly profile: Profile;
  readonly format: Format;
  readonly lifetimeMs: number;
  readonly password: Bytes;
  /** Symmetric, from `startSuite2('S', ...)`. */
  readonly share: Share;
  readonly channel: Bytes;
}

/** Bytes from the peer. */
export interface Arrived extends At {
  readonly kind: 'frame';
  readonly bytes: Bytes;
  /** Mode 1: who sent the envelope. Always an ACI: what comes from a PNI or to ours is dropped before. */
  readonly from: Party | undefined;
  /** Mode 1: the identity key of the session that the envelope was opened in (V-14). */
  readonly openedUnder: Bytes | undefined;
  /** What an OFFER meets: `locked` is answered, `full` (no slot left to ring in) is not. */
  readonly gate: 'open' | 'locked' | 'full';
  /** An OFFER that cannot be taken is passed over in silence: the peer was answered a moment ago. */
  readonly isMuted?: boolean;
  /** Mode 1, with ABORT: the peer's devices that are known to verify. */
  readonly verifiers?: readonly DeviceId[];
}

/** The enterer's operator has begun to type the code of this run. */
export interface Typing extends At {
  readonly kind: 'typing';
  readonly runId: Bytes;
}

/** The enterer's operator has typed it, and scrypt has run. */
export interface Typed extends At {
  readonly kind: 'typed';
  readonly runId: Bytes;
  readonly own: Own;
  readonly w: Bytes;
  /** Of role B, from `makeShare`. */
  readonly share: Share;
  /** The key that a session with the peer would use now; undefined if none, or in `changed`. */
  readonly view: Bytes | undefined;
  /** The operator asks for a new session. */
  readonly wantsSession: boolean;
  readonly channel: Bytes;
}

/** The code of this run was typed on another device of ours (V-21). */
export interface TypedElsewhere extends At {
  readonly kind: 'typed-elsewhere';
  readonly runId: Bytes;
}

/** The creator goes on after the commit of `checking`, or after a restart. */
export interface Continue extends At {
  readonly kind: 'continue';
  /** As in `Typed`. */
  readonly view: Bytes | undefined;
}

export type Event =
  | Start
  | Greet
  | Arrived
  | Typing
  | Typed
  | TypedElsewhere
  | Continue
  /** An operator of this side gives up; or the code is in a text of ours (V-20). */
  | (At & { readonly kind: 'cancel'; readonly isLeaked?: boolean })
  /** Time has passed; see `deadlineOf`. */
  | (At & { readonly kind: 'tick' })
  /** The program has started, and nothing of a frame has been looked at. */
  | (At & { readonly kind: 'restart' })
  /** The way to the peer is there again; what was sent last may be lost. */
  | (At & { readonly kind: 'reconnected' })
  /** The handler of this run has failed as often as it may (V-17). */
  | (At & { readonly kind: 'given-up' });

/** Who is waited for. */
export type Waiting = 'own-operator' | 'peer-operator' | 'peer-bot' | 'nobody';

/** What operators are told. */
export type Notice =
  /**
   * 1: a code is there, and waits to be typed. 2: the code was typed. 3: the creator has shown that it knows the code
   * (to the enterer this means: the creator is trusted). 4: both know that both know.
   */
  | { readonly kind: 'step'; readonly step: 1 | 2 | 3 | 4; readonly waitingFor: Waiting }
  | { readonly kind: 'rings'; readonly format: Format; readonly mhf: MhfParams; readonly expiresAt: number }
  /** The peer is who it says. The creator's comes with step 4, the enterer's with step 3. */
  | { readonly kind: 'trusted'; readonly party: Trustee }
  | {
      readonly kind: 'ended';
      readonly reason: CloseReason;
      readonly abort: AbortReason | undefined;
      /** Somebody here had begun it, or begun to type its code. All others the peer alone has made. */
      readonly isOurs: boolean;
    }
  /** One device of the peer does not take the code; others may. */
  | { readonly kind: 'refused'; readonly device: DeviceId; readonly reason: AbortReason }
  /** Both have created a code: whose is to be used. */
  | { readonly kind: 'glare'; readonly use: 'own' | 'theirs' }
  /** A code was typed and nothing rings, or something else does by now. Nothing is charged. */
  | { readonly kind: 'nothing-rings' }
  /** A run with our own account is refused. */
  | { readonly kind: 'own-account' }
  /** An OFFER that this version cannot take up. */
  | { readonly kind: 'unsupported-offer' }
  /** The peer's DONE was wrong; its trust in us is not known, ours in it stands. */
  | { readonly kind: 'done-invalid' }
  /** No DONE within 24 h: verified, shown as "not acknowledged". */
  | { readonly kind: 'unacknowledged' };

/** A run has succeeded for the peer's key: all that the core needs to write it down and to heal. */
export interface Trusted extends Trustee {
  readonly role: 'A' | 'B';
  readonly proof: Extract<Proof, { kind: 'pake' }>;
  readonly found: Found | undefined;
  /** Sessions with the peer were under a wrong key, on their side or ours, and must go (section 8). */
  readonly heals: boolean;
  /** A new session was opened in this run. Its question has pinned the key and removed the old sessions already. */
  readonly hasOpened: boolean;
  /** The peer agrees to be introduced (V-36). */
  readonly mayBeIntroduced: boolean;
  /** Signatures unchecked. */
  readonly pni: PniBlock | undefined;
  /** Mode 2, profile 1: keys for texts. In memory only. */
  readonly pageKeys: PageKeys | undefined;
}

/** What V-14 finds: keys that are not the peer's. `substituted`: frames of the run came under them, which is proof. */
export interface Found {
  readonly kind: 'substituted' | 'replaced';
  readonly falseKeys: readonly Bytes[];
}

export type Effect =
  /** To this device of the peer, or to all its bot devices. */
  | { readonly kind: 'send'; readonly frame: Bytes; readonly device: DeviceId | undefined }
  | { readonly kind: 'charge'; readonly runId: Bytes }
  | { readonly kind: 'refund'; readonly runId: Bytes }
  /** After this is committed, give the event `continue`. */
  | { readonly kind: 'continue' }
  /** Tell our other devices to stop ringing for this peer (V-21). */
  | { readonly kind: 'tell-siblings' }
  | { readonly kind: 'trusted'; readonly trusted: Trusted }
  /** The key becomes the candidate; nothing heals (V-14). `identities.pin` does just that. */
  | {
      readonly kind: 'contradicted';
      readonly aci: Aci;
      readonly identityKey: Bytes;
      readonly proof: Trusted['proof'];
    }
  /** The creator never answered in the session that was opened for it. */
  | { readonly kind: 'drop-session'; readonly aci: Aci; readonly device: DeviceId }
  /** The run needs its code (for the outbound guard, V-20) and its carrier no more. */
  | { readonly kind: 'over'; readonly runId: Bytes }
  /** Overwrite these once all is committed (V-16). */
  | { readonly kind: 'wipe'; readonly secrets: readonly Bytes[] }
  | { readonly kind: 'notice'; readonly runId: Bytes; readonly notice: Notice };

/** What a step may ask, each with what it is told. What an answer writes belongs to the step's batch. */
export interface Questions {
  seal: { ask: { keys: Bytes; head: Bytes; plaintext: Bytes }; answer: Bytes };
  open: { ask: { keys: Bytes; head: Bytes; sealed: Bytes }; answer: Bytes | undefined };
  trust: { ask: { aci: Aci; identityKey: Bytes }; answer: TrustAnswer };
  /** What the service gives out as the peer's identity key when it is asked afresh; undefined where it cannot be asked. */
  'served-key': { ask: { party: Party }; answer: Bytes | undefined };
  prepare: { ask: { now: number }; answer: Prepared };
  'open-session': {
    ask: SessionRequest & { bundle: RunBundle; plaintext: Bytes };
    answer: Bytes | undefined;
  };
  'take-session': {
    ask: SessionRequest & { prekeys: RunPrekeys; initial: Bytes };
    answer: Bytes | undefined;
  };
  'seal-done': { ask: { party: Party; plaintext: Bytes }; answer: Bytes };
  'open-done': { ask: { party: Party; message: Bytes }; answer: Bytes | undefined };
}

export interface TrustAnswer {
  /** What a proof for this key makes of the contact: `changed` when it contradicts what may not be replaced (V-14). */
  readonly verdict:
    | 'verified'
    | 'changed'
    /** Mode 2: the peer gives itself the name of a contact whom it cannot be taken for. */
    | 'misnamed';
  /** There is an ordinary session with the peer's device of this run. */
  readonly hasSession: boolean;
  /** The keys that are held of the peer, trusted or not: the pin, and in `changed` the candidate. */
  readonly stored?: readonly Bytes[];
}

export interface Prepared {
  readonly bundle: RunBundle;
  readonly prekeys: RunPrekeys;
}

/** Whose session, under which key, and why that key is trusted. */
export interface SessionRequest {
  readonly party: Party;
  /** The peer's, 1..16383. */
  readonly registrationId: number;
  readonly identityKey: Bytes;
  /** At B its `vh` is over OFFER, REPLY and PROOF, as ACCEPT holds the session's message; the effect has the whole one. */
  readonly proof: Trusted['proof'];
  readonly found: Found | undefined;
}

export type Question = {
  [K in keyof Questions]: { readonly kind: K } & Questions[K]['ask'];
}[keyof Questions];

/** A computation that asks on its way. */
export type Steps<T> = Generator<Question, T, unknown>;

export interface Next {
  readonly state: RunState;
  readonly effects: readonly Effect[];
}

/** Mode 1 has a named peer. */
export function modeOf(peer: Aci | undefined): Mode {
  return peer === undefined ? 2 : 1;
}

/** Asks one thing; the driver answers with what the table says. */
export function* ask<K extends keyof Questions>(
  kind: K,
  question: Questions[K]['ask'],
): Steps<Questions[K]['answer']> {
  return (yield { kind, ...question } as unknown as Question) as Questions[K]['answer'];
}
