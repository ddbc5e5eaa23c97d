/**
 * Status: runs under way and guesses, as the operator is shown them, and the operator's word that unlocks (V-24).
 */
import { BotError, isAci, type Aci, type ActCall, type Exposure, type Host } from '../../../src/index.ts';
import { failuresInARow, gateOf, NO_COUNTERS, unlock, type CounterKey } from '../limits.ts';
import type { Slot } from '../machine/slot.ts';
import { deadlineOf } from '../machine/slot.ts';
import type { RunState } from '../machine/state.ts';
import { putCounters, readCounters, scanSlots } from '../rows.ts';

export interface StatusLine {
  readonly aci: Aci;
  readonly state: RunState['kind'];
  /** Why it is closed. */
  readonly reason: string | null;
  /** ms */
  readonly until: number | null;
  /** The other side has said that it has verified us; null where there is nothing to say yet. */
  readonly acknowledged: boolean | null;
  /** Six digits that the other operator sees too (V-25), once the run has succeeded here. */
  readonly check: string | null;
}

export interface GuessLine {
  readonly aci: string;
  readonly inARow: number;
  /** ms each */
  readonly times: readonly number[];
  readonly locked: boolean;
  /** ms; null: until it is unlocked. */
  readonly lockedUntil: number | null;
}

export interface ExposedLine extends Exposure {
  readonly aci: Aci;
}

export interface VerifyStatus {
  readonly runs: readonly StatusLine[];
  /** What somebody between us and a contact may have read, before a run has proven it. */
  readonly exposed: readonly ExposedLine[];
  readonly guesses: readonly GuessLine[];
}

export function statusOf(host: Host, { contact }: ActCall): Promise<VerifyStatus> {
  return host.update(async (tx) => {
    const runs: StatusLine[] = [];
    for await (const [aci, slot] of scanSlots(tx)) {
      if (contact === undefined || aci === contact) runs.push(...linesOf(aci, slot));
    }
    const exposed: ExposedLine[] = [];
    for await (const [aci, exposure] of tx.trust.outbox.allExposed()) {
      if (contact === undefined || aci === contact) exposed.push({ aci, ...exposure });
    }
    const counters = await readCounters(tx);
    if (counters === undefined) throw new BotError('STORE_DAMAGED', 'the record of guesses cannot be read');
    const now = host.clock.now();
    const peers = [...new Set([...counters.charges, ...counters.inARow].map(({ peer }) => peer))];
    const guesses = peers
      .filter((peer) => contact === undefined || peer === contact)
      .map((peer) => {
        const gate = gateOf(counters, peer, now);
        const times = counters.charges.filter((entry) => entry.peer === peer).map(({ time }) => time);
        return {
          ...{ aci: peer, inARow: failuresInARow(counters, peer), times, locked: gate.kind === 'locked' },
          lockedUntil: gate.kind === 'locked' ? (gate.until ?? null) : null,
        };
      });
    return { runs, exposed, guesses };
  });
}

/** A record that cannot be read is begun anew: the operator has looked into it. */
export function unlockOf(host: Host, { contact, input }: ActCall): Promise<{ unlocked: CounterKey }> {
  const named = contact !== undefined && isAci(contact) ? contact : undefined;
  const peer = input['bare'] === true ? 'bare' : named;
  if (peer === undefined) throw new BotError('USAGE', 'whose codes are to be taken again?');
  return host.update(async (tx) => {
    const counters = await readCounters(tx);
    putCounters(tx, counters === undefined ? NO_COUNTERS : unlock(counters, peer));
    return { unlocked: peer };
  });
}

function linesOf(aci: Aci, { run, tail }: Slot): readonly StatusLine[] {
  return [run, tail].flatMap((state) => {
    if (state === undefined) return [];
    const until = deadlineOf({ run: state, tail: undefined }) ?? null;
    const reason = state.kind === 'closed' ? state.reason : null;
    const check = 'party' in state ? (state.party.check ?? null) : null;
    return [{ aci, state: state.kind, reason, until, acknowledged: acknowledgedOf(state), check }];
  });
}

function acknowledgedOf(state: RunState): boolean | null {
  if (state.kind === 'finished') return state.isAcknowledged;
  if (state.kind === 'verified') return true;
  return state.kind === 'accepted' ? false : null;
}
