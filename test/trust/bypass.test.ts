/** V-30: the paths on which libsignal asks for no trust, each held to the same check. */
import { ProtocolAddress, SenderKeyDistributionMessage } from '@signalapp/libsignal-client';
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import { fromBase64, own } from '../../src/bytes.ts';
import { encodeText } from '../../src/content/encode.ts';
import { pad } from '../../src/content/padding.ts';
import { signal } from '../../src/proto/messages.js';
import { BatchSenderKeyStore } from '../../src/session/libsignal-stores.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { contacts, identityRows, outboxRows, senderKeys, sentLog, sessions } from '../../src/store/tables.ts';
import { trustTransaction } from '../../src/trust/transaction.ts';
import { Hub } from '../support/hub.ts';
import { makePeer, type Peer } from '../support/peer.ts';
import { stationOf, type Station } from '../support/station.ts';

const TIME = 1_800_000_000_000;

async function pair(): Promise<{ hub: Hub; alice: Station; bob: Station }> {
  const [a, b] = [await makePeer(), await makePeer()];
  const hub = new Hub().add(a, b);
  return { hub, alice: await stationOf(hub, a), bob: await stationOf(hub, b) };
}

function textTo({ peer }: Station, more: Partial<Parameters<typeof newRow>[0]> = {}): OutboxRow {
  return newRow({
    recipient: peer.aci,
    timestamp: TIME,
    kind: 'text',
    content: encodeText('!', TIME),
    ...more,
  });
}

const deliver = (from: Station, row: OutboxRow): ReturnType<Station['outbox']['sesame']['deliver']> =>
  from.outbox.sesame.deliver(row, AbortSignal.timeout(10_000));

/** What is held of somebody, changed without a word to anyone. */
async function setState(
  { peer }: Station,
  about: Station,
  state: 'changed' | 'revoked' | 'tofu' | 'verified',
): Promise<void> {
  const batch = peer.store.batch();
  const { publicKey } = about.peer.account.identity;
  const candidate = state === 'changed' ? { candidate: (await makePeer()).account.identity.publicKey } : {};
  identityRows.put(batch, about.peer.aci, { key: publicKey, state, since: 1, ...candidate });
  await batch.commit();
}

/** A sender key of this peer, as it tells others. */
async function distributionOf({ aci, store }: Peer, distributionId: string): Promise<Bytes> {
  const keys = new BatchSenderKeyStore(store.batch());
  const message = await SenderKeyDistributionMessage.create(
    ProtocolAddress.new(aci, 2),
    distributionId,
    keys,
  );
  return own(message.serialize());
}

async function count({ peer }: Station, prefix: string): Promise<number> {
  let rows = 0;
  for await (const [key] of peer.store.scan(prefix)) rows += key === '' ? 0 : 1;
  return rows;
}

describe('sender keys', () => {
  it('V-30: are taken from a message of a session', async () => {
    const { alice, bob } = await pair();
    const distribution = await distributionOf(bob.peer, randomUUID());
    const content = signal.Content.encode({ senderKeyDistributionMessage: distribution }).finish();
    expect(await deliver(bob, textTo(alice, { content: own(content) }))).toMatchObject({ kind: 'delivered' });
    await alice.receive();
    expect(await count(alice, senderKeys.key(bob.peer.aci))).toBe(1);
  });

  it('V-30: are not taken from what is not encrypted: anybody can write that in their name', async () => {
    const { alice, bob } = await pair();
    const content = signal.Content.encode({
      decryptionErrorMessage: Uint8Array.of(1),
      senderKeyDistributionMessage: await distributionOf(bob.peer, randomUUID()),
    }).finish();
    const plaintext = own(Buffer.concat([Uint8Array.of(0xc0), pad(own(content))]));
    const { session, store } = alice.peer;
    const batch = store.batch();
    const source = { serviceId: bob.peer.aci, deviceId: 2 };
    const message = {
      kind: 'message',
      source,
      to: 'aci',
      type: 8,
      sealed: false,
      resendable: false,
    } as const;
    const opened = await session.open(batch, { ...message, ciphertext: plaintext }, TIME);
    expect(opened.kind).toBe('opened');
    await batch.commit();
    expect(await count(alice, senderKeys.key())).toBe(0);
  });

  it.each(['changed', 'revoked'] as const)('V-30: open nothing of a contact in %s', async (state) => {
    const { alice, bob } = await pair();
    await setState(alice, bob, state);
    const source = { serviceId: bob.peer.aci, deviceId: 2 };
    const message = { kind: 'message', source, to: 'aci', type: 7, sealed: true, resendable: true } as const;
    const batch = alice.peer.store.batch();
    const opened = await alice.peer.session.open(batch, { ...message, ciphertext: new Uint8Array(64) }, TIME);
    expect(opened).toEqual({ kind: 'refused', standing: state });
  });

  it('of this device are ended by healing; those that others have sent stay as they are', async () => {
    const { alice, bob } = await pair();
    const { store, aci, account } = alice.peer;
    const before = store.batch();
    for (const device of [account.deviceId, account.deviceId + 1])
      senderKeys.put(before, aci, device, 'a distribution id', new Uint8Array([1]));
    senderKeys.put(before, bob.peer.aci, 2, 'a distribution id', new Uint8Array([1]));
    await before.commit();
    const batch = store.batch();
    await trustTransaction(alice.trust, batch).sessions.rotateSenderKeys();
    await batch.commit();
    const left = store.batch();
    expect(await senderKeys.get(left, aci, account.deviceId, 'a distribution id')).toBeUndefined();
    expect(await senderKeys.get(left, aci, account.deviceId + 1, 'a distribution id')).toBeDefined();
    expect(await senderKeys.get(left, bob.peer.aci, 2, 'a distribution id')).toBeDefined();
  });
});

