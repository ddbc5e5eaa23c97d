import { describe, expect, it } from 'vitest';
import { parseTag, ANNOUNCE, encodeAnnouncement } from '../../src/content/app-message.ts';
import type { Content } from '../../src/content/content.ts';
import { decodeContent } from '../../src/content/content.ts';
import { encodeApp, encodeNull, encodeText, encodeTranscript } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { Intake } from '../../src/inbox/intake.ts';
import { Parking } from '../../src/inbox/parking.ts';
import { Receiver } from '../../src/inbox/receiver.ts';
import { Carrier } from '../../src/session/carrier.ts';
import { own, type Bytes } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import { OwnTags } from '../../src/session/peer-tags.ts';
import type { Store } from '../../src/store/store.ts';
import type { Identity } from '../../src/store/identity-row.ts';
import {
  type InboxRow,
  type OutboxRow,
  type QuarantineRow,
  account,
  contacts,
  facts,
  identityRows,
  inboxRows,
  outboxRows,
  owedReceipts,
  peers,
  prekeys,
  quarantineRows,
  sentLog,
  sessions,
} from '../../src/store/tables.ts';
import type { Delivery, Incoming } from '../../src/transport/request.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { settle } from '../support/clock.ts';
import { envelopeFrom, introduce, makePeer, wireEnvelope, type Peer } from '../support/peer.ts';
import { FaultyStore } from '../support/store-faults.ts';
import { gatedStore, type GatedDisk } from '../support/store-gate.ts';

const NOW = 1_700_000_000_000;
const TAG = parseTag('example.org/chess/1');

function parkingOf(peer: Peer, store: Store): Parking {
  const { account, identities, platform } = peer;
  const carrier = new Carrier({ store, account, identities, platform });
  return new Parking({ store, carrier, identities, platform, tags: new OwnTags([TAG]) });
}

interface Inbox {
  readonly receiver: Receiver;
  readonly intake: Intake;
  readonly offered: { id: number; row: InboxRow; content: Content | undefined }[];
  readonly left: OutboxRow[];
  prekeys: number;
  drained: number;
  contacts: number;
}

