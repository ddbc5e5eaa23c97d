import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { own, type Bytes } from '../../src/bytes.ts';
import { Hints } from '../../src/inbox/hints.ts';
import { addTag, hintOf, rotationOf, routeKeyOf } from '../../src/session/outer-tag.ts';
import { aciIdentity } from '../../src/session/own-identity.ts';
import { peers } from '../../src/store/tables.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import {
  botOf,
  DAY_MS,
  dropped,
  NOW,
  platformAt,
  receive,
  textOf,
  uuid,
  type ListeningBot,
} from '../support/listening-bot.ts';
import { makePeer, wireEnvelope, type Peer } from '../support/peer.ts';
import { befriend, tagged } from '../support/tagged.ts';

describe('a server that names times as it likes, and knows how tags for us look', () => {
  /** An envelope of this day that is meant for Bob, as far as who has his route key can make one. */
  function lookalike(alice: Peer, bob: Peer, day: number): Bytes {
    const secret = own(randomBytes(32));
    const content = addTag(
      own(randomBytes(100)),
      routeKeyOf(aciIdentity(bob.account)),
      rotationOf(secret, day),
    );
    return wireEnvelope(alice, bob, 1, content, { timestamp: day * DAY_MS });
  }

  async function known(
    count: number,
  ): Promise<{ alice: Peer; bob: Peer; clock: ManualClock; bot: ListeningBot }> {
    const clock = new ManualClock(NOW);
    const alice = await makePeer({ platform: platformAt(NOW) });
    const bob = await makePeer({ platform: testPlatform({ clock }) });
    await befriend(alice, bob, NOW);
    const batch = bob.store.batch();
    for (let n = 0; n < count; n++) {
      await bob.identities.save(batch, uuid(n), aciIdentity(alice.account).keys.publicKey.serialize());
      peers.put(batch, 'aci', uuid(n), { devices: [{ id: 2, registrationId: 1 }], announced: 'our tags' });
    }
    await batch.commit();
    return { alice, bob, clock, bot: await botOf(bob) };
  }

  const textAt = async (alice: Peer, bob: Peer, time: number): Promise<Bytes> =>
    tagged(alice, bob, await textOf(alice, bob, `at ${String(time)}`, time), {
      timestamp: time,
      clock: new ManualClock(time),
    });

  it('makes no more work than so much a minute, and keeps nobody from being heard today', async () => {
    const { alice, bob, clock, bot } = await known(1000);
    const today = Math.floor(NOW / DAY_MS);
    const year = 365 * DAY_MS;
    await receive(bot, await textAt(alice, bob, NOW));
    for (let day = 1; day <= 300; day++) {
      expect(bot.listening.hears(lookalike(alice, bob, today - day))).toBe(false);
      if (day % 50 === 0) await receive(bot, await textAt(alice, bob, NOW + day));
    }
    expect(bot.texts).toHaveLength(7);
    // All that may be derived is: the table of another day is not made before a while has passed.
    await dropped(bot, await textAt(alice, bob, NOW - year));
    await clock.advance(120_000);
    await receive(bot, await textAt(alice, bob, NOW - year));
    expect(bot.texts).toHaveLength(8);
  });

  it('cannot keep a bot with few peers from what has waited for long', async () => {
    const { alice, bob, bot } = await known(10);
    for (let days = 0; days < 200; days++)
      expect(bot.listening.hears(await textAt(alice, bob, NOW - days * DAY_MS))).toBe(true);
  });
});

describe('tables of hints', () => {
  const TODAY = Math.floor(NOW / DAY_MS);

  /** Whether the hint of the first of so many pairs is known for a day. */
  function hintsOf(count: number): { clock: ManualClock; knows: (day: number) => boolean } {
    const clock = new ManualClock(NOW);
    const hints = new Hints(clock);
    const secretOf = (n: number): Bytes => own(Uint8Array.from([...Buffer.alloc(28), 0, n >> 16, n >> 8, n]));
    for (let n = 0; n < count; n++) {
      const from = { serviceId: uuid(0), deviceId: 1, identityKey: own(new Uint8Array(33)) };
      hints.add({ from, secret: secretOf(n) });
    }
    return { clock, knows: (day) => hints.find(day, hintOf(secretOf(0), day)) !== undefined };
  }

  it('are made for the days around now, however many pairs there are, and for others with time', async () => {
    const { clock, knows } = hintsOf(101_000);
    expect(knows(TODAY)).toBe(true);
    expect(knows(TODAY - 7)).toBe(true);
    expect(knows(TODAY - 8)).toBe(false);
    await clock.advance(31_000);
    expect(knows(TODAY - 8)).toBe(true);
    expect(knows(TODAY + 2)).toBe(false);
    // Of so many no more than nine tables are kept.
    const near = Array.from({ length: 9 }, (_, n) => TODAY - 7 + n);
    expect(near.every(knows)).toBe(true);
    expect(knows(TODAY - 8)).toBe(false);
  }, 60_000);

  it('are kept for 64 days, those that were asked for last', () => {
    const { knows } = hintsOf(1000);
    const days = Array.from({ length: 100 }, (_, n) => TODAY - 100 - n);
    expect(days.every(knows)).toBe(true);
    // No more may be derived: what is known is kept.
    expect(days.filter(knows)).toEqual(days.slice(36));
  });
});
