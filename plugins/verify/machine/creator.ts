/**
 * Creator: the side whose operator made the code (A).
 *
 *   start -> offered --REPLY--> checking --continue--> proved --ACCEPT--> verified
 *
 * The first REPLY is bound and charged in one commit, and looked at in the next (V-17). Nothing is sealed before cB is
 * right (V-11). In suite 2 who sent the smaller share comes here with `prove`.
 * Spec: verification brief, sections 3.3 to 3.6 and 4.
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
import { decodeFrame, encodeFrame, encodeHead, HEAD_BYTES, type Reply } from '../messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../messages/payload.ts';
import { partyBytes, type Party } from '../messages/service-id.ts';
import { concat } from '../messages/wire.ts';
import { close, notice, stay, wipe } from './closing.ts';
import { isFromPeer, judge, judgeStored, withKey, type Judgement } from './judge.ts';
import { contradicted, requestOf, trusteeOf, trustedEffect, type Outcome } from './outcome.ts';
import { secretsOf, type Checking, type Offered, type Proved, type Verified } from './state.ts';
import {
  ask,
  modeOf,
  type Arrived,
  type Continue,
  type Env,
  type Next,
  type Start,
  type Steps,
} from './step.ts';

/** A REPLY that was on its way when the code ran out is still taken for so long. */
export const GRACE_MS = 60_000;
/** What is left once both have confirmed, unless the code lives longer. */
export const ANSWER_MS = 600_000;
/** How long repeats are answered, and DONE is waited for. */
export const TAIL_MS = 86_400_000;
export const MAX_LIFETIME_MS = 86_400_000;

const NONE: Bytes = new Uint8Array(0);

export function start(event: Start): Next {
  const { own, peer, profile, format, mhf, runId, w, share, nonce, channel, now } = event;
  const mode = modeOf(peer);
  const expiresAt = now + Math.min(event.lifetimeMs, MAX_LIFETIME_MS);
  const sender = mode === 1 ? { aci: own.aci, device: own.device } : undefined;
  const terms = { suite: 1, mode, profile, format } as const;
  const body = { type: 'offer', mode, profile, format, mhf, expiresAt, sender } as const;
  const commitment = commitTo(nonce);
  const offer = encodeFrame({ suite: 1, runId, body: { ...body, commitment, share: share.share } });
  const state: Offered = {
    ...{ kind: 'offered', runId, terms, own, peer, peerDevice: undefined, deadline: expiresAt + GRACE_MS },
    ...{ offer, channel, w, share, nonce, refused: [] },
  };
  const step = notice(state, { kind: 'step', step: 1, waitingFor: 'peer-operator' });
  return stay(state, { kind: 'send', frame: offer, device: undefined }, step);
}

/** Binds the first REPLY, whatever is in it. It has come from the run's peer, and in time. */
export function bindReply(state: Offered, { bytes, from, openedUnder }: Arrived): Next {
  const seenKeys = withKey([], openedUnder);
  const next: Checking = { ...state, kind: 'checking', reply: bytes, peerDevice: from?.device, seenKeys };
  const step = notice(state, { kind: 'step', step: 2, waitingFor: 'nobody' });
  return stay(next, { kind: 'charge', runId: state.runId }, step, { kind: 'continue' });
}

/** Checks cB, and shows cA with our payload if it is right. */
export function* checkReply(env: Env, state: Checking, { now, view }: Continue): Steps<Next> {
  const { own, peer, peerDevice, offer, reply, w, share, channel, nonce } = state;
  const body = replyOf(state);
  if (body === undefined) return close(state, 'rejected');
  const [idA, idB] = identities(own, peer === undefined ? undefined : { aci: peer, device: peerDevice ?? 0 });
  const alleged = finish(env.primitives.p256, 'A', { w, own: share, peerShare: body.share, idA, idB });
  if (typeof alleged === 'string') return close(state, 'rejected');
  const aad = associatedData({ offer, reply }, channel);
  const { kcA, kcB } = confirmationKeys(alleged.ka, aad);
  const isRight = env.primitives.isEqual(confirm(kcB, alleged.transcript), body.confirmation);
  const cA = confirm(kcA, alleged.transcript);
  const prk = extractKey(alleged.ke, aad);
  const spent = [alleged.ke, alleged.ka, alleged.transcript, kcA, kcB];
  if (!isRight) {
    const closed = close(state, 'rejected');
    return { ...closed, effects: [...closed.effects, ...wipe([...spent, prk])] };
  }
  const { runId, terms, seenKeys, deadline } = state;
  const run = { runId, terms, own, peer, peerDevice, deadline, offer, reply, prk, view, seenKeys, nonce };
  const proved = yield* prove(run, cA, now);
  return { ...proved, effects: [...proved.effects, ...wipe([w, share.secret, ...spent])] };
}

