/** Parties of a ceremony, each with a real identity key that it signs with; the same seed gives the same keys. */
import { PrivateKey } from '@signalapp/libsignal-client';
import type { Aci } from '../address.ts';
import { EMPTY, equal, own } from '../bytes.ts';
import type { Random } from '../platform.ts';
import { partySet, type PartySet } from '../rounds/party-set.ts';
import type { Protocol } from '../rounds/protocol.ts';
import type { Tools } from '../rounds/run.ts';
import { SeededRandom } from './seeded-random.ts';

export interface TestParties {
  readonly set: PartySet;
  /** Of each party in its place: that of index 1 is the first. */
  readonly keys: readonly PrivateKey[];
}

/**
 * Parties 1 to n.
 * @throws BotError `GROUP_INVALID` unless n is 1 to 64
 */
export function testParties(n: number, seed = 'parties'): TestParties {
  const random = new SeededRandom(`${seed} keys`);
  const members = Array.from({ length: n }, (_, i) => {
    const key = PrivateKey.deserialize(random.bytes(32));
    const aci = `00000000-0000-4000-8000-${String(i + 1).padStart(12, '0')}` as Aci;
    return { key, party: { aci, deviceId: 2, identityKey: own(key.getPublicKey().serialize()) } };
  });
  return { set: partySet(members.map(({ party }) => party)), keys: members.map(({ key }) => key) };
}

/** What the machine needs at one party. @param index 1 to n */
export function toolsOf(
  { set, keys }: TestParties,
  index: number,
  protocol: Protocol,
  random: Random,
): Tools {
  return {
    protocol,
    random,
    sign: (bytes) => own(keys[index - 1]?.sign(bytes) ?? EMPTY),
    verify: (identityKey, bytes, signature) =>
      keys[set.findIndex((party) => equal(party.identityKey, identityKey))]
        ?.getPublicKey()
        .verify(bytes, signature) ?? false,
  };
}
