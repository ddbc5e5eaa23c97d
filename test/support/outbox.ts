/** An outbox over a hub: what `Bot` wires, without sockets. */
import { Gate, type Guard } from '../../src/outbox/gate.ts';
import { Greeting } from '../../src/outbox/greeting.ts';
import { Pacing } from '../../src/outbox/pacing.ts';
import { Sealing } from '../../src/outbox/sealing.ts';
import { Sender, type Ending } from '../../src/outbox/sender.ts';
import { Sesame } from '../../src/outbox/sesame.ts';
import { Tagging } from '../../src/outbox/tagging.ts';
import { Carrier } from '../../src/session/carrier.ts';
import { outerMark, routeKeyOf } from '../../src/session/outer-tag.ts';
import { aciIdentity } from '../../src/session/own-identity.ts';
import { OwnTags } from '../../src/session/peer-tags.ts';
import { newRow, type NewRow } from '../../src/store/outbox-row.ts';
import type { Store } from '../../src/store/store.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { outboxRows } from '../../src/store/tables.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import type { Tag } from '../../src/content/app-message.ts';
import type { Content } from '../../src/content/content.ts';
import type { Hub } from './hub.ts';
import type { Peer } from './peer.ts';

export interface Outbox {
  readonly sender: Sender;
  readonly sesame: Sesame;
  /** Leaves a row as a handler does. */
  leave(row: NewRow): Promise<OutboxRow>;
  readonly ended: { readonly row: OutboxRow; readonly end: Ending }[];
  start(): void;
  /** @throws what the sender's run rejected with */
  stop(): Promise<void>;
}

export interface OutboxChoices {
  readonly sealed?: boolean;
  readonly store?: Store;
  readonly tags?: readonly Tag[];
  readonly guards?: readonly Guard[];
  /** As in tagged listening: what is announced goes first. */
  readonly greets?: boolean;
}

export function outboxOf(peer: Peer, hub: Hub, options: OutboxChoices = {}): Outbox {
  const { account, identities, session, platform, aci: ownAci } = peer;
  const store = options.store ?? peer.store;
  let stamp = 1_800_000_000_000;
  const ended: { row: OutboxRow; end: Ending }[] = [];
  const own = aciIdentity(account);
  const tags = new OwnTags(options.tags, outerMark(routeKeyOf(own)));
  const gate = new Gate({
    identities,
    session,
    carrier: new Carrier({ store, account, identities, platform }),
    guards: options.guards ?? [],
  });
  const onOutbox = (row: OutboxRow): void => {
    sender.offer(row);
  };
  const onPeer = (): void => undefined;
  const greeting = new Greeting({ store, session, gate, tags, ownAci, onOutbox, onPeer });
  const sesame = new Sesame({
    store,
    session,
    gate,
    tagging: new Tagging({ own, identities, clock: platform.clock }),
    ...(options.greets === true ? { greeting } : {}),
    sealing: new Sealing(platform.clock, options.sealed ?? false),
    pacing: new Pacing(),
    platform,
    ownAci,
    ownDevice: account.deviceId,
    authenticated: hub.requester(peer),
    anonymous: hub.requester(peer),
    tags,
    stamp: () => ++stamp,
    onOutbox,
  });
  const sender: Sender = new Sender({
    store,
    sesame,
    platform,
    ownAci,
    onSettled: (row, end) => void ended.push({ row, end }),
  });
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  return {
    sender,
    sesame,
    ended,
    leave: async (fields) => {
      const row = newRow(fields);
      const batch = store.batch();
      outboxRows.put(batch, row.recipient, row.timestamp, row);
      await batch.commit();
      sender.offer(row);
      return row;
    },
    start: () => {
      running = sender.run(stop.signal);
      running.catch(() => undefined);
    },
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

/** Opens a letter at its recipient and commits the ratchet. */
export async function read(to: Peer, wire: Uint8Array): Promise<Content | string> {
  const envelope = decodeEnvelope(wire);
  const identified = await to.session.identify(envelope);
  if (identified.kind !== 'message') return identified.kind;
  const batch = to.store.batch();
  const opened = await to.session.open(batch, identified, envelope.timestamp);
  if (opened.kind !== 'opened') return opened.kind;
  await batch.commit();
  return opened.parts.content;
}
