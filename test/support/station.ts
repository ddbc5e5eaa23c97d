/** A bot without sockets on a hub: inbox, outbox and trust, wired as `bot/parts.ts` wires them. */
import { parseTag } from '../../src/content/app-message.ts';
import { decodeContent, type Content } from '../../src/content/content.ts';
import { Intake } from '../../src/inbox/intake.ts';
import { Parking } from '../../src/inbox/parking.ts';
import { Receiver, type Outcome } from '../../src/inbox/receiver.ts';
import { Replay } from '../../src/inbox/replay.ts';
import { silentLog } from '../../src/platform.ts';
import { VERIFY_TAG } from '../../src/session/carrier.ts';
import { OwnTags } from '../../src/session/peer-tags.ts';
import type { InboxRow } from '../../src/store/rows.ts';
import { inboxRows } from '../../src/store/tables.ts';
import type { Trust } from '../../src/trust/build.ts';
import type { TrustEvent } from '../../src/trust.ts';
import type { Hub } from './hub.ts';
import { outboxOf, type Outbox } from './outbox.ts';
import type { Peer } from './peer.ts';
import { trustOf } from './trust.ts';

const TAGS = [VERIFY_TAG, parseTag('example.org/chess/1')];

export interface Station {
  readonly peer: Peer;
  readonly trust: Trust;
  readonly outbox: Outbox;
  readonly receiver: Receiver;
  readonly events: TrustEvent[];
  /** Takes the letters on the hub that are for it. */
  receive(): Promise<Outcome[]>;
  /** Opens what was parked for those of whom it was asked. */
  replay(): Promise<void>;
  /** All that reached the inbox. */
  inbox(): Promise<{ readonly row: InboxRow; readonly content: Content }[]>;
}

export async function stationOf(hub: Hub, peer: Peer): Promise<Station> {
  const trust = await trustOf(peer);
  const { store, session, identities, platform, account } = peer;
  const tags = new OwnTags(TAGS);
  let last = 1_850_000_000_000;
  const stamp = (): number => ++last;
  const outbox = outboxOf(peer, hub, { tags: TAGS, guards: trust.guards });
  const parking = new Parking({ store, carrier: trust.carrier, identities, platform, tags });
  const intake = new Intake({
    session,
    identities,
    platform,
    tags,
    stamp,
    ownAci: peer.aci,
    ownDevice: account.deviceId,
    onContacts: () => undefined,
  });
  const receiver = new Receiver({
    store,
    session,
    intake,
    parking,
    platform,
    stamp,
    onInbox: () => undefined,
    onOutbox: () => undefined,
    onPrekey: () => undefined,
    onDrained: () => undefined,
  });
  const replay = new Replay({ receiver, parking, log: silentLog });
  const asked = new Set<Parameters<Replay['ring']>[0]>();
  const events: TrustEvent[] = [];
  trust.desk.onEvent((event) => events.push(event));
  trust.desk.onSettled((serviceId) => {
    asked.add(serviceId);
    outbox.sender.ring();
  });
  return {
    peer,
    trust,
    outbox,
    receiver,
    events,
    receive: async () => {
      const mine = hub.letters.filter(({ to }) => to === peer);
      for (const letter of mine) hub.letters.splice(hub.letters.indexOf(letter), 1);
      const outcomes: Outcome[] = [];
      for (const { envelope } of mine) {
        const delivery = { body: envelope, serverTime: undefined, ack: nothing, abandon: nothing };
        outcomes.push(await receiver.accept(delivery));
      }
      return outcomes;
    },
    replay: async () => {
      for (const from of asked) await replay.replay(from);
      asked.clear();
    },
    inbox: async () => {
      const found = [];
      for await (const [, row] of inboxRows.scan(store))
        found.push({ row, content: decodeContent(row.content) });
      return found;
    },
  };
}

function nothing(): void {
  // nobody is on the other end
}
