/**
 * Rewriting: a party that says something else than its protocol makes, and means it. What it says is changed before the
 * runtime signs it, so it is a message like any other: all recipients of a broadcast get the same, and all confirm it.
 */
import { own } from '../bytes.ts';
import type { Protocol, Setting, Shown, Step } from '../rounds/protocol.ts';

/** A message of a round: `recipient` 0 is all of them. */
export type Said = Omit<Shown, 'signature'>;

/** The body that is sent instead; that of `said` where nothing is to be changed. Asked again where a step is made again. */
export type Rewrite = (said: Said) => Uint8Array;

export function rewriting<Params, Input, State, Output>(
  protocol: Protocol<Params, Input, State, Output>,
  rewrite: Rewrite,
): Protocol<Params, Input, State, Output> {
  const changed = ({ self, round }: Setting<Params>, step: Step<State, Output>): Step<State, Output> => {
    if (step.kind !== 'next') return step;
    const { broadcast, private: letters } = step;
    const body = (recipient: number, said: Uint8Array): ReturnType<typeof own> =>
      own(rewrite({ round, sender: self, recipient, body: own(said) }));
    return {
      ...step,
      ...(broadcast && { broadcast: body(0, broadcast) }),
      ...(letters && { private: new Map([...letters].map(([to, said]) => [to, body(to, said)])) }),
    };
  };
  const start: (typeof protocol)['start'] = (setting, input) =>
    changed(setting, protocol.start(setting, input));
  const step: (typeof protocol)['step'] = (setting, state, messages) =>
    changed(setting, protocol.step(setting, state, messages));
  // Whatever else the protocol has stays its own, also where it is an object of a class.
  return Object.create(protocol, { start: { value: start }, step: { value: step } }) as typeof protocol;
}
