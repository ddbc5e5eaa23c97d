/**
 * View: a ceremony as its operator sees it. Nothing in it is secret but, where nobody else takes it, the output.
 */
import type { Aci } from '../address.ts';
import { toHex } from '../bytes.ts';
import type { Blame, Protocol } from './protocol.ts';
import { HELD, type End, type Phase, type Run } from './run.ts';

export interface CeremonyView {
  /** 32 bytes, hex: names it here. */
  readonly topic: string;
  /** 32 bytes, hex; undefined until all are there. */
  readonly id: string | undefined;
  readonly protocol: string;
  readonly state: Phase;
  /** 0 until all are there. */
  readonly round: number;
  readonly rounds: number;
  /** Our index. */
  readonly self: number;
  readonly waitingFor: readonly { readonly index: number; readonly aci: Aci }[];
  /** ms: of the stage in hand; once it has ended, until when it is kept. */
  readonly deadlineAt: number;
  /** It has its output and waits for the others to confirm that they have theirs (`Protocol.isHeld`). */
  readonly isHeld: boolean;
  readonly blame: readonly Blame[];
  readonly end: End | undefined;
  readonly output: unknown;
}

export function viewOf(
  run: Run,
  protocol: Protocol | undefined,
  waitingFor: readonly number[],
): CeremonyView {
  const { topic, proposal, phase, round, self, deadlineAt, blame, end } = run;
  const output = run.slots.get('output');
  return {
    topic,
    id: run.id.length === 0 ? undefined : toHex(run.id),
    protocol: `${proposal.protocol}/${String(proposal.version)}`,
    state: phase,
    round,
    rounds: protocol?.rounds.length ?? 0,
    self,
    waitingFor: proposal.parties
      .filter(({ index }) => waitingFor.includes(index))
      .map(({ index, aci }) => ({ index, aci })),
    deadlineAt,
    isHeld: run.slots.has(HELD),
    blame,
    end,
    output: output === undefined ? undefined : protocol?.output.decode(output),
  };
}
