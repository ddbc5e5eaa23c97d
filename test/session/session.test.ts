import { PublicKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64, type Bytes } from '../../src/bytes.ts';
import { encodeNull, encodeText } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { signal } from '../../src/proto/messages.js';
import { HINT, type Identified } from '../../src/session/identify.ts';
import type { Opened, Seal } from '../../src/session/session.ts';
import { identityRows, peers, prekeys, sessions } from '../../src/store/tables.ts';
import { acceptIdentity } from '../../src/trust/operator.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { trustOf } from '../support/trust.ts';
import { envelopeFrom, introduce, keyPair, makePeer, wireEnvelope, type Peer } from '../support/peer.ts';

const NOW = 1_700_000_000_000;

async function identified(to: Peer, wire: Bytes): Promise<Identified> {
  const result = await to.session.identify(decodeEnvelope(wire));
  if (result.kind !== 'message') throw new Error(`not a message: ${JSON.stringify(result)}`);
  return result;
}

async function open(to: Peer, wire: Bytes): Promise<Opened> {
  const message = await identified(to, wire);
  const batch = to.store.batch();
  const opened = await to.session.open(batch, message, decodeEnvelope(wire).timestamp);
  if (opened.kind === 'opened') await batch.commit();
  return opened;
}

function trustRoot(): { root: Bytes; certify: (peer: Peer, expires: number) => SenderCertificate } {
  const root = keyPair();
  const server = keyPair();
  const certificate = ServerCertificate.new(1, server.key.getPublicKey(), root.key);
  return {
    root: fromBase64(root.publicKey),
    certify: ({ account }, expires) =>
      SenderCertificate.new(
        account.aci,
        null,
        account.deviceId,
        PublicKey.deserialize(fromBase64(account.identity.publicKey)),
        expires,
        certificate,
        server.key,
      ),
  };
}