/** Seals our payload under a confirmed key. @param cA empty in suite 2 */
export function* prove(
  run: Omit<Proved, 'kind' | 'proof' | 'prekeys' | 'repeats'>,
  cA: Bytes,
  now: number,
): Steps<Next> {
  const { runId, terms, own, peer, peerDevice, view, nonce, prk } = run;
  const prepared = terms.profile === 2 ? yield* ask('prepare', { now }) : undefined;
  const payload: Payload = {
    profile: terms.profile,
    ...own,
    ...{ peer, peerKey: view, time: now, nonce, bundle: prepared?.bundle, initial: NONE },
  };
  const sealed = yield* ask('seal', {
    keys: payloadKeys(prk, run),
    head: concat(encodeHead({ type: 'proof', suite: terms.suite, runId }), cA),
    plaintext: encodePayload(payload),
  });
  const proof = encodeFrame({ suite: terms.suite, runId, body: { type: 'proof', confirmation: cA, sealed } });
  const deadline = Math.max(run.deadline - GRACE_MS, now + ANSWER_MS);
  const state: Proved = { ...run, kind: 'proved', deadline, proof, prekeys: prepared?.prekeys, repeats: 0 };
  const step = notice(state, { kind: 'step', step: 3, waitingFor: 'peer-bot' });
  return stay(state, { kind: 'send', frame: proof, device: peerDevice }, step);
}

/** Opens and checks ACCEPT, takes the session and trusts. */
export function* takeAccept(env: Env, state: Proved, { bytes, openedUnder, now }: Arrived): Steps<Next> {
  const { terms, prk, proof } = state;
  const frame = decodeFrame(bytes);
  if (frame?.body.type !== 'accept' || frame.suite !== terms.suite) return close(state, 'rejected');
  const { sealed } = frame.body;
  const head = bytes.slice(0, HEAD_BYTES);
  const plaintext = yield* ask('open', { keys: payloadKeys(prk, state, proof), head, sealed });
  const payload = plaintext && decodePayload(plaintext, 'B', terms.profile);
  if (payload === undefined || !isFromPeer(state, payload)) return close(state, 'rejected');

  const seenKeys = withKey(state.seenKeys, openedUnder);
  const seen = judge(state, payload, seenKeys);
  if (payload.initial.length === 0 && !mayKeepSession(state, seen)) return close(state, 'rejected');

  const vh = verificationHash(prk, state, proof, bytes);
  const check = terms.suite === 1 ? checkDigits(state.nonce, state) : undefined;
  const hasOpened = payload.initial.length > 0;
  const { aci, identityKey } = payload;
  const { verdict, stored } = yield* ask('trust', { aci, identityKey });
  if (verdict === 'misnamed') return close(state, verdict);
  const run = { role: 'A', run: state, payload, vh, check, hasOpened, now } as const;
  if (verdict === 'changed') return contradicted({ ...run, judgement: seen });
  const outcome: Outcome = { ...run, judgement: yield* judgeStored(seen, payload, stored) };
  const mac = doneMac(prk, vh);
  const answer = yield* answerDone(env, state, outcome, mac);
  if (answer === undefined) return close(state, 'rejected');
  return verified(state, outcome, { accept: bytes, done: answer });
}

/** DONE, in the new session if there is one. @returns undefined when the initial message is not B's */
function* answerDone(env: Env, state: Proved, outcome: Outcome, mac: Bytes): Steps<Bytes | undefined> {
  const { runId, terms, proof, prekeys } = state;
  const { payload } = outcome;
  const { suite } = terms;
  if (payload.initial.length === 0) {
    return encodeFrame({ suite, runId, body: { type: 'done', kind: 'mac', proof: mac } });
  }
  if (prekeys === undefined) return undefined;
  const request = requestOf(outcome);
  const plaintext = yield* ask('take-session', { ...request, prekeys, initial: payload.initial });
  const isRight = plaintext && env.primitives.isEqual(plaintext, initialPlaintext(state, proof));
  if (isRight !== true) return undefined;
  const message = yield* ask('seal-done', { party: request.party, plaintext: mac });
  return encodeFrame({ suite, runId, body: { type: 'done', kind: 'message', proof: message } });
}

function verified(state: Proved, outcome: Outcome, { accept, done }: { accept: Bytes; done: Bytes }): Next {
  const { runId, terms, peer, peerDevice } = state;
  const next: Verified = {
    ...{ kind: 'verified', runId, terms, peer, peerDevice, deadline: outcome.now + TAIL_MS },
    ...{ party: trusteeOf(outcome), acceptHash: sha256Of(accept), done, repeats: 0 },
  };
  return stay(
    next,
    { kind: 'refund', runId },
    trustedEffect(outcome),
    { kind: 'send', frame: done, device: peerDevice },
    notice(state, { kind: 'trusted', party: trusteeOf(outcome) }),
    notice(state, { kind: 'step', step: 4, waitingFor: 'nobody' }),
    ...wipe(secretsOf(state)),
  );
}

/** Nobody asks for DONE any more. */
export function finishVerified({ runId, party }: Verified): Next {
  return stay({ kind: 'finished', runId, party, isAcknowledged: true }, { kind: 'over', runId });
}

/** An empty initial message is B's word that the session may stay; only where we see it the same way. */
function mayKeepSession({ terms }: Proved, { isAsKnown }: Judgement): boolean {
  return terms.profile === 1 || (terms.mode === 1 && isAsKnown);
}

/** The body of the bound REPLY, if it is one of this run's peer. */
function replyOf({ reply, peer, peerDevice }: Checking): Reply | undefined {
  const frame = decodeFrame(reply);
  if (frame?.body.type !== 'reply') return undefined;
  const { sender } = frame.body;
  const isTheirs = sender?.aci === peer && sender?.device === peerDevice;
  return isTheirs ? frame.body : undefined;
}

/** The names of A and B in TT; absent in mode 2. */
export function identities(a: Party | undefined, b: Party | undefined): [Bytes, Bytes] {
  return a === undefined || b === undefined ? [NONE, NONE] : [partyBytes(a), partyBytes(b)];
}
