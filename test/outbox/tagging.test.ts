import { describe, expect, it } from 'vitest';
import {
  ANNOUNCE,
  decodeAnnouncement,
  encodeAnnouncement,
  maxPayload,
  parseTag,
} from '../../src/content/app-message.ts';
import { decodeContent } from '../../src/content/content.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { toUtf8 } from '../../src/bytes.ts';
import {
  dayOf,
  holds,
  outerMark,
  pairKey,
  peelTag,
  rotationOf,
  routeKeyOf,
  type OuterEnd,
  type Peeled,
} from '../../src/session/outer-tag.ts';
import { aciIdentity, type OwnIdentity } from '../../src/session/own-identity.ts';
import { noteDevice } from '../../src/session/peer-devices.ts';
import { announceChanges, noteTags, OwnTags } from '../../src/session/peer-tags.ts';
import { newRow, type NewRow } from '../../src/store/outbox-row.ts';
import { outboxRows, peers } from '../../src/store/tables.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { Hub, type Letter } from '../support/hub.ts';
import { outboxOf, type OutboxChoices } from '../support/outbox.ts';
import { makePeer, type Peer } from '../support/peer.ts';

const NOW = 1_795_300_000_000;
const TAG = parseTag('example.org/chess/1');
let time = NOW;

const ownOf = (peer: Peer): OwnIdentity => aciIdentity(peer.account);
const markOf = (peer: Peer): ReturnType<typeof outerMark> => outerMark(routeKeyOf(ownOf(peer)));

function text(to: Peer): NewRow {
  const timestamp = ++time;
  return { recipient: to.aci, timestamp, kind: 'text', content: encodeText('hello', timestamp) };
}

async function deliver(hub: Hub, from: Peer, row: NewRow, choices?: OutboxChoices): Promise<void> {
  const outbox = outboxOf(from, hub, choices);
  const result = await outbox.sesame.deliver(newRow(row), new AbortController().signal);
  expect(result.kind).toBe('delivered');
}

/** The tag that a letter bears for its recipient. */
function tagOn({ envelope, to }: Letter): Peeled | undefined {
  return peelTag(decodeEnvelope(envelope).content, routeKeyOf(ownOf(to)));
}

function last(hub: Hub): Letter {
  const letter = hub.letters.at(-1);
  if (letter === undefined) throw new Error('nothing was sent');
  return letter;
}

async function tell(whom: Peer, from: Peer): Promise<void> {
  const batch = whom.store.batch();
  await noteTags(batch, { serviceId: from.aci, deviceId: from.account.deviceId }, [TAG, markOf(from)]);
  await batch.commit();
}

/** Alice has sent Bob something, so that she knows his devices. */
async function pair(): Promise<{ hub: Hub; clock: ManualClock; alice: Peer; bob: Peer }> {
  const clock = new ManualClock(NOW);
  const [alice, bob] = [await makePeer({ platform: testPlatform({ clock }) }), await makePeer()];
  const hub = new Hub().add(alice, bob);
  await deliver(hub, alice, text(bob));
  return { hub, clock, alice, bob };
}

function end({ serviceId, deviceId, keys }: OwnIdentity): OuterEnd {
  return { serviceId, deviceId, identityKey: keys.publicKey.serialize() };
}

function holdsOn(tag: Peeled | undefined, from: Peer, to: Peer, day: number): boolean {
  const [sender, recipient] = [end(ownOf(from)), end(ownOf(to))];
  const secret = pairKey(ownOf(to).keys.privateKey, sender.identityKey, sender, recipient);
  return tag !== undefined && holds(tag, rotationOf(secret, day).key);
}