function inboxOf(peer: Peer, store: Store = peer.store): Inbox {
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

function delivery(body: Bytes): Received {
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

async function* incoming(...items: (Delivery | 'drained')[]): AsyncIterable<Incoming> {
  for (const item of items) {
    await Promise.resolve();
    yield item === 'drained' ? { kind: 'drained' } : { kind: 'delivery', delivery: item };
  }
}

async function all<T>(rows: AsyncIterable<readonly [string, T]>): Promise<T[]> {
  const found: T[] = [];
  for await (const [, row] of rows) found.push(row);
  return found;
}

const text = (from: Peer, to: Peer, timestamp: number): Promise<Bytes> =>
  envelopeFrom(from, to, encodeText(`number ${String(timestamp - NOW)}`, timestamp), { timestamp });

async function pair(): Promise<{ alice: Peer; bob: Peer }> {
  return { alice: await makePeer(), bob: await makePeer() };
}

/** Bob's writes wait until they are let through. */
async function gated(): Promise<{ alice: Peer; bob: Peer; disk: GatedDisk }> {
  const { store, disk } = gatedStore();
  const making = makePeer({ store });
  await disk.pass();
  return { alice: await makePeer(), bob: await making, disk };
}

describe('Receiver', () => {
  it('stores an opened envelope as a row, acks it and hands it on', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    const received = delivery(await text(alice, bob, NOW + 1));
    expect(await inbox.receiver.accept(received)).toBe('stored');
    expect(received.acked).toBe(1);
    const rows = await all(inboxRows.scan(bob.store));
    expect(rows).toMatchObject([{ source: alice.aci, sourceDevice: 2, timestamp: NOW + 1, sealed: false }]);
    expect(inbox.offered).toMatchObject([{ content: { kind: 'text', text: 'number 1' } }]);
    expect(inbox.prekeys).toBe(1);
  });

  it('acks a delivery only after its batch is durable, and opens the next meanwhile', async () => {
    const { alice, bob, disk } = await gated();
    const inbox = inboxOf(bob);
    const [first, second] = [
      delivery(await text(alice, bob, NOW + 1)),
      delivery(await text(alice, bob, NOW + 2)),
    ];
    const running = inbox.receiver.run(incoming(first, second, 'drained'), new AbortController().signal);
    for (let i = 0; i < 20 && inbox.offered.length < 2; i++) await settle();
    expect(inbox.offered).toHaveLength(2);
    expect([first.acked, second.acked]).toEqual([0, 0]);
    await disk.pass();
    expect([first.acked, second.acked]).toEqual([1, 0]);
    await disk.pass();
    await running;
    expect([first.acked, second.acked]).toEqual([1, 1]);
    expect(inbox.drained).toBe(1);
  });

  it('acks a second copy without a second row, and not before the first is durable', async () => {
    const { alice, bob, disk } = await gated();
    const inbox = inboxOf(bob);
    const wire = await text(alice, bob, NOW + 1);
    const [first, copy] = [delivery(wire), delivery(wire)];
    const running = inbox.receiver.run(incoming(first, copy), new AbortController().signal);
    for (let i = 0; i < 20; i++) await settle();
    expect([first.acked, copy.acked]).toEqual([0, 0]);
    await disk.pass();
    await running;
    expect([first.acked, copy.acked]).toEqual([1, 1]);
    expect(await all(inboxRows.scan(bob.store))).toHaveLength(1);
  });

  it('knows a copy by the server guid, whatever else has changed', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    const guid = '00000000-0000-4000-8000-000000000001';
    const content = encodeText('x', NOW);
    const once = await envelopeFrom(alice, bob, content, { timestamp: NOW, guid });
    const again = await envelopeFrom(alice, bob, content, { timestamp: NOW, guid });
    expect(await inbox.receiver.accept(delivery(once))).toBe('stored');
    expect(await inbox.receiver.accept(delivery(again))).toBe('duplicate');
  });

  it('takes a message once that its sender has encrypted and sent again', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    const { receiver, offered } = inboxOf(bob);
    const outcomes: string[] = [];
    for (const [n, text] of ['one', 'one', 'two'].entries()) {
      const options = { timestamp: NOW, guid: `guid ${String(n)}` };
      const received = delivery(await envelopeFrom(alice, bob, encodeText(text, NOW), options));
      outcomes.push(await receiver.accept(received));
      expect(received.acked).toBe(1);
    }
    expect(outcomes).toEqual(['stored', 'duplicate', 'stored']);
    expect(offered.map(({ content }) => content)).toMatchObject([{ text: 'one' }, { text: 'two' }]);
  });

  it('closes the socket instead of acking when the store cannot be written, and ends with the reason', async () => {
    const { alice, bob } = await pair();
    const store = new FaultyStore(bob.store, { at: 1, kind: 'fail' });
    const inbox = inboxOf(bob, store);
    const received = delivery(await text(alice, bob, NOW + 1));
    await expect(inbox.receiver.run(incoming(received), new AbortController().signal)).rejects.toMatchObject({
      code: 'STORE_WRITE_FAILED',
    });
    expect([received.acked, received.abandoned]).toEqual([0, 1]);
    const restarted = inboxOf(bob);
    expect(await restarted.receiver.accept(delivery(received.body))).toBe('stored');
  });

  it('hands a row on once when its commit is refused for a conflict and made again', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    const received = delivery(await text(alice, bob, NOW + 1));
    const running = inbox.receiver.run(incoming(received), new AbortController().signal);
    // Upkeep marks the very prekey that the message uses, between the reading and the commit.
    const open = bob.session.open.bind(bob.session);
    let meddled = false;
    bob.session.open = async (...args) => {
      const opened = await open(...args);
      if (!meddled) {
        meddled = true;
        const batch = bob.store.batch();
        const key = await prekeys.get(batch, 'aci', 'ec', 100);
        if (key !== undefined) prekeys.put(batch, 'aci', 'ec', 100, { ...key, replacedAt: NOW });
        await batch.commit();
      }
      return opened;
    };
    await running;
    expect(meddled).toBe(true);
    expect(inbox.offered).toHaveLength(1);
    expect(received.acked).toBe(1);
    expect(await all(inboxRows.scan(bob.store))).toHaveLength(1);
  });

  it('ends with the reason of a failed write although nothing more comes', async () => {
    const { alice, bob } = await pair();
    const store = new FaultyStore(bob.store, { at: 1, kind: 'fail' });
    const inbox = inboxOf(bob, store);
    const received = delivery(await text(alice, bob, NOW + 1));
    async function* silence(): AsyncIterable<Incoming> {
      yield { kind: 'delivery', delivery: received };
      await new Promise(() => undefined);
    }
    const running = inbox.receiver.run(silence(), new AbortController().signal);
    await expect(running).rejects.toMatchObject({ code: 'STORE_WRITE_FAILED' });
  });

  it('takes a stranger’s retry request with a time out of range, and goes on', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    await inbox.receiver.accept(delivery(await text(alice, bob, NOW)));
    // DecryptionErrorMessage { timestamp 2, deviceId 3 } in a content (field 8), behind the mark of a plaintext content.
    const request = [0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x18, 0x02];
    const plaintext = Uint8Array.from([0xc0, 0x42, request.length, ...request, 0x80]);
    const received = delivery(wireEnvelope(alice, bob, 8, plaintext, { timestamp: NOW + 1 }));
    await inbox.receiver.accept(received);
    expect(received.acked).toBe(1);
  });

  it('keeps an envelope that nobody foresaw, acks it and goes on', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    bob.session.open = () => Promise.reject(new RangeError('a fault of ours'));
    const received = delivery(await text(alice, bob, NOW + 1));
    expect(await inbox.receiver.accept(received)).toBe('unreadable');
    expect(received.acked).toBe(1);
    expect(await all(quarantineRows.scan(bob.store))).toMatchObject([
      { reason: 'not understood: a fault of ours' },
    ]);
  });

  it('leaves a thousand envelopes in the quarantine at most', { timeout: 60_000 }, async () => {
    const { bob } = await pair();
    const inbox = inboxOf(bob);
    for (let n = 0; n < 1010; n++)
      await inbox.receiver.accept(delivery(Uint8Array.of(0xff, n & 0xff, n >> 8)));
    expect(await all(quarantineRows.scan(bob.store))).toHaveLength(1000);
  });

  it('leaves no more of them than fit in 32 MiB', async () => {
    const { bob } = await pair();
    const inbox = inboxOf(bob);
    for (let n = 0; n < 10; n++) {
      const body = new Uint8Array(4 * 1024 * 1024).fill(n);
      body.fill(0xff, 0, 1);
      await inbox.receiver.accept(delivery(body));
    }
    const kept: QuarantineRow[] = await all(quarantineRows.scan(bob.store));
    expect(kept.map(({ envelope }) => envelope[1])).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('asks for a copy whose session is gone by then, and handles the message once all the same', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    const { receiver, left } = inboxOf(bob);
    const content = encodeText('once', NOW);
    const wire = await envelopeFrom(alice, bob, content, { timestamp: NOW, guid: 'one' });
    expect(await receiver.accept(delivery(wire))).toBe('stored');
    const batch = bob.store.batch();
    sessions.delete(batch, 'aci', alice.aci, alice.account.deviceId);
    await batch.commit();
    expect(await receiver.accept(delivery(wire))).toBe('unreadable');
    expect(left.map(({ kind }) => kind)).toEqual(['retry']);
    await introduce(alice, bob);
    const resent = await envelopeFrom(alice, bob, content, { timestamp: NOW, guid: 'two' });
    expect(await receiver.accept(delivery(resent))).toBe('duplicate');
    expect(await all(inboxRows.scan(bob.store))).toHaveLength(1);
  });

  it('puts a copy of what cannot be opened into the quarantine once', async () => {
    const { alice, bob } = await pair();
    const { receiver } = inboxOf(bob);
    const noise = wireEnvelope(alice, bob, 1, new Uint8Array(80), { timestamp: NOW, guid: 'noise' });
    expect(await receiver.accept(delivery(noise))).toBe('unreadable');
    expect(await receiver.accept(delivery(noise))).toBe('duplicate');
    expect(await all(quarantineRows.scan(bob.store))).toHaveLength(1);
  });

  it('keeps what cannot be opened, acks it and asks for it again, five times an hour', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    await inbox.receiver.accept(delivery(await text(alice, bob, NOW)));
    await inboxOf(alice).receiver.accept(delivery(await text(bob, alice, NOW)));
    for (let n = 1; n <= 7; n++) {
      const envelope = decodeEnvelope(new Uint8Array(await text(alice, bob, NOW + n)));
      envelope.content[envelope.content.length - 1] = (envelope.content.at(-1) ?? 0) ^ 1;
      const received = delivery(wireEnvelope(alice, bob, 1, envelope.content, { timestamp: NOW + n }));
      expect(await inbox.receiver.accept(received)).toBe('unreadable');
      expect(received.acked).toBe(1);
    }
    const kept: QuarantineRow[] = await all(quarantineRows.scan(bob.store));
    expect(kept).toHaveLength(7);
    expect(kept[0]).toMatchObject({ source: alice.aci, sourceDevice: 2, timestamp: NOW + 1 });
    expect(kept[0]?.reason).not.toBe('');
    expect(inbox.left.map(({ kind }) => kind)).toEqual(Array(5).fill('retry'));
    expect(await all(outboxRows.scan(bob.store))).toHaveLength(5);
  });

  it.each([
    ['nothing', new Uint8Array(0)],
    ['noise', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff)],
    ['a time out of range', own(signal.Envelope.encode({ type: 1, clientTimestamp: 2 ** 53 }).finish())],
  ])('acks %s and goes on', async (_, body) => {
    const { bob } = await pair();
    const received = delivery(body);
    await inboxOf(bob).receiver.accept(received);
    expect(received.acked).toBe(1);
  });

  it("turns the server's delivery receipt into a row", async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    await inbox.receiver.accept(delivery(wireEnvelope(alice, bob, 5, new Uint8Array(0), { timestamp: NOW })));
    expect(inbox.offered).toMatchObject([
      { content: { kind: 'receipt', type: 'delivery', timestamps: [NOW] } },
    ]);
  });

  it('notes the candidate when the sender comes with another identity key', async () => {
    const { alice, bob } = await pair();
    const inbox = inboxOf(bob);
    await inbox.receiver.accept(delivery(await text(alice, bob, NOW)));
    const impostor = await makePeer();
    const forged = decodeEnvelope(await text(impostor, bob, NOW + 1)).content;
    await inbox.receiver.accept(delivery(wireEnvelope(alice, bob, 3, forged, { timestamp: NOW + 1 })));
    expect(await identityRows.get(bob.store.batch(), alice.aci)).toMatchObject({
      state: 'changed',
      candidate: impostor.account.identity.publicKey,
    });
    expect(inbox.left).toEqual([]);
  });
});

