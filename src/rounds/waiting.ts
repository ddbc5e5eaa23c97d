/**
 * Waiting: whom a run waits for, from its rows alone, so that it can be shown where the protocol is not loaded: what a round
 * is made of shows in our own part of it.
 */
import { confirmSlot, othersOf, remaining, slotOf, type Run } from './run.ts';

/** Indices of those that the run waits for; none once it has ended. */
export function waitingFor(run: Run): readonly number[] {
  if (run.phase === 'running') return missing(run);
  if (run.phase !== 'gathering') return [];
  return othersOf(run).filter((index) => run.peers.get(index)?.isLive !== true);
}

/** Those whose message or, where all are confirmed, whose confirmation the round in hand lacks. */
function missing(run: Run): readonly number[] {
  const { round, self, slots } = run;
  const others = remaining(run).filter((index) => index !== self);
  const isBroadcast = slots.has(slotOf(round, self, 0));
  const isPrivate = othersOf(run).some((other) => slots.has(slotOf(round, self, other)));
  const silent = others.filter(
    (index) =>
      (isBroadcast && !slots.has(slotOf(round, index, 0))) ||
      (isPrivate && !slots.has(slotOf(round, index, self))),
  );
  // We have confirmed: all of the round is there. Where a quorum is enough nothing is ever confirmed.
  if (silent.length > 0 || !slots.has(confirmSlot(round, self))) return silent;
  return others.filter((index) => !slots.has(confirmSlot(round, index)));
}
