/** Whom a ceremony is held with is asked again of each frame, whatever the operator asks of messages otherwise. */
import { PrivateKey } from '@signalapp/libsignal-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import type { Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import { decodeFrame, partySet, type Entry, type Protocol } from '../../src/rounds/index.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import type { StateChange } from '../../src/trust.ts';
import type { RoundsMember } from '../support/rounds-member.ts';
import { exchange, threeMembers } from '../support/rounds-member.ts';

const coin: Entry = { protocol: coinToss as unknown as Protocol };
const PROOF = { kind: 'safety-number', by: 'operator', at: 1 } as const;

/** What becomes of what the first party knows of the second. */
type Change = (about: {
  readonly key: Bytes;
  readonly other: Bytes;
  readonly change: (change: StateChange) => Promise<unknown>;
  readonly pin: (key: Bytes) => Promise<unknown>;
}) => Promise<unknown>;

describe('a party that is no longer trusted in mid-ceremony', () => {
  let clock: ManualClock;
  let members: RoundsMember[];

  beforeEach(async () => {
    clock = new ManualClock();
    // The router lets everything through: what is asked is asked by the runtime of rounds.
    const lax = { parties: { inbound: 'any' } } as const;
    members = await threeMembers(clock, [coin], lax);
  });

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  it.each<[string, Change]>([
    ['whose key is revoked', ({ key, change }) => change({ kind: 'revoke', key })],
    [
      'whose key is taken as it is, and not verified any more',
      async ({ key, change }) => {
        await change({ kind: 'revoke', key });
        await change({ kind: 'accept', key });
      },
    ],
    [
      'who has another key that is verified',
      async ({ other, change, pin }) => {
        await pin(other);
        await change({ kind: 'accept', key: other });
        await pin(other);
      },
    ],
  ])('%s is not heard any more', async (_, alter) => {
    const [first, second, third] = members;
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('there are three');
    const parties = partySet(members.map(({ party }) => party));
    const request = { protocol: coinToss.name, params: undefined, input: undefined, parties };
    let topic = '';
    for (const { rounds } of members) topic = await rounds.open(request);
    // All have met, and nobody has heard what the second says.
    const isSecond = (from: RoundsMember, { content }: OutboxRow): boolean => {
      const decoded = decodeContent(content);
      return from === second && decoded.kind === 'app' && decodeFrame(decoded.payload).kind === 'message';
    };
    await exchange(members, isSecond);
    expect((await first.rounds.show(topic))?.state).toBe('running');
    const { aci } = second.peer;
    const other = PrivateKey.generate().getPublicKey().serialize();
    await first.host.update(({ trust: { identities } }) =>
      alter({
        key: second.key,
        other,
        change: (change) => identities.setState(aci, change),
        pin: (key) => identities.pin(aci, key, PROOF),
      }),
    );
    // It is asked again, and says it again.
    for (let i = 0; i < 5; i++) {
      await clock.advance(30_000);
      await exchange(members);
    }
    expect((await third.rounds.show(topic))?.waitingFor.map(({ aci }) => aci)).toEqual([first.peer.aci]);
    expect((await first.rounds.show(topic))?.waitingFor.map(({ aci }) => aci)).toEqual([second.peer.aci]);
  });
});