describe('Session', () => {
  it('opens what another device sealed, both ways, and keeps the ratchet in the store', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    const first = await open(
      bob,
      await envelopeFrom(alice, bob, encodeText('hello', NOW), { timestamp: NOW }),
    );
    expect(first).toMatchObject({
      kind: 'opened',
      prekey: true,
      parts: { content: { kind: 'text', text: 'hello' } },
    });
    const back = await envelopeFrom(bob, alice, encodeText('hi', NOW + 1), { timestamp: NOW + 1 });
    expect(await open(alice, back)).toMatchObject({
      kind: 'opened',
      prekey: false,
      parts: { content: { text: 'hi' } },
    });
    const third = await envelopeFrom(alice, bob, encodeText('again', NOW + 2), { timestamp: NOW + 2 });
    expect(decodeEnvelope(third).type).toBe(1);
    expect(await open(bob, third)).toMatchObject({ kind: 'opened', prekey: false });
  });

  it('marks a used one-time EC key and keeps its private half, deletes the Kyber key', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    await open(bob, await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW }));
    const batch = bob.store.batch();
    expect((await prekeys.get(batch, 'aci', 'ec', 100))?.usedAt).toBeGreaterThan(0);
    expect(await prekeys.get(batch, 'aci', 'kyber', 200)).toBeUndefined();
  });

  it('opens a second prekey message that was built on the same one-time EC key', async () => {
    const [alice, carol, bob] = [await makePeer(), await makePeer(), await makePeer()];
    const bundle = bob.bundle();
    const other = bob.bundle();
    for (const [peer, kyberPrekey] of [
      [alice, bundle.devices[0]?.kyberPrekey],
      [carol, other.devices[0]?.kyberPrekey],
    ] as const) {
      const batch = peer.store.batch();
      const device = bundle.devices[0];
      if (device === undefined || kyberPrekey === undefined) throw new Error('no device');
      await peer.session.begin(batch, bob.aci, bundle.identityKey, { ...device, kyberPrekey });
      await batch.commit();
      const wire = await envelopeFrom(peer, bob, encodeText('same key', NOW), { timestamp: NOW });
      expect(await open(bob, wire)).toMatchObject({ kind: 'opened' });
    }
  });

  it('takes the last-resort key when the others are gone, and the same use of it only once', async () => {
    const bob = await makePeer({ oneTimeKeys: 0 });
    const alice = await makePeer();
    const wire = await envelopeFrom(alice, bob, encodeText('last', NOW), { timestamp: NOW });
    expect(await open(bob, wire)).toMatchObject({ kind: 'opened' });
    // The session is lost, the message is replayed: without it the same base key must not make a session again.
    const batch = bob.store.batch();
    sessions.delete(batch, 'aci', alice.aci, alice.account.deviceId);
    await batch.commit();
    expect(await open(bob, wire)).toMatchObject({ kind: 'unreadable' });
  });

  it('finds a replay to be a duplicate', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    const wire = await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW });
    await open(bob, wire);
    expect(await open(bob, wire)).toEqual({ kind: 'duplicate' });
  });

  it('leaves nothing that may be committed after a failure, and asks for the message again', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    await open(bob, await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW }));
    await open(alice, await envelopeFrom(bob, alice, encodeText('y', NOW), { timestamp: NOW }));
    const wire = await envelopeFrom(alice, bob, encodeText('z', NOW), { timestamp: NOW });
    const broken = decodeEnvelope(new Uint8Array(wire));
    broken.content[broken.content.length - 1] = (broken.content.at(-1) ?? 0) ^ 1;
    const opened = await open(bob, wireEnvelope(alice, bob, 1, broken.content, { timestamp: NOW }));
    expect(opened).toMatchObject({ kind: 'unreadable' });
    expect(opened.kind === 'unreadable' && opened.retry?.[0]).toBe(0xc0);
    expect(await open(bob, wire)).toMatchObject({ kind: 'opened' });
  });

  it('notes a changed identity key and refuses to send until it is accepted', async () => {
    const [alice, bob, impostor] = [await makePeer(), await makePeer(), await makePeer()];
    await introduce(alice, bob);
    const { identityKey, devices } = impostor.bundle();
    const device = devices[0];
    if (device === undefined) throw new Error('no device');
    const batch = alice.store.batch();
    await expect(alice.session.begin(batch, bob.aci, identityKey, device)).rejects.toMatchObject({
      code: 'IDENTITY_CHANGED',
    });
    await batch.commit();
    expect(await identityRows.get(alice.store.batch(), bob.aci)).toMatchObject({ state: 'changed' });
    await expect(
      alice.session.seal(
        alice.store.batch(),
        { serviceId: bob.aci, deviceId: 2 },
        encodeText('x', NOW),
        undefined,
      ),
    ).rejects.toMatchObject({ code: 'IDENTITY_CHANGED' });
    await acceptIdentity(await trustOf(alice), bob.aci);
    const again = alice.store.batch();
    await alice.session.begin(again, bob.aci, identityKey, device);
  });

  it('reports the untrusted key of a prekey message and opens nothing', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    await open(bob, await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW }));
    const impostor = await makePeer();
    const forged = await envelopeFrom(impostor, bob, encodeText('it is me', NOW), { timestamp: NOW });
    const wire = wireEnvelope(alice, bob, 3, decodeEnvelope(forged).content, { timestamp: NOW });
    const opened = await open(bob, wire);
    expect(opened).toMatchObject({ kind: 'unreadable', retry: undefined });
    expect(opened.kind === 'unreadable' && opened.untrusted).toEqual(
      fromBase64(impostor.account.identity.publicKey),
    );
  });

  it('begins no session from a bundle whose signature is wrong', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    const { identityKey, devices } = bob.bundle();
    const device = devices[0];
    if (device === undefined) throw new Error('no device');
    const signature = Uint8Array.from(device.signedPrekey.signature, (byte, i) =>
      i === 9 ? byte ^ 1 : byte,
    );
    const bad = { ...device, signedPrekey: { ...device.signedPrekey, signature } };
    await expect(alice.session.begin(alice.store.batch(), bob.aci, identityKey, bad)).rejects.toMatchObject({
      code: 'CONTENT_INVALID',
    });
  });

  it('forgets the tags of a device that was relinked', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    await introduce(alice, bob);
    const batch = alice.store.batch();
    const row = await peers.get(batch, 'aci', bob.aci);
    peers.put(batch, 'aci', bob.aci, { devices: (row?.devices ?? []).map((d) => ({ ...d, tags: ['a/1'] })) });
    await batch.commit();
    const relinked = await makePeer({ deviceOf: bob.account });
    await introduce(alice, relinked);
    expect((await peers.get(alice.store.batch(), 'aci', bob.aci))?.devices).toEqual([
      { id: 2, registrationId: relinked.account.registrationId },
    ]);
  });

  describe('sealed sender', () => {
    const clock = new ManualClock(NOW);
    const platform = testPlatform({ clock });

    async function pair(): Promise<{ alice: Peer; bob: Peer; seal: Seal; expired: Seal; foreign: Seal }> {
      const { root, certify } = trustRoot();
      const alice = await makePeer({ platform });
      const bob = await makePeer({ platform, trustRoots: [root] });
      const hint = HINT.RESENDABLE;
      return {
        alice,
        bob,
        seal: { certificate: certify(alice, NOW + 1000), hint },
        expired: { certificate: certify(alice, NOW - 1), hint },
        foreign: { certificate: trustRoot().certify(alice, NOW + 1000), hint },
      };
    }

    it('opens and names the sender from the certificate', async () => {
      const { alice, bob, seal } = await pair();
      const wire = await envelopeFrom(alice, bob, encodeText('sealed', NOW), { timestamp: NOW, seal });
      expect(decodeEnvelope(wire)).toMatchObject({ type: 6, source: undefined });
      expect(await identified(bob, wire)).toMatchObject({
        source: { serviceId: alice.aci, deviceId: 2 },
        sealed: true,
      });
      expect(await open(bob, wire)).toMatchObject({ kind: 'opened', parts: { content: { text: 'sealed' } } });
    });

    it.each(['expired', 'foreign'] as const)('refuses a certificate that is %s', async (which) => {
      const all = await pair();
      const wire = await envelopeFrom(all.alice, all.bob, encodeText('x', NOW), {
        timestamp: NOW,
        seal: all[which],
      });
      expect(await all.bob.session.identify(decodeEnvelope(wire))).toMatchObject({ kind: 'unreadable' });
    });

    it('refuses a certificate that was good once, when its time is over', async () => {
      const { alice, bob, seal } = await pair();
      const wire = await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW, seal });
      await identified(bob, wire);
      const late = await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW + 2000, seal });
      expect(await bob.session.identify(decodeEnvelope(late))).toMatchObject({ kind: 'unreadable' });
    });

    it('opens nothing sealed where the profile has no trust roots', async () => {
      const { alice, seal } = await pair();
      const carol = await makePeer({ platform });
      const wire = await envelopeFrom(alice, carol, encodeText('x', NOW), { timestamp: NOW, seal });
      expect(await carol.session.identify(decodeEnvelope(wire))).toMatchObject({ kind: 'unreadable' });
    });

    it('drops what names this very device', async () => {
      const { root, certify } = trustRoot();
      const bob = await makePeer({ platform, trustRoots: [root] });
      const alice = await makePeer({ platform });
      // Alice has come by a certificate of Bob's own device.
      const seal = { certificate: certify(bob, NOW + 1000), hint: HINT.RESENDABLE };
      const wire = await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW, seal });
      const result = await bob.session.identify(decodeEnvelope(wire));
      expect(['dropped', 'unreadable']).toContain(result.kind);
    });
  });

  describe('acceptance rules', () => {
    it.each([
      ['to another account', { destinationServiceIdBinary: new Uint8Array(16).fill(9) }],
      ['a story', { story: true }],
      ['of an unknown type', { type: 0 }],
      ['without content', { content: new Uint8Array(0) }],
      ['from a PNI', { sourceServiceId: 'PNI:00000000-0000-4000-8000-000000000001' }],
      ['without a source', { sourceServiceId: null, sourceDevice: null }],
    ])('drops an envelope %s', async (_, change) => {
      const [alice, bob] = [await makePeer(), await makePeer()];
      const wire = await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW });
      const fields = Object.assign(signal.Envelope.decode(wire), change);
      const changed = new Uint8Array(signal.Envelope.encode(fields).finish());
      expect(await bob.session.identify(decodeEnvelope(changed))).toMatchObject({ kind: 'dropped' });
    });

    it('takes only prekey messages to the PNI', async () => {
      const [alice, bob] = [await makePeer(), await makePeer()];
      const wire = await envelopeFrom(alice, bob, encodeText('x', NOW), { timestamp: NOW });
      const envelope = { ...decodeEnvelope(wire), destination: bob.account.pni ?? undefined };
      expect(await bob.session.identify(envelope)).toMatchObject({ kind: 'message', to: 'pni' });
      expect(await bob.session.identify({ ...envelope, type: 1 })).toMatchObject({ kind: 'dropped' });
      expect(await bob.session.identify({ ...envelope, type: 6 })).toMatchObject({ kind: 'dropped' });
    });

    it('takes unencrypted content only as a retry request', async () => {
      const [alice, bob] = [await makePeer(), await makePeer()];
      const text = encodeText('not encrypted', NOW);
      const plaintext = Uint8Array.of(0xc0, ...text, 0x80);
      const wire = wireEnvelope(alice, bob, 8, plaintext, { timestamp: NOW });
      expect(await open(bob, wire)).toMatchObject({ kind: 'unreadable', retry: undefined });
    });

    it('takes a retry request only unencrypted', async () => {
      const [alice, bob] = [await makePeer(), await makePeer()];
      const content = new Uint8Array(
        signal.Content.encode({ decryptionErrorMessage: Uint8Array.of(1) }).finish(),
      );
      expect(await open(bob, await envelopeFrom(alice, bob, content, { timestamp: NOW }))).toMatchObject({
        kind: 'unreadable',
      });
    });
  });

  it('seals nothing without a session, and needs a new one after an archive', async () => {
    const [alice, bob] = [await makePeer(), await makePeer()];
    const to = { serviceId: bob.aci, deviceId: 2 };
    const content = encodeNull(new Uint8Array(3));
    expect(await alice.session.seal(alice.store.batch(), to, content, undefined)).toBeUndefined();
    await introduce(alice, bob);
    const batch = alice.store.batch();
    expect(await alice.session.seal(batch, to, content, undefined)).toMatchObject({ type: 3 });
    expect(await alice.session.archive(batch, to)).toBe(true);
    expect(await alice.session.seal(batch, to, content, undefined)).toBeUndefined();
  });

  it('runs work in one lane in order and lets other lanes pass', async () => {
    const { session, aci } = await makePeer();
    const other = await makePeer();
    const order: string[] = [];
    const slow = session.exclusive(aci, async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push('first');
    });
    const second = session.exclusive(aci, () => Promise.resolve(order.push('second')));
    const beside = session.exclusive(other.aci, () => Promise.resolve(order.push('beside')));
    await Promise.all([slow, second, beside]);
    expect(order).toEqual(['beside', 'first', 'second']);
  });
});
