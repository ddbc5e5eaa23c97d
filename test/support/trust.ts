/** The trust of a peer, as a bot has it. */
import { buildTrust, type Trust } from '../../src/trust/build.ts';
import type { OperatorRules } from '../../src/trust/policy.ts';
import type { Peer } from './peer.ts';

export async function trustOf(peer: Peer, policy?: OperatorRules): Promise<Trust> {
  const { store, account, platform, identities, session } = peer;
  let stamp = 1_900_000_000_000;
  return buildTrust({
    store,
    account,
    platform,
    identities,
    policy,
    stamp: () => ++stamp,
    exclusive: (id, work) => session.exclusive(id, work),
  });
}
