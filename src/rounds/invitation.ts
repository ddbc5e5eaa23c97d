/**
 * Invitation: a greeting that proposes what nobody here has opened, or what has ended here before.
 */
import { equal } from '../bytes.ts';
import { isBotError } from '../errors.ts';
import type { Frame, FrameOf } from './frame.ts';
import { decodeProposal, topicOf, type Proposal } from './proposal.ts';
import { isOpen, type Run } from './run.ts';

export interface Invited {
  readonly hello: FrameOf<'hello'>;
  readonly proposal: Proposal;
}

/** What a frame proposes, where it is for one of our protocols. @param versions of them, by name */
export function invitedBy(
  frame: Frame,
  versions: { get(protocol: string): number | undefined },
): Invited | undefined {
  if (frame.kind !== 'hello' || frame.proposal.length === 0) return undefined;
  try {
    const proposal = decodeProposal(frame.proposal);
    const isOurs = versions.get(proposal.protocol) === proposal.version;
    return isOurs && topicOf(proposal) === frame.topic ? { hello: frame, proposal } : undefined;
  } catch (error) {
    if (isBotError(error)) return undefined; // whoever wrote this would not write it better at another attempt
    throw error;
  }
}

/**
 * A proposal that was carried out, or given up, is made anew: its greeting bears a nonce that was not seen before. Where our
 * operator wants none of it there is no other attempt, and the run itself says so.
 */
export function isNewAttempt(run: Run, from: number, frame: Frame): boolean {
  if (
    isOpen(run.phase) ||
    run.end?.isRefused === true ||
    frame.kind !== 'hello' ||
    frame.proposal.length === 0
  )
    return false;
  const known = run.peers.get(from);
  return known === undefined || !equal(known.nonce, frame.nonce);
}
