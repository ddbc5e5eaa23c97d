/**
 * Misstep: what is wrong with a step that a protocol gives. Its types do not keep a plugin in JavaScript from anything, and
 * what would be dropped in silence leaves the other parties waiting for it. Such a step ends the ceremony at once, with a
 * reason that tells nothing of the protocol's state.
 */
import type { Blame, Step } from './protocol.ts';
import { isPartial, MAX_BODY, othersOf, roundOf, type Draft } from './run.ts';

type AnyStep = Step<unknown, unknown>;

/** What is wrong; undefined: nothing. */
export function misstepOf(draft: Draft, step: AnyStep): string | undefined {
  const { run, protocol } = draft;
  if (!isStep(step)) return 'it gave no step';
  const wrong = blameFault(draft, step.blame);
  if (wrong !== undefined) return wrong;
  const isLast = run.round >= protocol.rounds.length;
  switch (step.kind) {
    case 'next':
      return isLast ? 'it goes on behind its last round' : messageFault(draft, step);
    case 'done':
      return isLast ? undefined : 'it is done before its last round';
    case 'wait':
      // Who names somebody waits for the others, and it is not the protocol's fault when there are too few.
      return isPartial(draft) || (step.blame ?? []).length > 0
        ? undefined
        : 'it waits though nothing more can come';
    case 'abort':
      return typeof step.reason === 'string' ? undefined : 'it ends without a reason';
  }
}

/** A promise of one is none: a step is made within one commit. */
function isStep(step: unknown): boolean {
  const kind = typeof step === 'object' && step !== null && 'kind' in step ? step.kind : undefined;
  return kind === 'next' || kind === 'wait' || kind === 'done' || kind === 'abort';
}

function blameFault({ run }: Draft, found: readonly Blame[] = []): string | undefined {
  const isKnown = ({ party, reason }: Blame): boolean =>
    run.present.some(({ index }) => index === party) && typeof reason === 'string';
  return found.every(isKnown) ? undefined : 'it blames who does not take part';
}

/** What is due of the next round must be there, and nothing else. */
function messageFault(draft: Draft, step: AnyStep & { kind: 'next' }): string | undefined {
  const round = draft.run.round + 1;
  const spec = roundOf(draft.protocol, round);
  const due = spec?.private === true ? othersOf(draft.run) : [];
  const bodies = [
    ...(spec?.broadcast === true ? [step.broadcast] : []),
    ...due.map((to) => step.private?.get(to)),
  ];
  const isRight = (body: unknown): boolean =>
    body instanceof Uint8Array && body.length <= (spec?.maxBytes ?? MAX_BODY);
  if (!bodies.every(isRight)) return `its message of round ${String(round)} is missing or too large`;
  const isSurplus = step.broadcast !== undefined && spec?.broadcast !== true;
  const others = [...(step.private?.keys() ?? [])].filter((to) => !due.includes(to));
  return isSurplus || others.length > 0
    ? `it has a message that round ${String(round)} has no place for`
    : undefined;
}
