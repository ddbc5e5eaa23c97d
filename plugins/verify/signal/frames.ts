/**
 * Frames: what comes from contacts, and from our own other devices, becomes events of runs.
 * Spec: verification brief, sections 3.1, 3.8, 4 and 5 (V-17, V-20, V-21, V-23).
 */
import {
  isAci,
  type Aci,
  type Acquaintance,
  type AppFields,
  type Bytes,
  type Context,
  type Host,
  type Transaction,
} from '../../../src/index.ts';
import { gateOf } from '../limits.ts';
import { hasRoom, type Ring } from '../machine/rings.ts';
import type { Arrived } from '../machine/step.ts';
import { decodeHeader } from '../messages/frame.ts';
import { Pace } from './pace.ts';
import type { Runs } from './runs.ts';
import { readCounters, scanSlots } from '../rows.ts';
import { FRAME, TYPED, type TypedElsewhere } from './tags.ts';

/** A message is handled so often, then never again. */
const MAX_ATTEMPTS = 5;
/** Whose first message came a moment ago is a stranger, however it was answered. */
const KNOWN_MS = 60_000;

export function handleFrames(host: Host, runs: Runs): void {
  const answers = new Pace();
  host.app(FRAME, (ctx) => takeFrame(host, runs, answers, ctx));
  host.app(TYPED, (ctx) => stopRinging(host, runs, ctx));
}

async function takeFrame(
  host: Host,
  runs: Runs,
  answers: Pace,
  ctx: Context & AppFields<Bytes>,
): Promise<void> {
  const { sender, toPni, identityKey, value: bytes } = ctx;
  const { serviceId: peer, deviceId: device } = sender;
  // Runs are between ACIs; with our own account there is none (sections 3.1 and 6).
  if (!isAci(peer) || toPni || peer === host.trust.own.aci) return;
  const type = decodeHeader(bytes)?.type;
  let about = { name: peer, isKnown: false };
  try {
    const step = await runs.give(peer, async (tx): Promise<Arrived> => {
      const now = host.clock.now();
      const gate = await gateFor(tx, runs, peer, now);
      about = { name: peer, isKnown: await runs.isKnown(tx, peer) };
      const isMuted = !answers.isDue(about, now);
      const from = { aci: peer, device };
      const verifiers = type === 'abort' ? await tx.trust.sessions.devicesWith(peer, FRAME.tag) : [];
      return { kind: 'frame', bytes, from, openedUnder: identityKey, gate, isMuted, verifiers, now };
    });
    const isAnswer = step?.effects.some(({ kind }) => kind === 'send') === true;
    if (isAnswer && type === 'offer') answers.note(about, host.clock.now());
  } catch (error) {
    if (ctx.attempt < MAX_ATTEMPTS) throw error;
    // V-17: a handler that is given up leaves the run closed.
    await runs.give(peer, () => ({ kind: 'given-up', now: host.clock.now() }));
    throw error;
  }
}

async function gateFor(tx: Transaction, runs: Runs, peer: Aci, now: number): Promise<Arrived['gate']> {
  const counters = await readCounters(tx);
  if (counters === undefined || gateOf(counters, peer, now).kind === 'locked') return 'locked';
  // Whom the operator waits for need not ring among the others: so no crowd can keep anybody from being verified.
  if (runs.isAwaited(peer)) return 'open';
  const ringing: Ring[] = [];
  for await (const [other, { run }] of scanSlots(tx)) {
    if (run?.kind === 'ringing') ringing.push(await ringOf(tx, other, now));
  }
  return hasRoom(ringing, await ringOf(tx, peer, now)) ? 'open' : 'full';
}

async function ringOf({ trust: { identities } }: Transaction, peer: Aci, now: number): Promise<Ring> {
  const acquaintance: Acquaintance = await identities.acquaintance(peer);
  if (acquaintance !== 'answered') return { peer, acquaintance };
  const { since = now } = await identities.get(peer);
  return { peer, acquaintance: now - since > KNOWN_MS ? 'answered' : 'stranger' };
}

async function stopRinging(host: Host, runs: Runs, ctx: Context & AppFields<TypedElsewhere>): Promise<void> {
  const { peer, runId } = ctx.value;
  if (ctx.sender.serviceId !== host.trust.own.aci) return;
  await runs.give(peer, () => ({ kind: 'typed-elsewhere', runId, now: host.clock.now() }));
}
