/**
 * Mismatch: a party proposes to sign, or to refresh, with a share that does not go with ours: one of us was restored from a
 * backup of before a refresh. The two would wait for each other in different ceremonies, so each is told at once. Of the
 * other's share nothing is known but what it says, and it may lie to have an honest operator restore a backup.
 */
import { sameParties, type Invitation, type Proposal } from '../../src/rounds/index.ts';
import type { State } from '../../src/index.ts';
import { sharingFrom } from './key-share.ts';
import { refresh } from './keygen.ts';
import { PUBLIC_KEY_SIZE } from './math/curve.ts';
import { outlinesOf, type HeldOutline } from './shares.ts';
import { sign } from './sign.ts';

type Refusal = Extract<Invitation<never>, { readonly refuses: string }>;

/** @returns undefined where we hold that share too, or none of that key and party set */
export async function mismatchOf(
  state: State,
  proposal: Proposal,
  from: number,
): Promise<Refusal | undefined> {
  const asked = askedIn(proposal);
  if (asked === undefined) return undefined;
  const all = await outlinesOf(state, asked.publicKey);
  const held = all.filter(({ parties }) => sameParties(parties, proposal.parties));
  const [newest] = held;
  const isHeld = ({ epoch, sharing }: HeldOutline): boolean =>
    epoch === proposal.epoch && Buffer.compare(sharing, asked.sharing) === 0;
  if (newest === undefined || all.some(isHeld)) return undefined;
  return {
    refuses: reasonFor(newest, proposal.epoch, from),
    instead: held.map((share) => ({ ...proposal, epoch: share.epoch, params: asked.paramsOf(share) })),
  };
}

/** Whether it is one with a share of this key of before this epoch. @param publicKey 96 bytes */
export function usesOlder(proposal: Proposal, publicKey: Uint8Array, epoch: number): boolean {
  const asked = askedIn(proposal);
  return asked !== undefined && proposal.epoch < epoch && Buffer.compare(asked.publicKey, publicKey) === 0;
}

/** Read by both sides. */
function reasonFor({ index, epoch }: HeldOutline, theirs: number, from: number): string {
  const said = `party ${String(from)} says that its share is of epoch ${String(theirs)}`;
  if (epoch === theirs)
    return `${said} as that of party ${String(index)}, but of another refresh; if so, backups of one refresh may help`;
  const older = epoch < theirs ? index : from;
  return `${said}, that of party ${String(index)} is of ${String(epoch)}; if so, a newer backup of party ${String(older)} may help`;
}

interface Asked {
  /** 96 bytes */
  readonly publicKey: Uint8Array;
  readonly sharing: Uint8Array;
  /** The parameters of the same with another share of the key. */
  readonly paramsOf: (share: HeldOutline) => Uint8Array<ArrayBuffer>;
}

/** Of which sharing a proposal is; undefined where it is of none. In bytes alone: any contact can propose, and points are dear. */
function askedIn({ protocol, params }: Proposal): Asked | undefined {
  if (protocol === sign.name) {
    const asked = sign.params.decode(params);
    const paramsOf: Asked['paramsOf'] = ({ sharing }) =>
      new Uint8Array(sign.params.encode({ ...asked, sharing }));
    return { ...asked, paramsOf };
  }
  if (protocol !== refresh.name) return undefined;
  const { commitments } = refresh.params.decode(params);
  return {
    publicKey: commitments.subarray(0, PUBLIC_KEY_SIZE),
    sharing: sharingFrom(commitments),
    paramsOf: (share) => new Uint8Array(refresh.params.encode(share)),
  };
}
