/**
 * Suite 2: both sides greet with a symmetric share, confirm, and go on as A (who sent the smaller share) and B.
 *
 *   greet -> greeting --HELLO--> confirming --CONFIRM--> proved (low) or replied (high)
 *
 * Only in mode 2, and only where both operators chose it: no frame can ask for it. A guess is charged before CONFIRM
 * leaves. There are no check digits.
 * Spec: verification brief, section 3.7.
 */
import type { Bytes } from '../../../src/index.ts';
import { NONCE_BYTES } from '../check.ts';
import { extractKey, mac, sha256Of, symmetricAssociatedData, symmetricConfirmationKey } from '../keys.ts';
import { finishSymmetric } from '../math/suite2.ts';
import { decodeFrame, encodeFrame, NO_RUN } from '../messages/frame.ts';
import { compare, concat } from '../messages/wire.ts';
import { close, notice, stay, wipe } from './closing.ts';
import { ANSWER_MS, GRACE_MS, MAX_LIFETIME_MS, prove } from './creator.ts';
import type { Confirming, Greeting, Replied } from './state.ts';
import type { Arrived, Env, Greet, Next, Steps } from './step.ts';

const NONE: Bytes = new Uint8Array(0);

export function greet(event: Greet): Next {
  const { own, profile, format, password, share, channel, now } = event;
  const hello = encodeFrame({
    suite: 2,
    runId: NO_RUN,
    body: { type: 'hello', profile, share: share.share },
  });
  const state: Greeting = {
    ...{ kind: 'greeting', runId: NO_RUN, terms: { suite: 2, mode: 2, profile, format }, own, channel },
    ...{ peer: undefined, peerDevice: undefined, password, share, hello },
    deadline: now + Math.min(event.lifetimeMs, MAX_LIFETIME_MS) + GRACE_MS,
  };
  const step = notice(state, { kind: 'step', step: 1, waitingFor: 'peer-operator' });
  return stay(state, { kind: 'send', frame: hello, device: undefined }, step);
}

/** The peer's HELLO: alleged key, charge, CONFIRM. */
export function takeHello(state: Greeting, { bytes, now }: Arrived): Next {
  const { own, terms, channel, password, share, hello } = state;
  const body = decodeFrame(bytes)?.body;
  if (body?.type !== 'hello') return close(state, 'rejected');
  if (body.profile !== terms.profile) return close(state, 'unsupported');
  const key = finishSymmetric({ password, own: share, peerShare: body.share, id: NONE });
  if (typeof key === 'string') return close(state, 'rejected');
  const isLow = compare(share.share, body.share) < 0;
  const [low, high] = isLow ? [hello, bytes] : [bytes, hello];
  const runId = sha256Of(low, high).slice(0, NO_RUN.length);
  const aad = symmetricAssociatedData(low, high, channel);
  const prk = extractKey(key, aad);
  const confirmOf = (isLows: boolean): Bytes =>
    mac(symmetricConfirmationKey(prk, isLows ? 'low' : 'high'), aad);
  const confirm = encodeFrame({ suite: 2, runId, body: { type: 'confirm', mac: confirmOf(isLow) } });
  const next: Confirming = {
    ...{
      kind: 'confirming',
      runId,
      terms,
      own,
      peer: undefined,
      peerDevice: undefined,
      isLow,
      hello,
      confirm,
    },
    ...{ peerHello: bytes, expected: confirmOf(!isLow), prk, repeats: 0 },
    deadline: Math.max(state.deadline, now + ANSWER_MS + GRACE_MS),
  };
  return stay(
    next,
    { kind: 'charge', runId },
    { kind: 'send', frame: confirm, device: undefined },
    notice(next, { kind: 'step', step: 2, waitingFor: 'peer-bot' }),
    ...wipe([password, share.secret, key]),
  );
}

/** The peer's CONFIRM: whoever is low shows its payload, whoever is high waits for it. */
export function* takeConfirm(env: Env, state: Confirming, { bytes, now }: Arrived): Steps<Next> {
  const body = decodeFrame(bytes)?.body;
  if (body?.type !== 'confirm' || !env.primitives.isEqual(body.mac, state.expected)) {
    return close(state, 'rejected');
  }
  const { runId, terms, own, isLow, hello, peerHello, confirm, prk } = state;
  const [mine, theirs] = [concat(hello, confirm), concat(peerHello, bytes)];
  const run = {
    ...{ runId, terms, own, peer: undefined, peerDevice: undefined, prk, view: undefined, seenKeys: [] },
    ...(isLow ? { offer: mine, reply: theirs } : { offer: theirs, reply: mine }),
    deadline: state.deadline,
  };
  if (isLow) return yield* prove({ ...run, nonce: new Uint8Array(NONCE_BYTES) }, NONE, now);
  const deadline = Math.max(state.deadline - GRACE_MS, now + ANSWER_MS);
  const next: Replied = {
    ...run,
    kind: 'replied',
    deadline,
    expected: NONE,
    wantsSession: false,
    repeats: 0,
  };
  return stay(next);
}
