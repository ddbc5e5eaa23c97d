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
  if (!Array.isArray(found)) return 'its blame is no array';
  const isKnown = (one: Partial<Blame> | null | undefined): boolean =>
    run.present.some(({ index }) => index === one?.party) && typeof one?.reason === 'string';
  return found.every(isKnown) ? undefined : 'it blames who does not take part';
}

/** What is due of the next round must be there, and nothing else. */
function messageFault(draft: Draft, step: AnyStep & { kind: 'next' }): string | undefined {
  const { broadcast, private: whispers } = step;
  const round = draft.run.round + 1;
  const spec = roundOf(draft.protocol, round);
  const due = spec?.private === true ? othersOf(draft.run) : [];
  const of = `of round ${String(round)}`;
  if (whispers !== undefined && !((whispers as unknown) instanceof Map))
    return `its private messages ${of} are no Map by index`;
  const others = [...(whispers?.keys() ?? [])].filter((to) => !due.includes(to));
  if (others.some((to) => typeof to !== 'number'))
    return `its private messages ${of} are under keys that are no numbers`;
  const max = spec?.maxBytes ?? MAX_BODY;
  const wrong = [
    spec?.broadcast === true ? bodyFault(broadcast, max, `broadcast ${of}`) : undefined,
    ...due.map((to) => bodyFault(whispers?.get(to), max, `private message ${of} for party ${String(to)}`)),
  ].find((fault) => fault !== undefined);
  if (wrong !== undefined) return wrong;
  const isSurplus = broadcast !== undefined && spec?.broadcast !== true;
  return isSurplus || others.length > 0
    ? `it has a message that round ${String(round)} has no place for`
    : undefined;
}

/** @param max bytes */
function bodyFault(body: unknown, max: number, what: string): string | undefined {
  if (body === undefined) return `its ${what} is missing`;
  if (!(body instanceof Uint8Array)) return `its ${what} is no Uint8Array`;
  return body.length <= max ? undefined : `its ${what} has more than ${String(max)} bytes`;
}