describe('what is sealed', () => {
  it('V-30: a retry request goes to no contact in changed, though it is not encrypted', async () => {
    const { alice, bob } = await pair();
    await setState(alice, bob, 'changed');
    const row = textTo(bob, { kind: 'retry', plaintext: Uint8Array.of(0xc0) });
    expect(await deliver(alice, row)).toMatchObject({
      ...{ kind: 'held', error: { code: 'IDENTITY_CHANGED' } },
    });
  });

  it.each([
    { state: 'tofu', code: 'PEER_UNVERIFIED' },
    { state: 'changed', code: 'IDENTITY_CHANGED' },
  ] as const)('V-32: is asked again where it is sealed: $state by then', async ({ state, code }) => {
    const { hub, alice, bob } = await pair();
    await setState(alice, bob, 'verified');
    // While the server thinks about the keys, the operator has taken the mark away.
    let changing: Promise<void> | undefined;
    hub.before = ({ verb }) => {
      if (verb === 'GET') changing ??= setState(alice, bob, state);
      return undefined;
    };
    const result = await deliver(alice, textTo(bob, { policy: 'verified' }));
    await changing;
    expect(result).toMatchObject({ kind: 'held', error: { code } });
    expect(hub.letters).toEqual([]);
  });
});

describe('a session that waits for an answer', () => {
  it('is dropped as long as there was none, and kept once there was', async () => {
    const { alice, bob } = await pair();
    const to = { serviceId: bob.peer.aci, deviceId: bob.peer.account.deviceId };
    await deliver(alice, textTo(bob));
    const drop = async (): Promise<boolean> => {
      const batch = alice.peer.store.batch();
      const dropped = await trustTransaction(alice.trust, batch).sessions.dropUnanswered(to);
      await batch.commit();
      return dropped;
    };
    await bob.receive();
    await deliver(bob, textTo(alice));
    await alice.receive();
    const before = await sessions.get(alice.peer.store.batch(), 'aci', to.serviceId, to.deviceId);
    expect(await drop()).toBe(false);
    expect(await sessions.get(alice.peer.store.batch(), 'aci', to.serviceId, to.deviceId)).toEqual(before);

    const carol = await pair();
    await deliver(carol.alice, textTo(carol.bob));
    const batch = carol.alice.peer.store.batch();
    const other = { serviceId: carol.bob.peer.aci, deviceId: carol.bob.peer.account.deviceId };
    expect(await trustTransaction(carol.alice.trust, batch).sessions.dropUnanswered(other)).toBe(true);
    await batch.commit();
    expect(await count(carol.alice, sessions.key('aci', other.serviceId))).toBe(0);
  });
});

describe('a contact', () => {
  it('is known by the contact list, or by evidence for the key, and else by what was sent to it', async () => {
    const { alice, bob } = await pair();
    const acquaintance = (): Promise<string> =>
      trustTransaction(alice.trust, alice.peer.store.batch()).identities.acquaintance(bob.peer.aci);
    await setState(alice, bob, 'tofu');
    expect(await acquaintance()).toBe('stranger');
    const sent = alice.peer.store.batch();
    const content = encodeText('hello', TIME);
    sentLog.put(sent, bob.peer.aci, TIME, { content, sentAt: TIME, devices: [2], urgent: true, tag: '' });
    await sent.commit();
    expect(await acquaintance()).toBe('answered');
    const listed = alice.peer.store.batch();
    contacts.put(listed, bob.peer.aci, { name: 'Bob' });
    await listed.commit();
    expect(await acquaintance()).toBe('known');
    const unlisted = alice.peer.store.batch();
    contacts.delete(unlisted, bob.peer.aci);
    await unlisted.commit();
    const batch = alice.peer.store.batch();
    outboxRows.put(batch, bob.peer.aci, TIME, textTo(bob));
    await trustTransaction(alice.trust, batch).identities.pin(
      bob.peer.aci,
      fromBase64(bob.peer.account.identity.publicKey),
      { kind: 'safety-number', by: 'operator', at: TIME },
    );
    await batch.commit();
    expect(await acquaintance()).toBe('known');
  });
});
