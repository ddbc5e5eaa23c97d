/** A receiver of one peer, with what it hands on; deliveries that count their answers. */
import { parseTag } from '../../src/content/app-message.ts';
import type { Content } from '../../src/content/content.ts';
import { encodeText } from '../../src/content/encode.ts';
import { Intake } from '../../src/inbox/intake.ts';
import { Parking } from '../../src/inbox/parking.ts';
import { Receiver } from '../../src/inbox/receiver.ts';
import { Carrier } from '../../src/session/carrier.ts';
import type { Bytes } from '../../src/bytes.ts';
import { OwnTags } from '../../src/session/peer-tags.ts';
import type { Store } from '../../src/store/store.ts';
import type { InboxRow, OutboxRow } from '../../src/store/rows.ts';
import type { Delivery, Incoming } from '../../src/transport/request.ts';
import { envelopeFrom, makePeer, type Peer } from '../support/peer.ts';
import { gatedStore, type GatedDisk } from '../support/store-gate.ts';

export const NOW = 1_700_000_000_000;
export const TAG = parseTag('example.org/chess/1');

function parkingOf(peer: Peer, store: Store): Parking {
  const { account, identities, platform } = peer;
  const carrier = new Carrier({ store, account, identities, platform });
  return new Parking({ store, carrier, identities, platform, tags: new OwnTags([TAG]) });
}

export interface Inbox {
  readonly receiver: Receiver;
  readonly intake: Intake;
  readonly offered: { id: number; row: InboxRow; content: Content | undefined }[];
  readonly left: OutboxRow[];
  prekeys: number;
  drained: number;
  contacts: number;
}

export function inboxOf(peer: Peer, store: Store = peer.store): Inbox {
  let stamp = NOW;
  const offered: Inbox['offered'] = [];
  const left: OutboxRow[] = [];
  const intake = new Intake({
    session: peer.session,
    identities: peer.identities,
    platform: peer.platform,
    ownAci: peer.aci,
    ownDevice: peer.account.deviceId,
    tags: new OwnTags([TAG]),
    stamp: () => ++stamp,
    onContacts: () => {
      inbox.contacts++;
    },
  });
  const receiver = new Receiver({
    store,
    session: peer.session,
    intake,
    parking: parkingOf(peer, store),
    platform: peer.platform,
    stamp: () => ++stamp,
    onInbox: (id, row, content) => offered.push({ id, row, content }),
    onOutbox: (row) => left.push(row),
    onPrekey: () => {
      inbox.prekeys++;
    },
    onDrained: () => {
      inbox.drained++;
    },
  });
  const inbox: Inbox = { receiver, intake, offered, left, prekeys: 0, drained: 0, contacts: 0 };
  return inbox;
}

interface Received extends Delivery {
  acked: number;
  abandoned: number;
}

export function delivery(body: Bytes): Received {
  const received: Received = {
    body,
    serverTime: undefined,
    acked: 0,
    abandoned: 0,
    ack: () => {
      received.acked++;
    },
    abandon: () => {
      received.abandoned++;
    },
  };
  return received;
}

export async function* incoming(...items: (Delivery | 'drained')[]): AsyncIterable<Incoming> {
  for (const item of items) {
    await Promise.resolve();
    yield item === 'drained' ? { kind: 'drained' } : { kind: 'delivery', delivery: item };
  }
}

export async function all<T>(rows: AsyncIterable<readonly [string, T]>): Promise<T[]> {
  const found: T[] = [];
  for await (const [, row] of rows) found.push(row);
  return found;
}

export const text = (from: Peer, to: Peer, timestamp: number): Promise<Bytes> =>
  envelopeFrom(from, to, encodeText(`number ${String(timestamp - NOW)}`, timestamp), { timestamp });

export async function pair(): Promise<{ alice: Peer; bob: Peer }> {
  return { alice: await makePeer(), bob: await makePeer() };
}

/** Bob's writes wait until they are let through. */
export async function gated(): Promise<{ alice: Peer; bob: Peer; disk: GatedDisk }> {
  const { store, disk } = gatedStore();
  const making = makePeer({ store });
  await disk.pass();
  return { alice: await makePeer(), bob: await making, disk };
}