describe('what is sent', () => {
  it('bears a tag for a device that has announced it, and for no other device of the account', async () => {
    const { hub, alice, bob } = await pair();
    const phone = await makePeer({ deviceOf: bob.account, deviceId: 1 });
    hub.add(phone);
    expect(tagOn(last(hub))).toBeUndefined();
    await deliver(hub, alice, text(bob));
    await tell(alice, bob);
    hub.letters.length = 0;
    await deliver(hub, alice, text(bob));
    const tags = hub.letters.map((letter) => [letter.to === bob, tagOn(letter) !== undefined]);
    expect(tags.toSorted()).toEqual([
      [false, false],
      [true, true],
    ]);
    const mine = hub.letters.find(({ to }) => to === bob);
    expect(mine && holdsOn(tagOn(mine), alice, bob, dayOf(NOW))).toBe(true);
  });

  it('has the tag of the day on which it is sealed', async () => {
    const { hub, clock, alice, bob } = await pair();
    await tell(alice, bob);
    const outbox = outboxOf(alice, hub);
    const { signal } = new AbortController();
    await outbox.sesame.deliver(newRow(text(bob)), signal);
    expect(holdsOn(tagOn(last(hub)), alice, bob, dayOf(NOW))).toBe(true);
    clock.set(86_400_000);
    await outbox.sesame.deliver(newRow(text(bob)), signal);
    expect(holdsOn(tagOn(last(hub)), alice, bob, dayOf(NOW) + 1)).toBe(true);
    expect(holdsOn(tagOn(last(hub)), alice, bob, dayOf(NOW))).toBe(false);
  });

  it('bears a tag whatever it is: a retry request, a filler, an app message', async () => {
    const { hub, alice, bob } = await pair();
    await tell(alice, bob);
    const content = encodeApp(parseTag('example.org/other/1'), new Uint8Array(3));
    const app = { ...text(bob), kind: 'app', tag: 'example.org/other/1', content, devices: [9] } as const;
    await outboxOf(alice, hub).sesame.deliver(newRow(app), new AbortController().signal);
    expect(tagOn(last(hub))).toBeDefined();
    await deliver(hub, alice, { ...text(bob), kind: 'retry', plaintext: new Uint8Array(40) });
    expect(last(hub).type).toBe(8);
    expect(tagOn(last(hub))?.content.length).toBe(40);
  });

  it('bears none for a device in the place of the one that had announced it', async () => {
    const { hub, alice, bob } = await pair();
    await tell(alice, bob);
    hub.remove(bob);
    const relinked = await makePeer({ deviceOf: bob.account, deviceId: bob.account.deviceId });
    hub.add(relinked);
    await deliver(hub, alice, text(bob));
    expect(last(hub).to).toBe(relinked);
    expect(tagOn(last(hub))).toBeUndefined();
  });

  it('bears none within our own account', async () => {
    const { hub, alice } = await pair();
    const other = await makePeer({ deviceOf: alice.account, deviceId: 3 });
    hub.add(other);
    await deliver(hub, alice, text(alice));
    await tell(alice, other);
    await deliver(hub, alice, text(alice));
    expect(last(hub).to).toBe(other);
    expect(tagOn(last(hub))).toBeUndefined();
  });

  it('fits into what the strictest server takes, the largest app message too', async () => {
    const { hub, alice, bob } = await pair();
    await tell(alice, bob);
    const content = encodeApp(TAG, new Uint8Array(maxPayload(TAG)));
    await deliver(hub, alice, { ...text(bob), kind: 'app', tag: TAG, content });
    expect(tagOn(last(hub))).toBeDefined();
    expect(decodeEnvelope(last(hub).envelope).content.length).toBeLessThan(98_304);
  });
});

