/**
 * Outcomes: what a run that was right says about the peer, for the core to write down.
 */
import { bytesToHex } from '@noble/curves/utils.js';
import type { Bytes } from '../../../src/index.ts';
import { pageKeys } from '../keys.ts';
import type { Role } from '../math/spake2.ts';
import type { Payload } from '../messages/payload.ts';
import { close } from './closing.ts';
import type { Judgement } from './judge.ts';
import type { Proved, Replied, Trustee } from './state.ts';
import type { Effect, Next, SessionRequest, Trusted } from './step.ts';

export interface Outcome {
  /** Ours. */
  readonly role: Role;
  readonly run: Proved | Replied;
  /** The peer's. */
  readonly payload: Payload;
  readonly judgement: Judgement;
  /** The verification hash, over the frames that there are. */
  readonly vh: Bytes;
  readonly check: string | undefined;
  /** A session is opened in this run. */
  readonly hasOpened: boolean;
  readonly now: number;
}

export function trusteeOf({ payload, check }: Outcome): Trustee {
  const { aci, device, identityKey } = payload;
  return { aci, device, identityKey, check };
}

/** What the opening of a session needs to know. */
export function requestOf(outcome: Outcome): SessionRequest {
  const { aci, device, registrationId, identityKey } = outcome.payload;
  const { found } = outcome.judgement;
  return { party: { aci, device }, registrationId, identityKey, proof: proofOf(outcome), found };
}

export function trustedEffect(outcome: Outcome): Effect {
  const { role, run, payload, judgement, vh, hasOpened } = outcome;
  const { mode, profile } = run.terms;
  const trusted: Trusted = {
    ...trusteeOf(outcome),
    role,
    proof: proofOf(outcome),
    found: judgement.found,
    heals: judgement.heals,
    hasOpened,
    mayBeIntroduced: payload.mayBeIntroduced,
    pni: payload.pni,
    pageKeys: mode === 2 && profile === 1 ? pageKeys(run.prk, vh) : undefined,
  };
  return { kind: 'trusted', trusted };
}

/** The run is right, and its key may not replace the pin: it becomes the candidate, the run its evidence (V-14). */
export function contradicted(outcome: Outcome): Next {
  const { party, identityKey, proof } = requestOf(outcome);
  const closed = close(outcome.run, 'contradicted');
  const effect: Effect = { kind: 'contradicted', aci: party.aci, identityKey, proof };
  return { ...closed, effects: [effect, ...closed.effects] };
}

function proofOf({ role, run, payload, vh, now }: Outcome): Trusted['proof'] {
  const { suite, format } = run.terms;
  return {
    kind: 'pake',
    runId: bytesToHex(run.runId),
    vh: bytesToHex(vh),
    role,
    suite,
    codeFormat: format,
    device: payload.device,
    mayBeIntroduced: payload.mayBeIntroduced,
    at: now,
  };
}
