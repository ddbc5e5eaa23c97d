/**
 * Enterer: the side whose operator types the code (B).
 *
 *   OFFER -> ringing --typed--> replied --PROOF--> accepted --DONE, or 24 h--> finished
 *
 * An OFFER only rings: scrypt runs when a person has typed, and the guess is charged with REPLY (V-2, V-22). Nothing is
 * sealed before cA is right (V-11). In `accepted` nothing closes the run. In suite 2 who sent the larger share comes in
 * at `replied`.
 * Spec: verification brief, sections 3.3 to 3.8 and 4.
 */
import type { Bytes } from '../../../src/index.ts';
import { checkDigits, commitTo } from '../check.ts';
import {
  associatedData,
  doneMac,
  extractKey,
  initialPlaintext,
  payloadKeys,
  sha256Of,
  verificationHash,
} from '../keys.ts';
import { confirm, confirmationKeys, finish } from '../math/spake2.ts';
import {
  decodeFrame,
  encodeFrame,
  encodeHead,
  HEAD_BYTES,
  MAC_BYTES,
  type Frame,
  type Offer,
  type Proof,
} from '../messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../messages/payload.ts';
import { isSame } from '../messages/wire.ts';
import { close, notice, stay, wipe } from './closing.ts';
import { ANSWER_MS, GRACE_MS, identities, MAX_LIFETIME_MS, TAIL_MS } from './creator.ts';
import { isFromPeer, judge, judgeStored, withKey, type Judgement } from './judge.ts';
import { contradicted, requestOf, trustedEffect, trusteeOf, type Outcome } from './outcome.ts';
import { secretsOf, type Accepted, type Finished, type Replied, type Ringing } from './state.ts';
import { ask, type Arrived, type Env, type Next, type Steps, type Typed } from './step.ts';

const EMPTY: Bytes = new Uint8Array(0);

/** Rings. The OFFER is one that this version can take up, from the peer it names. */
export function ring(frame: Frame & { body: Offer }, { bytes, from, openedUnder, now }: Arrived): Next {
  const { mode, profile, format, mhf, expiresAt } = frame.body;
  // By a clock that is not ours: bounded, and the creator judges by its own when REPLY comes.
  const deadline = Math.min(expiresAt, now + MAX_LIFETIME_MS) + GRACE_MS;
  const state: Ringing = {
    ...{ kind: 'ringing', runId: frame.runId, terms: { suite: 1, mode, profile, format } },
    ...{ peer: from?.aci, peerDevice: from?.device, deadline, offer: bytes },
    ...{ seenKeys: withKey([], openedUnder), isTyping: false },
  };
  const step = notice(state, { kind: 'step', step: 1, waitingFor: 'own-operator' });
  return stay(state, notice(state, { kind: 'rings', format, mhf, expiresAt }), step);
}

/** The code is typed and stretched: charges the guess and sends REPLY. The row has no `w` and no `y` any more. */
export function reply(env: Env, state: Ringing, event: Typed): Next {
  const { runId, offer, peer, peerDevice } = state;
  const { own, w, share, channel, now } = event;
  const body = decodeFrame(offer)?.body;
  if (body?.type !== 'offer' || own.aci === peer) return close(state, 'rejected');
  const sender = peer === undefined ? undefined : { aci: own.aci, device: own.device };
  const [idA, idB] = identities(body.sender, sender);
  const exchange = { w, own: share, peerShare: body.share, idA, idB };
  const alleged = finish(env.primitives.p256, 'B', exchange);
  if (typeof alleged === 'string') return close(state, 'rejected');
  const frameWith = (confirmation: Bytes): Bytes =>
    encodeFrame({ suite: 1, runId, body: { type: 'reply', sender, share: share.share, confirmation } });
  // What cB confirms does not reach as far as cB itself, so any of its length does for the time being.
  const aad = associatedData({ offer, reply: frameWith(new Uint8Array(MAC_BYTES)) }, channel);
  const { kcA, kcB } = confirmationKeys(alleged.ka, aad);
  const frame = frameWith(confirm(kcB, alleged.transcript));
  const { terms, seenKeys, deadline } = state;
  const { view, wantsSession } = event;
  const next: Replied = {
    ...{
      kind: 'replied',
      runId,
      terms,
      own,
      peer,
      peerDevice,
      offer,
      reply: frame,
      view,
      seenKeys,
      wantsSession,
    },
    ...{ prk: extractKey(alleged.ke, aad), expected: confirm(kcA, alleged.transcript), repeats: 0 },
    deadline: Math.max(deadline - GRACE_MS, now + ANSWER_MS),
  };
  return stay(
    next,
    { kind: 'charge', runId },
    { kind: 'tell-siblings' },
    { kind: 'send', frame, device: peerDevice },
    notice(state, { kind: 'step', step: 2, waitingFor: 'peer-bot' }),
    ...wipe([alleged.ke, alleged.ka, alleged.transcript, kcA, kcB]),
  );
}

