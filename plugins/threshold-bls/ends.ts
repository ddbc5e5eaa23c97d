/**
 * Ends: how one of several ceremonies for the same end is waited for.
 */
import { BotError, type Act } from '../../src/index.ts';
import type { CeremonyView, Rounds } from '../../src/rounds/index.ts';

export interface Ended {
  readonly topic: string;
  readonly output: unknown;
}

/**
 * The first that is done, with its output; the others are ended then.
 * @param heldMs how long the others are waited for once this party holds its share
 * @throws BotError `CEREMONY_ENDED`; `CEREMONY_UNCONFIRMED` when this party has its share and not all have confirmed that they
 *   have theirs; the signal's reason: then all stay as they are
 */
export async function firstDone(
  ceremonies: Rounds,
  topics: readonly string[],
  call: Parameters<Act>[0],
  heldMs: number,
): Promise<Ended> {
  const stop = new AbortController();
  const signal = AbortSignal.any([call.signal, stop.signal]);
  const ends = topics.map(async (topic) => {
    call.tell({ step: 'waiting', ceremony: topic });
    const view = await ceremonies.ended(topic, signal, heldMs);
    for (const { party, reason } of view.blame) call.tell({ step: 'blamed', party, reason });
    if (view.state !== 'done') throw failure(view);
    return { topic, output: view.output };
  });
  // In the order of time: what ends the last of them is why nothing comes of it.
  const errors: unknown[] = [];
  for (const end of ends) end.catch((error: unknown) => errors.push(error));
  try {
    const { topic, output } = await Promise.any(ends);
    for (const other of topics)
      if (other !== topic) await ceremonies.abort(other, 'it was done with another share', false);
    return { topic, output };
  } catch (error) {
    call.signal.throwIfAborted();
    throw errors.findLast((reason) => reason instanceof BotError) ?? error;
  } finally {
    stop.abort();
  }
}

function failure({ state, self, end, blame, waitingFor }: CeremonyView): BotError {
  if (state === 'running') {
    const names = waitingFor.map(({ index }) => String(index)).join(', ');
    return new BotError(
      'CEREMONY_UNCONFIRMED',
      `this party has its share, and party ${names} has not confirmed that it has its own`,
    );
  }
  const names = blame.map(({ party, reason }) => `party ${String(party)} ${reason}`).join('; ');
  const message = `the ceremony has ended: ${end?.reason ?? 'without a reason'}${names && ` (${names})`}`;
  if (end === undefined || end.by === self || blame.length > 0)
    return new BotError('CEREMONY_ENDED', message);
  const next = `See what has ended it, and start it again at every party, first at party ${String(end.by)}, where it was ended.`;
  return new BotError('CEREMONY_ENDED', message, { next });
}
