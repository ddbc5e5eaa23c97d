/**
 * Journal: the runs of a plugin in its `volatile` rows, so that no backup has one, and what of them is not secret in
 * `state`, so that after a restore it can be said which ceremonies are dead.
 *
 *   volatile  rounds/run/TOPIC       the head          rounds/slot/TOPIC/KEY  a slot
 *   state     rounds/open/TOPIC      the head, while the run is open           rounds/restored  the last restore seen
 */
import { equal, fromUtf8, toHex, toUtf8, type Bytes } from '../bytes.ts';
import type { State, Transaction } from '../context.ts';
import type { Policy } from '../store/identity-row.ts';
import { ROUNDS } from './entry.ts';
import { encodeFrame, isPrivate, type Frame } from './frame.ts';
import type { Identified } from './party-set.ts';
import { changesOf, decodeRun, encodeHead } from './run-row.ts';
import { isOpen, type Run, type Sending } from './run.ts';

const RUN = 'rounds/run/';
const SLOT = 'rounds/slot/';
const OPEN = 'rounds/open/';
const ON_ITS_WAY = 'w/';
const RESTORED = 'rounds/restored';
const NO_SLOTS = new Map<string, never>();

/** @throws BotError `STORE_DAMAGED` */
export async function loadRun({ volatile }: Transaction, topic: string): Promise<Run | undefined> {
  const head = await volatile.get(RUN + topic);
  if (head === undefined) return undefined;
  const start = `${SLOT}${topic}/`;
  const slots = new Map<string, Bytes>();
  for await (const [key, value] of volatile.scan(start)) slots.set(key.slice(start.length), value);
  return decodeRun(head, slots);
}

/** Whether this very ceremony is open. @param id hex */
export async function isUnderWay(
  { volatile }: Pick<Transaction, 'volatile'>,
  topic: string,
  id: string,
): Promise<boolean> {
  const head = await volatile.get(RUN + topic);
  if (head === undefined) return false;
  const run = decodeRun(head, NO_SLOTS);
  return isOpen(run.phase) && toHex(run.id) === id;
}

/**
 * Stages what has changed. The head is written each time, since reading it is what guards a run; what is kept for a restore
 * only where the ceremony has another id than before, by which the others know what is over.
 */
export function saveRun({ state, volatile }: Transaction, before: Run | undefined, after: Run): void {
  const { topic, phase, id } = after;
  const head = encodeHead(after);
  volatile.put(RUN + topic, head);
  for (const [key, value] of changesOf(before, after)) {
    if (value === undefined) volatile.delete(`${SLOT}${topic}/${key}`);
    else volatile.put(`${SLOT}${topic}/${key}`, value);
  }
  if (!isOpen(phase)) state.delete(OPEN + topic);
  else if (before?.phase !== phase || !equal(before.id, id)) state.put(OPEN + topic, head);
}

/**
 * Leaves what the run sends to go out with it. Private messages are not kept once they are sent, and those that are not sent
 * yet are taken back when their round is over: by then they are confirmed, or the ceremony has ended.
 * @param run with the slots as they are saved: which private messages are on their way is noted there
 * Slot: w/ROUND/TO, the timestamp of the latest copy as text; one that was not sent yet is taken back for it.
 */
export function sendAll(
  tx: Transaction,
  run: Run,
  slots: Map<string, Bytes>,
  send: readonly Sending[],
  policy: Policy,
): void {
  const current = isOpen(run.phase) ? `${ON_ITS_WAY}${String(run.round)}/` : 'none';
  const takeBack = (key: string, { aci }: Identified): void => {
    const timestamp = slots.get(key);
    if (timestamp !== undefined) tx.withdraw(aci, Number(toUtf8(timestamp)));
    slots.delete(key);
  };
  for (const key of [...slots.keys()].filter((name) => name.startsWith(ON_ITS_WAY))) {
    const party = run.proposal.parties[Number(key.split('/')[2]) - 1];
    if (!key.startsWith(current) && party !== undefined) takeBack(key, party);
  }
  for (const { to, payload } of send) {
    const party = run.proposal.parties[to - 1];
    if (party === undefined) continue;
    const logged = !isPrivate(payload);
    const key = current + String(to);
    if (!logged) takeBack(key, party);
    const options = { devices: [party.deviceId], policy, logged };
    const timestamp = tx.send(party.aci, { tag: ROUNDS.tag, payload }, options);
    if (!logged) slots.set(key, fromUtf8(String(timestamp)));
  }
}

/** Leaves a frame that is of no run here. */
export function sendOne(tx: Transaction, { aci, deviceId }: Identified, frame: Frame, policy: Policy): void {
  const payload = encodeFrame(frame);
  tx.send(aci, { tag: ROUNDS.tag, payload }, { devices: [deviceId], policy, logged: true });
}

/** Forgets a run. */
export function deleteRun({ state, volatile }: Transaction, run: Run): void {
  state.delete(OPEN + run.topic);
  volatile.delete(RUN + run.topic);
  for (const key of run.slots.keys()) volatile.delete(`${SLOT}${run.topic}/${key}`);
}

/** All runs, without their slots. */
export async function listRuns({ volatile }: Transaction): Promise<readonly Run[]> {
  return headsIn(volatile, RUN);
}

/**
 * What was open in the store that a backup was made of, as far as it is not marked yet: to be ended, since the old
 * process may have gone on, and drawing again would be telling two tales.
 */
export async function takeRestored(tx: Transaction, restoredAt: number | undefined): Promise<readonly Run[]> {
  const { state } = tx;
  if ((await state.getJson(RESTORED)) === restoredAt) return [];
  state.putJson(RESTORED, restoredAt);
  const dead = await headsIn(state, OPEN);
  for (const { topic } of dead) state.delete(OPEN + topic);
  return dead;
}

async function headsIn(rows: State, prefix: string): Promise<readonly Run[]> {
  const found: Run[] = [];
  for await (const [, head] of rows.scan(prefix)) found.push(decodeRun(head, NO_SLOTS));
  return found;
}