describe('Intake', () => {
  async function take(
    content: Bytes,
    own = false,
  ): Promise<{ inbox: Inbox; alice: Peer; bob: Peer; outcome: string }> {
    const bob = await makePeer();
    const alice = own ? await makePeer({ deviceOf: bob.account, deviceId: 1 }) : await makePeer();
    const inbox = inboxOf(bob);
    await inbox.intake.open(bob.store);
    const outcome = await inbox.receiver.accept(
      delivery(await envelopeFrom(alice, bob, content, { timestamp: NOW })),
    );
    return { inbox, alice, bob, outcome };
  }

  const encode = (content: signal.Content.$Shape): Bytes => own(signal.Content.encode(content).finish());

  it('owes a delivery receipt for a text of somebody else, and none to our own devices', async () => {
    const { alice, bob } = await take(encodeText('x', NOW));
    expect(await owedReceipts.get(bob.store.batch(), alice.aci, NOW)).toBeDefined();
    const mine = await take(encodeText('x', NOW), true);
    expect(await all(owedReceipts.scan(mine.bob.store))).toEqual([]);
  });

  it('takes who writes to us for registered, whatever the server said before', async () => {
    const { alice, bob } = await pair();
    const batch = bob.store.batch();
    peers.put(batch, 'aci', alice.aci, { devices: [], unregisteredUntil: NOW * 2 });
    await batch.commit();
    await inboxOf(bob).receiver.accept(delivery(await text(alice, bob, NOW)));
    expect(await peers.get(bob.store.batch(), 'aci', alice.aci)).not.toHaveProperty('unregisteredUntil');
  });

  it('opens nothing under another identity key of our own account', async () => {
    const bob = await makePeer();
    const impostor = await makePeer();
    const forged = decodeEnvelope(await text(impostor, bob, NOW)).content;
    const own = { ...impostor, aci: bob.aci };
    const received = delivery(wireEnvelope(own, bob, 3, forged, { timestamp: NOW }));
    expect(await inboxOf(bob).receiver.accept(received)).toBe('unreadable');
  });

  it('learns the profile key that comes with a text', async () => {
    const { alice, bob } = await take(encodeText('x', NOW, new Uint8Array(32).fill(7)));
    expect(await peers.get(bob.store.batch(), 'aci', alice.aci)).toMatchObject({ sealed: 'unknown' });
    expect((await peers.get(bob.store.batch(), 'aci', alice.aci))?.profileKey).toHaveLength(44);
  });

  it('refuses a text whose timestamp is not that of the envelope', async () => {
    const { inbox, outcome } = await take(encodeText('x', NOW + 1));
    expect(outcome).toBe('handled');
    expect(inbox.intake.drops.refused).toBe(1);
  });

  it('refuses sync content of somebody else', async () => {
    const transcript = encodeTranscript(encodeText('x', NOW), (await makePeer()).aci, NOW, false);
    const { inbox, outcome } = await take(transcript ?? new Uint8Array(0));
    expect(outcome).toBe('handled');
    expect(inbox.offered).toEqual([]);
  });

  it('keeps a transcript of our own phone', async () => {
    const to = await makePeer();
    const { inbox } = await take(
      encodeTranscript(encodeText('x', NOW), to.aci, NOW, false) ?? new Uint8Array(0),
      true,
    );
    expect(inbox.offered).toMatchObject([
      { content: { kind: 'sync', sync: { type: 'sent', destination: to.aci } } },
    ]);
  });

  it('hands on app messages with our tags, announces ours once, and counts the others', async () => {
    const { inbox, alice, bob } = await take(encodeApp(TAG, Uint8Array.of(1)));
    expect(inbox.offered).toMatchObject([{ content: { kind: 'app', tag: TAG } }]);
    expect(inbox.left).toMatchObject([{ kind: 'announce', recipient: alice.aci }]);
    const next = async (content: Bytes, timestamp: number): Promise<string> =>
      inbox.receiver.accept(delivery(await envelopeFrom(alice, bob, content, { timestamp })));
    await next(encodeApp(TAG, Uint8Array.of(2)), NOW + 1);
    expect(inbox.left).toHaveLength(1);
    expect(await next(encodeApp(parseTag('unknown/7'), Uint8Array.of(2)), NOW + 2)).toBe('handled');
    expect(await next(encodeNull(Uint8Array.of(2)), NOW + 3)).toBe('handled');
    expect(inbox.intake.drops).toMatchObject({ unknownTags: 1, nullMessages: 1 });
  });

  it('notes the tags that a device announces, and answers with ours', async () => {
    const { inbox, alice, bob } = await take(encodeApp(ANNOUNCE, encodeAnnouncement([TAG])));
    expect((await peers.get(bob.store.batch(), 'aci', alice.aci))?.devices).toMatchObject([
      { id: 2, tags: [TAG] },
    ]);
    expect(inbox.offered).toEqual([]);
    const [answer] = inbox.left;
    expect(decodeContent(answer?.content ?? new Uint8Array(0))).toMatchObject({ kind: 'app', tag: ANNOUNCE });
  });

  it('drops what blocked contacts send, also after a restart', async () => {
    const enemy = await makePeer();
    const blocked = encode({ syncMessage: { blocked: { acis: [enemy.aci] } } });
    const { inbox, bob } = await take(blocked, true);
    const send = async (to: Inbox, timestamp: number): Promise<string> =>
      to.receiver.accept(delivery(await text(enemy, bob, timestamp)));
    expect(await send(inbox, NOW + 1)).toBe('handled');
    expect(await contacts.get(bob.store.batch(), enemy.aci)).toEqual({ blocked: true });
    const restarted = inboxOf(bob);
    await restarted.intake.open(bob.store);
    expect(await send(restarted, NOW + 2)).toBe('handled');
    expect(restarted.intake.drops.blocked).toBe(1);
  });

  it('leaves a note of the contact list to fetch, and takes over new keys', async () => {
    const { inbox, bob, alice } = await take(
      encode({
        syncMessage: {
          contacts: { blob: { cdnKey: 'abc', cdnNumber: 3, key: new Uint8Array(64), size: 9 } },
        },
      }),
      true,
    );
    expect(inbox.contacts).toBe(1);
    expect(await facts.get(bob.store.batch(), 'contactsBlob')).toMatchObject({
      cdnKey: 'abc',
      cdnNumber: 3,
      size: 9,
    });
    const keys = encode({ syncMessage: { keys: { accountEntropyPool: 'pool' } } });
    await inbox.receiver.accept(delivery(await envelopeFrom(alice, bob, keys, { timestamp: NOW + 1 })));
    expect(await account.get(bob.store.batch())).toMatchObject({ accountEntropyPool: 'pool' });
  });

  it('keeps content without a type of its own whole', async () => {
    const { inbox } = await take(encode({ callMessage: Uint8Array.of(1, 2, 3) }));
    expect(inbox.offered).toMatchObject([{ content: { kind: 'other', name: 'callMessage' } }]);
  });

  describe('retry requests', () => {
    async function refuse(
      logged: boolean,
      known?: Partial<Identity>,
    ): Promise<{ inbox: Inbox; alice: Peer; bob: Peer }> {
      // Bob has sent a text that Alice cannot read: her answer is a real retry request.
      const { alice, bob } = await pair();
      const inbox = inboxOf(bob);
      await inbox.receiver.accept(delivery(await text(alice, bob, NOW)));
      const content = encodeText('lost', NOW + 1);
      const envelope = decodeEnvelope(
        new Uint8Array(await envelopeFrom(bob, alice, content, { timestamp: NOW + 1 })),
      );
      envelope.content[envelope.content.length - 9] = (envelope.content.at(-9) ?? 0) ^ 1;
      const other = inboxOf(alice);
      const broken = wireEnvelope(bob, alice, envelope.type, envelope.content, { timestamp: NOW + 1 });
      expect(await other.receiver.accept(delivery(broken))).toBe('unreadable');
      const [request] = other.left;
      if (logged) {
        const batch = bob.store.batch();
        sentLog.put(batch, alice.aci, NOW + 1, { content, sentAt: NOW, devices: [2], urgent: true, tag: '' });
        await batch.commit();
      }
      if (known !== undefined) {
        const batch = bob.store.batch();
        const row = await identityRows.get(batch, alice.aci);
        if (row === undefined) throw new Error('nothing is known of Alice');
        identityRows.put(batch, alice.aci, { ...row, ...known });
        await batch.commit();
      }
      const plaintext = request?.plaintext ?? new Uint8Array(0);
      await inbox.receiver.accept(delivery(wireEnvelope(alice, bob, 8, plaintext, { timestamp: NOW + 2 })));
      return { inbox, alice, bob };
    }

    it('are answered from the sent log, to the device that asked, in a new session', async () => {
      const { inbox, alice, bob } = await refuse(true);
      expect(inbox.left).toMatchObject([
        { kind: 'resend', recipient: alice.aci, timestamp: NOW + 1, devices: [alice.account.deviceId] },
      ]);
      const to = { serviceId: alice.aci, deviceId: 2 };
      expect(await bob.session.seal(bob.store.batch(), to, encodeText('x', NOW), undefined)).toBeUndefined();
    });

    it('are answered with a null message when it is not known any more', async () => {
      const { inbox, alice } = await refuse(false);
      expect(inbox.left).toMatchObject([
        { kind: 'null', recipient: alice.aci, devices: [alice.account.deviceId] },
      ]);
    });

    it('get nothing that was written before another key took the place of the contact’s, unless it is proven', async () => {
      const kinds = async (known: Partial<Identity>): Promise<string[]> =>
        (await refuse(true, known)).inbox.left.map(({ kind }) => kind);
      expect(await kinds({ replacedAt: NOW + 1 })).toEqual(['null']);
      expect(await kinds({ replacedAt: NOW + 1, state: 'introduced' })).toEqual(['null']);
      expect(await kinds({ replacedAt: NOW + 1, state: 'verified' })).toEqual(['resend']);
      expect(await kinds({ replacedAt: NOW })).toEqual(['resend']);
    });

    it('for another device are ignored', async () => {
      const { alice, bob } = await pair();
      const inbox = inboxOf(bob);
      const plaintext = own(
        newRow({ recipient: bob.aci, timestamp: 1, kind: 'retry', content: Uint8Array.of(0xc0) }).content,
      );
      await inbox.receiver.accept(delivery(wireEnvelope(alice, bob, 8, plaintext, { timestamp: NOW })));
      expect(inbox.left).toEqual([]);
    });
  });
});
