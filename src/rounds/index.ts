/**
 * Rounds: ceremonies of several bots after a round-based protocol (multi-party computation, threshold signatures).
 */
export { end, open, take, tick, wakeAt, type Opening } from './ceremony.ts';
export { isUnderWay } from './journal.ts';
export { waitingFor } from './waiting.ts';
export { decodeFrame, encodeFrame, type Frame } from './frame.ts';
export {
  encodeParties,
  indicesOf,
  isParty,
  MAX_PARTIES,
  parseGroup,
  partySet,
  sameParties,
  type Identified,
  type PartySet,
  type RoundsParty,
} from './party-set.ts';
export { ceremonyId, topicOf, type Proposal } from './proposal.ts';
export type { Blame, Protocol, Received, Round, RoundMessages, Setting, Shown, Step } from './protocol.ts';
export type { Codec } from '../router.ts';
export type { End, Phase, Result, Run, Sending, Tools } from './run.ts';
export { ROUNDS, type Ended, type Entry, type Invitation, type OpenRequest, type RoundsHost, type RoundsOptions } from './entry.ts'; // prettier-ignore
export { Rounds, rounds } from './runtime.ts';
export type { CeremonyView } from './view.ts';
