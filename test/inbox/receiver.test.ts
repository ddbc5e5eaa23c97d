import { describe, expect, it } from 'vitest';
import { encodeText } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { own } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import type { QuarantineRow } from '../../src/store/rows.ts';
import {
  identityRows,
  inboxRows,
  outboxRows,
  prekeys,
  quarantineRows,
  sessions,
} from '../../src/store/tables.ts';
import type { Incoming } from '../../src/transport/request.ts';
import { settle } from '../support/clock.ts';
import { envelopeFrom, introduce, makePeer, wireEnvelope } from '../support/peer.ts';
import { FaultyStore } from '../support/store-faults.ts';
import { NOW, inboxOf, delivery, incoming, all, text, pair, gated } from './receiving.ts';

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
