/**
 * Carrying out: what a step has given, on the transaction of that step: the slot, trust and sessions, counters and
 * outgoing frames, all of it or nothing (V-15, V-17, V-22).
 * Spec: verification brief, sections 3.1, 8 and 9.
 */
import {
  isBotError,
  type Aci,
  type Log,
  type OwnKey,
  type Random,
  type Transaction,
} from '../../../src/index.ts';
import { charge, hashCode, refund, rememberTyped } from '../limits.ts';
import { isBusy, type Slot, type SlotStep } from '../machine/slot.ts';
import type { Effect, Event, Trusted } from '../machine/step.ts';
import { decodeFrame } from '../messages/frame.ts';
import { isSame } from '../messages/wire.ts';
import { noteProven, setAside } from '../opener.ts';
import { changeCounters, localKey, noteIntroducible, writeSlot } from '../rows.ts';
import { FRAME, TYPED } from './tags.ts';

/**
 * `state` has a row for each contact for whom messages wait until DONE. A backup keeps that they wait, and not the run that
 * would end it: at the start both are compared.
 */
const WAITING = 'waiting/';

export async function* waitingPeers({ state }: Transaction): AsyncIterable<Aci> {
  for await (const [key] of state.scan(WAITING)) yield key.slice(WAITING.length) as Aci;
}

export interface Step extends SlotStep {
  readonly peer: Aci;
  /** The slot before. */
  readonly before: Slot;
  readonly event: Event['kind'];
  /** The code that this step charges for, normalised. */
  readonly typed: string | undefined;
  /** Whether people here knew the peer before it. */
  readonly isKnown: boolean;
  /** ms */
  readonly now: number;
}

export interface CarryOutParts {
  readonly own: OwnKey;
  readonly random: Random;
  readonly log: Log;
}

export async function carryOut(parts: CarryOutParts, tx: Transaction, step: Step): Promise<void> {
  const { peer, slot, effects, before } = step;
  for (const effect of effects) await carryOutOne(parts, tx, step, effect);
  // A row that could not be read is burned at the start, and nobody knows what it was waiting for.
  const isBurned = step.event === 'restart' && before.run === undefined;
  if ((isBurned || isWaiting(before)) && !isWaiting(slot)) {
    tx.state.delete(WAITING + peer);
    await tx.trust.outbox.release(peer);
  }
  writeSlot(tx, peer, isWorthKeeping(step) ? slot : { run: undefined, tail: slot.tail });
  if ((isBurned || isBusy(before)) && !isBusy(slot)) await tx.trust.sessions.carrier(peer).end();
}

async function carryOutOne(parts: CarryOutParts, tx: Transaction, step: Step, effect: Effect): Promise<void> {
  const { peer, typed, now } = step;
  switch (effect.kind) {
    case 'send': {
      const carrier = await goesByCarrier(tx, step, effect);
      const devices = effect.device === undefined ? [] : [effect.device];
      tx.send(peer, FRAME.of(effect.frame), { carrier, devices });
      return;
    }
    case 'charge': {
      const { runId } = effect;
      const key = await localKey(tx, parts.random);
      await changeCounters(tx, (counters) => {
        const charged = charge(counters, { peer, runId, time: now });
        return typed === undefined ? charged : rememberTyped(charged, hashCode(key, typed), now);
      });
      return;
    }
    case 'refund': {
      const { runId } = effect;
      await changeCounters(tx, (counters) => refund(counters, runId));
      return;
    }
    case 'tell-siblings': {
      if (step.slot.run?.kind !== 'replied') return;
      tx.send('self', TYPED.of({ peer, runId: step.slot.run.runId }));
      return;
    }
    case 'trusted':
      await trust(parts, tx, effect.trusted);
      return;
    case 'contradicted':
      await tx.trust.identities.pin(effect.aci, effect.identityKey, effect.proof);
      return;
    case 'drop-session':
      await tx.trust.sessions.dropUnanswered({ serviceId: effect.aci, deviceId: effect.device });
      return;
    case 'continue':
    case 'over':
    case 'wipe':
    case 'notice':
      return; // after the commit, or of the slot as a whole
  }
}

/** Profile 1 heals without a new session: the next one is fetched, and opened under the pin. */
function isHealedHere({ heals, hasOpened }: Trusted): boolean {
  return heals && !hasOpened;
}

async function trust({ log }: CarryOutParts, tx: Transaction, trusted: Trusted): Promise<void> {
  const { aci, role, heals, hasOpened, mayBeIntroduced, pni } = trusted;
  if (isHealedHere(trusted)) await setAside(tx, { party: trusted, found: trusted.found });
  await noteProven(tx, trusted);
  // V-27: until DONE nothing else goes in the session, and A takes it in with ACCEPT alone.
  if (hasOpened && role === 'B') {
    await tx.trust.outbox.hold(aci, 'DEVICES_UNSETTLED');
    tx.state.put(WAITING + aci, new Uint8Array([1]));
  }
  if (heals) await tx.trust.sessions.rotateSenderKeys();
  noteIntroducible(tx, aci, mayBeIntroduced);
  if (pni === undefined) return;
  try {
    await tx.trust.identities.bindPni(aci, pni);
  } catch (error) {
    if (!isBotError(error, 'CONTENT_INVALID')) throw error;
    log.warn(
      { contact: aci },
      'the phone number identity of a verified contact does not hold, and is not used',
    );
  }
}

/**
 * B's REPLY and ACCEPT have to be opened by an A that knows nothing of the new session yet, and so has a DONE for which
 * there is no new session, however often it is asked for. But once A itself has used an ordinary session, it has that one,
 * and, restored, none of the carrier's. What goes to a contact in `changed` goes by the carrier anyway, and all else
 * does not.
 */
async function goesByCarrier(
  { trust: { sessions, identities } }: Transaction,
  { peer, before: { run } }: Step,
  { frame, device }: Extract<Effect, { kind: 'send' }>,
): Promise<boolean> {
  const body = decodeFrame(frame)?.body;
  const isBare = body?.type === 'done' && body.kind === 'mac';
  const may = body?.type === 'reply' || body?.type === 'accept' || isBare;
  if (!may || !(await sessions.carrier(peer).exists())) return false;
  if (device === undefined || run === undefined || !('seenKeys' in run)) return true;
  const { pin } = await identities.get(peer);
  const isUnderPin = run.seenKeys.every((key) => pin !== undefined && isSame(key, pin));
  return !isUnderPin || !(await sessions.isAnswered({ serviceId: peer, deviceId: device }));
}

/** Whether B has opened a session that A has not answered in. */
function isWaiting({ run, tail }: Slot): boolean {
  return [run, tail].some((state) => state?.kind === 'accepted' && state.hasOpened);
}

/** A ring that nobody has answered leaves nothing: strangers could fill the store with them. */
function isWorthKeeping({ before, slot: { run } }: Step): boolean {
  return run?.kind !== 'closed' || (before.run !== undefined && before.run.kind !== 'ringing');
}