describe('the announcement', () => {
  async function rows(peer: Peer): Promise<{ kind: string; timestamp: number }[]> {
    const found = [];
    for await (const [, { kind, timestamp }] of outboxRows.scan(peer.store)) found.push({ kind, timestamp });
    return found;
  }

  it('brings the route key in a line that readers without it take for a tag', async () => {
    const { alice, bob } = await pair();
    const tags = new OwnTags([TAG], markOf(alice));
    const row = await tags.announce(alice.store.batch(), bob.aci, () => NOW);
    const content = decodeContent(row?.content ?? new Uint8Array(0));
    if (content.kind !== 'app') throw new Error('no announcement');
    expect(content.tag).toBe(ANNOUNCE);
    expect(decodeAnnouncement(content.payload)).toEqual([markOf(alice), TAG]);
    expect(toUtf8(content.payload)).toBe(`${markOf(alice)}\nexample.org/chess/1`);
    // Lines that we do not know are kept as they came.
    const unknown = parseTag('countersign.later/field/2');
    expect(decodeAnnouncement(encodeAnnouncement([TAG, unknown]))).toEqual([unknown, TAG]);
    expect(tags.handles(TAG)).toBe(true);
    expect(tags.handles(markOf(alice))).toBe(false);
  });

  it('is left again for a peer with a device that has come since', async () => {
    const { alice, bob } = await pair();
    const tags = new OwnTags([TAG], markOf(alice));
    const announce = async (): Promise<boolean> => {
      const batch = alice.store.batch();
      const row = await tags.announce(batch, bob.aci, () => ++time);
      await batch.commit();
      return row !== undefined;
    };
    expect([await announce(), await announce()]).toEqual([true, false]);
    const batch = alice.store.batch();
    await noteDevice(batch, 'aci', { serviceId: bob.aci, deviceId: 7 }, 99);
    await batch.commit();
    expect(await peers.get(alice.store.batch(), 'aci', bob.aci)).toMatchObject({ announced: '' });
    await announceChanges(alice.store, tags, () => ++time);
    expect(await rows(alice)).toMatchObject([{ kind: 'announce' }]);
    expect(await announce()).toBe(false);
  });

  it('is left again for all whom it was told when the bot begins to listen otherwise, and only then', async () => {
    const { alice, bob } = await pair();
    const start = async (occasion: string): Promise<number> => {
      const before = (await rows(alice)).length;
      await announceChanges(alice.store, new OwnTags([TAG], markOf(alice), occasion), () => ++time);
      return (await rows(alice)).length - before;
    };
    expect(await start('')).toBe(0); // nothing was told yet
    const batch = alice.store.batch();
    await new OwnTags([TAG], markOf(alice)).announce(batch, bob.aci, () => ++time);
    await batch.commit();
    expect([await start(''), await start('tagged'), await start('tagged'), await start('')]).toEqual([
      0, 1, 0, 1,
    ]);
  });

  it('goes before the first app message where only those are heard who know it, and once', async () => {
    const { hub, clock, alice, bob } = await pair();
    const outbox = outboxOf(alice, hub, { tags: [TAG], greets: true });
    hub.letters.length = 0;
    outbox.start();
    const row = await outbox.leave({
      ...text(bob),
      kind: 'app',
      tag: TAG,
      content: encodeApp(TAG, new Uint8Array(1)),
    });
    for (let n = 0; n < 40 && hub.letters.length < 2; n++) {
      await settle();
      await clock.advance(1);
    }
    expect(hub.letters.map(({ timestamp }) => timestamp)).toEqual([row.timestamp - 1, row.timestamp]);
    await outbox.leave({ ...text(bob), kind: 'app', tag: TAG, content: encodeApp(TAG, new Uint8Array(1)) });
    for (let n = 0; n < 20; n++) await settle();
    expect(hub.letters).toHaveLength(3);
    await outbox.stop();
  });

  it('does not hold up an app message to a peer whom it cannot reach', async () => {
    const { hub, clock, alice, bob } = await pair();
    const outbox = outboxOf(alice, hub, { tags: [TAG], greets: true });
    const first = text(bob);
    let refused = 0;
    hub.before = (request) => {
      const body = request.body === undefined ? '{}' : toUtf8(request.body);
      const { timestamp } = JSON.parse(body) as { timestamp?: number };
      if (request.verb !== 'PUT' || timestamp !== first.timestamp - 1) return undefined;
      refused++;
      return { status: 400 };
    };
    outbox.start();
    await outbox.leave({ ...first, kind: 'app', tag: TAG, content: encodeApp(TAG, new Uint8Array(1)) });
    for (let n = 0; n < 40 && outbox.ended.length < 2; n++) {
      await settle();
      await clock.advance(1);
    }
    // The announcement is left once more then, behind the message.
    expect(outbox.ended.slice(0, 2).map(({ row, end: { state } }) => [row.kind, state])).toEqual([
      ['announce', 'failed'],
      ['app', 'sent'],
    ]);
    expect(refused).toBe(1);
    await outbox.stop();
  });
});
