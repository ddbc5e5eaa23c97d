/**
 * Frames: what comes from contacts, and from our own other devices, becomes events of runs.
 * Spec: verification brief, sections 3.1, 3.8, 4 and 5 (V-17, V-20, V-21, V-23).
 */
import {
  isAci,
  type Aci,
  type AppFields,
  type Bytes,
  type Context,
  type Host,
  type Transaction,
} from '../../../src/index.ts';
import { gateOf } from '../limits.ts';
import { hasRoom, type Ring } from '../machine/rings.ts';
import type { Arrived } from '../machine/step.ts';
import type { Runs } from './runs.ts';
import { readCounters, scanSlots } from '../rows.ts';
import { FRAME, TYPED, type TypedElsewhere } from './tags.ts';

/** A message is handled so often, then never again. */
const MAX_ATTEMPTS = 5;
/** Nor is anybody a contact whose first message came a moment ago, however it was answered. */
const KNOWN_MS = 60_000;

export function handleFrames(host: Host, runs: Runs): void {
  host.app(FRAME, (ctx) => takeFrame(host, runs, ctx));
  host.app(TYPED, (ctx) => stopRinging(host, runs, ctx));
}

async function takeFrame(host: Host, runs: Runs, ctx: Context & AppFields<Bytes>): Promise<void> {
  const { sender, toPni, identityKey, value: bytes } = ctx;
  const { serviceId: peer, deviceId: device } = sender;
  // Runs are between ACIs; with our own account there is none (sections 3.1 and 6).
  if (!isAci(peer) || toPni || peer === host.trust.own.aci) return;
  try {
    await runs.give(peer, async (tx): Promise<Arrived> => {
      const now = host.clock.now();
      const gate = await gateFor(tx, peer, now);
      return { kind: 'frame', bytes, from: { aci: peer, device }, openedUnder: identityKey, gate, now };
    });
  } catch (error) {
    if (ctx.attempt < MAX_ATTEMPTS) throw error;
    // V-17: a handler that is given up leaves the run closed.
    await runs.give(peer, () => ({ kind: 'given-up', now: host.clock.now() }));
    throw error;
  }
}

async function gateFor(tx: Transaction, peer: Aci, now: number): Promise<Arrived['gate']> {
  const counters = await readCounters(tx);
  if (counters === undefined || gateOf(counters, peer, now).kind === 'locked') return 'locked';
  const ringing: Ring[] = [];
  for await (const [other, { run }] of scanSlots(tx)) {
    if (run?.kind === 'ringing') ringing.push({ peer: other, isContact: await isContact(tx, other, now) });
  }
  return hasRoom(ringing, { peer, isContact: await isContact(tx, peer, now) }) ? 'open' : 'full';
}

/** The brief leaves open who is a stranger: who is known by nothing but what they have sent us themselves. */
async function isContact({ trust: { identities } }: Transaction, peer: Aci, now: number): Promise<boolean> {
  const { state, since = now } = await identities.get(peer);
  const isKnown = state === 'verified' || state === 'introduced' || now - since > KNOWN_MS;
  return isKnown && (await identities.isContact(peer));
}

async function stopRinging(host: Host, runs: Runs, ctx: Context & AppFields<TypedElsewhere>): Promise<void> {
  const { peer, runId } = ctx.value;
  if (ctx.sender.serviceId !== host.trust.own.aci) return;
  await runs.give(peer, () => ({ kind: 'typed-elsewhere', runId, now: host.clock.now() }));
}
