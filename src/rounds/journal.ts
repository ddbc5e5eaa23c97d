/**
 * Journal: the runs of a plugin in its `volatile` rows, so that no backup has one, and what of them is not secret in
 * `state`, so that after a restore it can be said which ceremonies are dead.
 *
 *   volatile  rounds/run/TOPIC       the head          rounds/slot/TOPIC/KEY  a slot
 *   state     rounds/open/TOPIC      the head, while the run is open           rounds/restored  the last restore seen
 */
import type { Bytes } from '../bytes.ts';
import type { State, Transaction } from '../context.ts';
import { changesOf, decodeRun, encodeHead } from './run-row.ts';
import { isOpen, type Run } from './run.ts';

const RUN = 'rounds/run/';
const SLOT = 'rounds/slot/';
const OPEN = 'rounds/open/';
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

/** Stages what has changed. The head is written each time, since reading it is what guards a run. */
export function saveRun({ state, volatile }: Transaction, before: Run | undefined, after: Run): void {
  const { topic, phase } = after;
  const head = encodeHead(after);
  volatile.put(RUN + topic, head);
  for (const [key, value] of changesOf(before, after)) {
    if (value === undefined) volatile.delete(`${SLOT}${topic}/${key}`);
    else volatile.put(`${SLOT}${topic}/${key}`, value);
  }
  if (!isOpen(phase)) state.delete(OPEN + topic);
  else if (before?.phase !== phase) state.put(OPEN + topic, head);
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