/** Checks cA, opens the creator's payload, opens a session if one is due, and trusts. */
export function* takeProof(env: Env, state: Replied, { bytes, openedUnder, now }: Arrived): Steps<Next> {
  const { terms, prk } = state;
  const frame = decodeFrame(bytes);
  if (frame?.body.type !== 'proof' || frame.suite !== terms.suite) return close(state, 'rejected');
  if (!env.primitives.isEqual(frame.body.confirmation, state.expected)) return close(state, 'rejected');
  const payload = yield* openProof(state, bytes, frame.body);
  if (payload?.nonce === undefined || !isFromPeer(state, payload)) return close(state, 'rejected');
  if (!isNonceRight(state, payload.nonce)) return close(state, 'rejected');

  const seen = judge(state, payload, withKey(state.seenKeys, openedUnder));
  const check = terms.suite === 1 ? checkDigits(payload.nonce, state) : undefined;
  // ACCEPT holds the first message of the session, so the opening of that has to do with the hash so far.
  const vh = verificationHash(prk, state, bytes);
  const { aci, identityKey } = payload;
  const { verdict, hasSession, stored } = yield* ask('trust', { aci, identityKey });
  if (verdict === 'misnamed') return close(state, verdict);
  const run = { role: 'B', run: state, payload, vh, check, now } as const;
  if (verdict === 'changed') return contradicted({ ...run, judgement: seen, hasOpened: false });
  const judgement = yield* judgeStored(seen, payload, stored);
  const hasOpened = terms.profile === 2 && !mayKeepSession(state, judgement, hasSession);
  const outcome: Outcome = { ...run, judgement, hasOpened };
  let initial: Bytes | undefined = EMPTY;
  if (hasOpened && payload.bundle !== undefined) {
    const plaintext = initialPlaintext(state, bytes);
    initial = yield* ask('open-session', { ...requestOf(outcome), bundle: payload.bundle, plaintext });
  }
  if (initial === undefined) return close(state, 'rejected');
  return yield* accept(state, outcome, { proof: bytes, initial });
}

/** DONE: the same MAC, in the session if one was opened. Whatever it is, the run stays (3.8). */
export function* takeDone(env: Env, state: Accepted, { bytes }: Arrived): Steps<Next> {
  const { party, doneMac: expected, hasOpened, runId, terms } = state;
  const frame = decodeFrame(bytes);
  const wrong = stay(state, notice(state, { kind: 'done-invalid' }));
  if (frame?.body.type !== 'done' || frame.suite !== terms.suite) return wrong;
  const { kind, proof } = frame.body;
  if ((kind === 'message') !== hasOpened) return wrong;
  const mac = hasOpened ? yield* ask('open-done', { party, message: proof }) : proof;
  if (mac === undefined || !env.primitives.isEqual(mac, expected)) return wrong;
  const next: Finished = { kind: 'finished', runId, party, isAcknowledged: true };
  const step = notice(state, { kind: 'step', step: 4, waitingFor: 'nobody' });
  return stay(next, { kind: 'over', runId }, step);
}

/** 24 h without DONE: the trust stands, and a session that A never answered goes, so that the next send fetches keys. */
export function finishUnacknowledged(state: Accepted): Next {
  const { runId, party, hasOpened } = state;
  const { aci, device } = party;
  const next: Finished = { kind: 'finished', runId, party, isAcknowledged: false };
  return stay(
    next,
    ...(hasOpened ? [{ kind: 'drop-session', aci, device } as const] : []),
    { kind: 'over', runId },
    notice(state, { kind: 'unacknowledged' }),
  );
}

function* openProof(
  state: Replied,
  proof: Bytes,
  { confirmation, sealed }: Proof,
): Steps<Payload | undefined> {
  const head = new Uint8Array([...proof.subarray(0, HEAD_BYTES), ...confirmation]);
  const plaintext = yield* ask('open', { keys: payloadKeys(state.prk, state), head, sealed });
  return plaintext && decodePayload(plaintext, 'A', state.terms.profile);
}

/** OFFER's commitment, opened (V-25). Suite 2 has none, and a zero nonce. */
function isNonceRight({ terms, offer }: Replied, nonce: Bytes): boolean {
  if (terms.suite === 2) return nonce.every((byte) => byte === 0);
  const body = decodeFrame(offer)?.body;
  return body?.type === 'offer' && isSame(commitTo(nonce), body.commitment);
}

function mayKeepSession(
  { terms, wantsSession }: Replied,
  judgement: Judgement,
  hasSession: boolean,
): boolean {
  return terms.mode === 1 && judgement.isAsKnown && hasSession && !wantsSession;
}

function* accept(state: Replied, outcome: Outcome, frames: { proof: Bytes; initial: Bytes }): Steps<Next> {
  const { runId, terms, own, view, peer, peerDevice, prk } = state;
  const { proof, initial } = frames;
  const { now, hasOpened, payload } = outcome;
  const { suite, profile, mode } = terms;
  const answer: Payload = {
    ...{ profile, ...own, peer: payload.aci, peerKey: mode === 2 ? payload.identityKey : view },
    ...{ time: now, nonce: undefined, bundle: undefined, initial },
  };
  const sealed = yield* ask('seal', {
    keys: payloadKeys(prk, state, proof),
    head: encodeHead({ type: 'accept', suite, runId }),
    plaintext: encodePayload(answer),
  });
  const frame = encodeFrame({ suite, runId, body: { type: 'accept', sealed } });
  const vh = verificationHash(prk, state, proof, frame);
  const whole = { ...outcome, vh };
  const party = trusteeOf(whole);
  const next: Accepted = {
    ...{
      kind: 'accepted',
      runId,
      terms,
      peer,
      peerDevice,
      deadline: now + TAIL_MS,
      party,
      hasOpened,
      repeats: 0,
    },
    ...{ proofHash: sha256Of(proof), accept: frame, doneMac: doneMac(prk, vh) },
  };
  return stay(
    next,
    { kind: 'refund', runId },
    trustedEffect(whole),
    { kind: 'send', frame, device: peerDevice },
    notice(state, { kind: 'trusted', party }),
    notice(state, { kind: 'step', step: 3, waitingFor: 'peer-bot' }),
    ...wipe(secretsOf(state)),
  );
}
