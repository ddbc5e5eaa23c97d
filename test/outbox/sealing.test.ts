import { PublicKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { facts, peers } from '../../src/store/tables.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { Hub } from '../support/hub.ts';
import { outboxOf, read } from '../support/outbox.ts';
import { leaveText, NOW, until, type OutboxScene } from '../support/outbox-scene.ts';
import { keyPair, makePeer } from '../support/peer.ts';

async function sealedScene(): Promise<OutboxScene> {
  const clock = new ManualClock(NOW);
  const platform = testPlatform({ clock });
  const [root, server] = [keyPair(), keyPair()];
  const trustRoots = [fromBase64(root.publicKey)];
  const [alice, bob] = [await makePeer({ platform, trustRoots }), await makePeer({ platform, trustRoots })];
  const { aci, account } = alice;
  const key = PublicKey.deserialize(fromBase64(account.identity.publicKey));
  const signer = ServerCertificate.new(1, server.key.getPublicKey(), root.key);
  const expiresAt = NOW + 3_600_000;
  const certificate = SenderCertificate.new(aci, null, account.deviceId, key, expiresAt, signer, server.key);
  const batch = alice.store.batch();
  facts.put(batch, 'senderCertificate', { certificate: toBase64(certificate.serialize()), expiresAt });
  peers.put(batch, 'aci', bob.aci, {
    devices: [],
    profileKey: toBase64(new Uint8Array(32).fill(5)),
    sealed: 'unknown',
  });
  await batch.commit();
  const hub = new Hub().add(alice, bob);
  return { clock, hub, alice, bob, outbox: outboxOf(alice, hub, { sealed: true }) };
}

describe('Sealing', () => {
  it('seals for a recipient whose profile key is known, and fetches keys with the access key', async () => {
    const all = await sealedScene();
    await leaveText(all, NOW + 1);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(all.hub.letters).toMatchObject([{ type: 6 }]);
    expect(all.hub.requests.every(({ headers }) => headers?.['unidentified-access-key'] !== undefined)).toBe(
      true,
    );
    expect(await read(all.bob, all.hub.letters[0]?.envelope ?? new Uint8Array(0))).toMatchObject({
      kind: 'text',
    });
  });

  it('has no pace of its own when sealed', async () => {
    const all = await sealedScene();
    for (let n = 1; n <= 70; n++) await leaveText(all, NOW + n);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 70);
    await all.outbox.stop();
  });

  it('falls back to unsealed when the access key is refused, and stays there', async () => {
    const all = await sealedScene();
    all.hub.before = ({ headers }) =>
      headers?.['unidentified-access-key'] === undefined ? undefined : { status: 401 };
    await leaveText(all, NOW + 1);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(all.hub.letters).toMatchObject([{ type: 3 }]);
    expect(await peers.get(all.alice.store.batch(), 'aci', all.bob.aci)).toMatchObject({ sealed: 'refused' });
  });

  it('goes unsealed when the certificate has expired', async () => {
    const all = await sealedScene();
    await all.clock.advance(3_600_001);
    await leaveText(all, NOW + 1);
    all.outbox.start();
    await until(() => all.outbox.ended.length === 1);
    await all.outbox.stop();
    expect(all.hub.letters).toMatchObject([{ type: 3 }]);
  });
});
