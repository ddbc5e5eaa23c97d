/** What the framework takes of a content before any handler sees it. */
import { describe, expect, it } from 'vitest';
import { parseTag, ANNOUNCE, encodeAnnouncement } from '../../src/content/app-message.ts';
import { decodeContent } from '../../src/content/content.ts';
import { encodeApp, encodeNull, encodeText, encodeTranscript } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { own, type Bytes } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import type { Identity } from '../../src/store/identity-row.ts';
import {
  account,
  contacts,
  facts,
  identityRows,
  owedReceipts,
  peers,
  sentLog,
} from '../../src/store/tables.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { envelopeFrom, makePeer, wireEnvelope, type Peer } from '../support/peer.ts';
import { NOW, TAG, inboxOf, delivery, all, text, pair, type Inbox } from './receiving.ts';

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
