/**
 * Rows of the plugin.
 *
 *   volatile  run/ACI           the slot of this contact (machine/row.ts). In no backup: a revived run would take another
 *                               guess at the same code (V-16)
 *   state     counters          guesses (V-24)
 *             local-key         32 random bytes, for the hashes of typed codes (V-21)
 *             introducible/ACI  present where the contact agrees to be introduced (V-36)
 */
import { BotError, type Aci, type Bytes, type Random, type State } from '../../src/index.ts';
import { decodeCounters, encodeCounters } from './counters-row.ts';
import { NO_COUNTERS, type Counters } from './limits.ts';
import { decodeSlot, encodeSlot } from './machine/row.ts';
import { EMPTY_SLOT, type Slot } from './machine/slot.ts';
import { secretsOf } from './machine/state.ts';

const RUN = 'run/';
const COUNTERS = 'counters';
const LOCAL_KEY = 'local-key';
const KEY_BYTES = 32;

/** What a transaction has, and a context. */
export interface Rows {
  readonly state: State;
  readonly volatile: State;
}

/** A row that this version cannot read is burned: a run is over sooner than guessed at. See `overwrite`. */
export async function readSlot({ volatile }: Rows, peer: Aci): Promise<Slot> {
  const row = await volatile.get(RUN + peer);
  return (row && decodeSlot(row)) ?? EMPTY_SLOT;
}

export function writeSlot({ volatile }: Rows, peer: Aci, slot: Slot): void {
  if (slot.run === undefined && slot.tail === undefined) volatile.delete(RUN + peer);
  else volatile.put(RUN + peer, encodeSlot(slot));
}

/** As this call sees them; guards nothing. What is secret in a slot is gone when the next one is asked for. */
export async function* scanSlots({ volatile }: Rows): AsyncIterable<readonly [Aci, Slot]> {
  for await (const [key, row] of volatile.scan(RUN)) {
    const slot = decodeSlot(row) ?? EMPTY_SLOT;
    try {
      yield [key.slice(RUN.length) as Aci, slot];
    } finally {
      overwrite(slot);
    }
  }
}

/** Overwrites the secrets of a slot that was read or is written: the row has them (V-16). */
export function overwrite({ run }: Slot): void {
  if (run !== undefined) for (const secret of secretsOf(run)) secret.fill(0);
}

/** @returns undefined when the row cannot be read: then no run starts until the operator unlocks */
export async function readCounters({ state }: Rows): Promise<Counters | undefined> {
  const row = await state.get(COUNTERS);
  return row === undefined ? NO_COUNTERS : decodeCounters(row);
}

/**
 * Changes the counters, in the batch of the transition that this belongs to.
 * @throws BotError `STORE_DAMAGED` when the row cannot be read: nothing is charged to nobody
 */
export async function changeCounters(rows: Rows, change: (counters: Counters) => Counters): Promise<void> {
  const before = await readCounters(rows);
  if (before === undefined)
    throw new BotError('STORE_DAMAGED', 'the record of guesses cannot be read', {
      next: 'Look into it, then start over with countersign verify unlock.',
    });
  const after = change(before);
  if (after !== before) putCounters(rows, after);
}

export function putCounters({ state }: Rows, counters: Counters): void {
  state.put(COUNTERS, encodeCounters(counters));
}

export async function localKey({ state }: Rows, random: Random): Promise<Bytes> {
  const known = await state.get(LOCAL_KEY);
  if (known !== undefined) return known;
  const fresh = random.bytes(KEY_BYTES);
  state.put(LOCAL_KEY, fresh);
  return fresh;
}

export function noteIntroducible({ state }: Rows, peer: Aci, mayBe: boolean): void {
  if (mayBe) state.put(`introducible/${peer}`, new Uint8Array([1]));
  else state.delete(`introducible/${peer}`);
}
