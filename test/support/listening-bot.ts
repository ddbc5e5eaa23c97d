/** A bot that listens to tagged messages, or to all: its receiver, and envelopes that are handed over to it. */
import { expect } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import { encodeText } from '../../src/content/encode.ts';
import { Intake } from '../../src/inbox/intake.ts';
import { Listening, type Listen } from '../../src/inbox/listening.ts';
import { Parking } from '../../src/inbox/parking.ts';
import { Receiver } from '../../src/inbox/receiver.ts';
import { Carrier } from '../../src/session/carrier.ts';
import { aciIdentity } from '../../src/session/own-identity.ts';
import { OwnTags } from '../../src/session/peer-tags.ts';
import type { Delivery, Incoming } from '../../src/transport/request.ts';
import { ManualClock, testPlatform } from './clock.ts';
import { envelopeFrom, makePeer, type Peer } from './peer.ts';
import { befriend } from './tagged.ts';
import { WatchedStore } from './watched-store.ts';

/** What the clocks say. */
export const NOW = 1_795_300_000_000;
export const DAY_MS = 86_400_000;

export interface ListeningBot {
  readonly peer: Peer;
  readonly listening: Listening;
  readonly receiver: Receiver;
  readonly intake: Intake;
  /** Commits that wrote something. */
  writes(): number;
  /** Texts that reached the inbox. */
  readonly texts: string[];
}

export function platformAt(time: number): ReturnType<typeof testPlatform> {
  return testPlatform({ clock: new ManualClock(time) });
}

export async function botOf(peer: Peer, mode: Listen = 'tagged'): Promise<ListeningBot> {
  const { account, identities, platform, session, aci } = peer;
  let writes = 0;
  const store = new WatchedStore(peer.store, (commit) => {
    writes++;
    return commit();
  });
  const tags = new OwnTags([]);
  const listening = new Listening({
    mode,
    store,
    identities,
    own: aciIdentity(account),
    clock: platform.clock,
  });
  await listening.open();
  let stamp = NOW;
  const texts: string[] = [];
  const common = { store, session, platform, tags, identities, stamp: () => ++stamp };
  const intake = new Intake({
    ...common,
    ownAci: aci,
    ownDevice: account.deviceId,
    onContacts: () => undefined,
  });
  const carrier = new Carrier({ store, account, identities, platform });
  const receiver = new Receiver({
    ...common,
    intake,
    parking: new Parking({ ...common, carrier }),
    listening,
    onInbox: (_, __, content) => {
      if (content?.kind === 'text') texts.push(content.text);
      if (content?.kind === 'receipt') texts.push('a receipt');
      if (content?.kind === 'sync') texts.push('a transcript');
    },
    onOutbox: () => undefined,
    onPrekey: () => undefined,
    onDrained: () => undefined,
  });
  return { peer, listening, receiver, intake, writes: () => writes, texts };
}

/** Bob listens, Alice knows how to be heard by him. */
export async function scene(
  mode: Listen = 'tagged',
  trustRoots: readonly Bytes[] = [],
): Promise<{ alice: Peer; bob: Peer; bot: ListeningBot }> {
  const alice = await makePeer({ platform: platformAt(NOW) });
  const bob = await makePeer({ platform: platformAt(NOW), trustRoots });
  await befriend(alice, bob, NOW);
  return { alice, bob, bot: await botOf(bob, mode) };
}

export const textOf = (from: Peer, to: Peer, text: string, timestamp = NOW): Promise<Bytes> =>
  envelopeFrom(from, to, encodeText(text, timestamp), { timestamp });

export function delivery(body: Bytes): Delivery & { acked: number } {
  const made = {
    body,
    serverTime: undefined,
    acked: 0,
    ack: (): void => {
      made.acked++;
    },
    abandon: (): void => undefined,
  };
  return made;
}

/** Hands envelopes over; all must be acked once. */
export async function receive(bot: ListeningBot, ...bodies: Bytes[]): Promise<void> {
  const deliveries = bodies.map(delivery);
  const incoming = async function* (): AsyncIterable<Incoming> {
    for (const each of deliveries) {
      await Promise.resolve();
      yield { kind: 'delivery', delivery: each };
    }
  };
  await bot.receiver.run(incoming(), new AbortController().signal);
  expect(deliveries.map(({ acked }) => acked)).toEqual(deliveries.map(() => 1));
}

/** All are dropped, and nothing is written. */
export async function dropped(bot: ListeningBot, ...bodies: Bytes[]): Promise<void> {
  const before = { writes: bot.writes(), untagged: bot.intake.drops.untagged, texts: [...bot.texts] };
  await receive(bot, ...bodies);
  expect(bot.intake.drops.untagged).toBe(before.untagged + bodies.length);
  expect(bot.writes()).toBe(before.writes);
  expect(bot.texts).toEqual(before.texts);
}

/** The account of this number. */
export function uuid(n: number): Peer['aci'] {
  return `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` as Peer['aci'];
}
