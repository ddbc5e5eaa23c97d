/** What the devices of one account tell each other about whom they have verified (verification brief, section 11). */
import { describe, expect, it } from 'vitest';
import { fromBase64, type Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import { encodeText } from '../../src/content/encode.ts';
import { encodeVerified, readVerified, type Verified } from '../../src/content/verified.ts';
import type { Proof } from '../../src/store/identity-row.ts';
import { identityRows, outboxRows } from '../../src/store/tables.ts';
import { trustTransaction } from '../../src/trust/transaction.ts';
import { Hub } from '../support/hub.ts';
import { envelopeFrom, makePeer, type Peer } from '../support/peer.ts';
import { stationOf, type Station } from '../support/station.ts';

const NOW = 1_800_000_000_000;
const PAKE: Proof = {
  kind: 'pake',
  runId: '00'.repeat(16),
  vh: '00'.repeat(32),
  role: 'B',
  suite: 1,
  codeFormat: 1,
  device: 2,
  at: NOW,
};

interface Scene {
  readonly bot: Station;
  readonly phone: Peer;
  readonly bob: Peer;
}

/** A bot that has heard of Bob, and the phone of its account. */
async function scene(): Promise<Scene> {
  const [peer, bob] = [await makePeer(), await makePeer()];
  const phone = await makePeer({ deviceOf: peer.account, deviceId: 1 });
  const bot = await stationOf(new Hub().add(peer, bob), peer);
  await accept(bot, await envelopeFrom(bob, peer, encodeText('hello', NOW), { timestamp: NOW }));
  return { bot, phone, bob };
}

async function accept(bot: Station, body: Bytes): Promise<string> {
  const delivery = { body, serverTime: undefined, ack: () => undefined, abandon: () => undefined };
  return bot.receiver.accept(delivery);
}

function keyOf({ account }: Peer): Bytes {
  return fromBase64(account.identity.publicKey);
}

let last = NOW;
async function tell({ bot }: Scene, from: Peer, verified: Verified): Promise<string> {
  const timestamp = ++last;
  return accept(bot, await envelopeFrom(from, bot.peer, encodeVerified(verified), { timestamp }));
}

async function told({ peer }: Station): Promise<Verified[]> {
  const found: Verified[] = [];
  for await (const [, row] of outboxRows.scan(peer.store, [peer.aci])) {
    const content = decodeContent(row.content);
    const message =
      content.kind === 'sync' && content.sync.type === 'other' ? content.sync.message : undefined;
    const verified = message && readVerified(message);
    if (verified !== undefined) found.push(verified);
  }
  return found;
}

async function pin({ peer, trust }: Station, bob: Peer, key: Bytes): Promise<void> {
  const batch = peer.store.batch();
  await trustTransaction(trust, batch).identities.pin(bob.aci, key, PAKE);
  await batch.commit();
  trust.desk.committed(batch);
}

describe('Verified', () => {
  it('from our own phone is evidence, if its key equals ours', async () => {
    const all = await scene();
    const { bot, phone, bob } = all;
    await tell(all, phone, { aci: bob.aci, key: keyOf(bob), state: 'verified' });
    expect(await identityRows.get(bot.peer.store.batch(), bob.aci)).toMatchObject({
      state: 'verified',
      evidence: [{ kind: 'safety-number', by: 'sync' }],
    });
    expect(await told(bot)).toEqual([]); // what they told us is not told back
    expect(bot.events).toContainEqual(expect.objectContaining({ kind: 'state', to: 'verified' }));
  });

  it('is believed for no other key, in no other state, and from nobody else', async () => {
    const all = await scene();
    const { bot, phone, bob } = all;
    await tell(all, phone, { aci: bob.aci, key: keyOf(phone), state: 'verified' });
    await tell(all, phone, { aci: bob.aci, key: keyOf(bob), state: 'unverified' });
    await tell(all, phone, { aci: bob.aci, key: keyOf(bob), state: 'default' });
    const stranger = await makePeer();
    await tell(all, stranger, { aci: stranger.aci, key: keyOf(stranger), state: 'verified' });
    await tell(all, bob, { aci: bob.aci, key: keyOf(bob), state: 'verified' });
    expect(await identityRows.get(bot.peer.store.batch(), bob.aci)).toMatchObject({ state: 'tofu' });
    expect(await identityRows.get(bot.peer.store.batch(), stranger.aci)).toMatchObject({ state: 'tofu' });
  });

  it('goes to our own devices when a run has succeeded, and its end when the key changes', async () => {
    const { bot, bob } = await scene();
    await pin(bot, bob, keyOf(bob));
    const verified = { aci: bob.aci, key: keyOf(bob), state: 'verified' } as const;
    expect(await told(bot)).toEqual([verified]);

    const other = await makePeer({ aci: bob.aci });
    const body = await envelopeFrom(other, bot.peer, encodeText('new phone', NOW), { timestamp: ++last });
    expect(await accept(bot, body)).toBe('parked');
    expect(await told(bot)).toEqual([verified, { aci: bob.aci, key: keyOf(other), state: 'unverified' }]);
  });

  it('is on the wire as the official protocol has it', () => {
    const bytes = encodeVerified({
      aci: '9d0652a3-dcc3-4d11-975f-74d61598733f' as Verified['aci'],
      key: new Uint8Array([5, 1]),
      state: 'verified',
    });
    // Content.syncMessage 2, verified 7: key 2, state 3, ACI as text 5 and binary 6
    const text = Buffer.from('9d0652a3-dcc3-4d11-975f-74d61598733f').toString('hex');
    expect(Buffer.from(bytes).toString('hex')).toBe(
      `12403a3e1202050118012a24${text}32109d0652a3dcc34d11975f74d61598733f`,
    );
  });
});
