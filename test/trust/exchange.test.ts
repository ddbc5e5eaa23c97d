/** What trust does to what comes: parked, dropped, opened in the end. */
import { describe, expect, it } from 'vitest';
import { own } from '../../src/bytes.ts';
import { encodeText } from '../../src/content/encode.ts';
import { MAX_PARKED } from '../../src/inbox/parking.ts';
import {
  identityRows,
  outboxRows,
  parkedRows,
  quarantineRows,
  senderKeys,
  sessions,
} from '../../src/store/tables.ts';
import { acceptIdentity, compareSafetyNumber, revokeIdentity } from '../../src/trust/operator.ts';
import { trustTransaction } from '../../src/trust/transaction.ts';
import { envelopeFrom } from '../support/peer.ts';
import {
  changed,
  heard,
  inPlaceOf,
  keyOf,
  nextTime,
  pair,
  pin,
  PROOF,
  rows,
  say,
  stateOf,
} from '../support/exchange.ts';
import { until } from '../support/until.ts';

describe('a contact whose key has changed', () => {
  it('V-31: is parked before any state is written, and opened in order once accepted', async () => {
    const { alice, other } = await changed(['one', 'two', 'three']);
    const before = await sessions.get(alice.peer.store.batch(), 'aci', other.peer.aci, 2);
    expect(await alice.receive()).toEqual(['parked', 'parked', 'parked']);
    expect(await stateOf(alice, other)).toBe('changed');
    expect(await sessions.get(alice.peer.store.batch(), 'aci', other.peer.aci, 2)).toEqual(before);
    expect(await heard(alice)).toEqual(['it is me']);
    expect(alice.events).toContainEqual(expect.objectContaining({ kind: 'changed', wasVerified: false }));
    await alice.replay();
    expect(await heard(alice)).toEqual(['it is me']);

    expect(await acceptIdentity(alice.trust, other.peer.aci)).toMatchObject({ state: 'tofu' });
    await alice.replay();
    expect(await heard(alice)).toEqual(['it is me', 'one', 'two', 'three']);
    expect(await rows(alice, parkedRows.key())).toBe(0);
    expect(await say(alice, other, 'welcome')).toMatchObject({ kind: 'delivered' });
  });

  it('V-31: keeps the newest hundred of one contact', async () => {
    expect(MAX_PARKED).toBe(100);
    const { alice, other } = await changed(['the oldest']);
    await alice.receive();
    for (let i = 0; i < MAX_PARKED + 4; i++) {
      const timestamp = nextTime();
      const body = await envelopeFrom(other.peer, alice.peer, encodeText(`text ${String(i)}`, timestamp), {
        timestamp,
      });
      await alice.receiver.accept({
        body,
        serverTime: undefined,
        ack: () => undefined,
        abandon: () => undefined,
      });
    }
    expect(await rows(alice, parkedRows.key())).toBe(MAX_PARKED);
    await acceptIdentity(alice.trust, other.peer.aci);
    await alice.replay();
    expect((await heard(alice)).slice(0, 3)).toEqual(['it is me', 'text 4', 'text 5']);
  });

  it('keeps no more of one contact than fit in 8 MiB', async () => {
    const { alice, other } = await changed(['the oldest']);
    await alice.receive();
    // A field that no version knows, of 1 MiB.
    const ballast = Buffer.concat([Buffer.from('c23e808040', 'hex'), Buffer.alloc(1024 * 1024)]);
    for (let i = 0; i < 9; i++) {
      const timestamp = nextTime();
      const body = await envelopeFrom(other.peer, alice.peer, encodeText(`text ${String(i)}`, timestamp), {
        timestamp,
      });
      await alice.receiver.accept({
        body: own(Buffer.concat([body, ballast])),
        serverTime: undefined,
        ack: () => undefined,
        abandon: () => undefined,
      });
    }
    expect(await rows(alice, parkedRows.key())).toBe(7);
  });

  it('V-33: holds what is written to it, and sends that once it is verified', async () => {
    const { alice, other } = await changed(['one']);
    await alice.receive();
    alice.outbox.start();
    const timestamp = nextTime();
    const content = encodeText('a secret', timestamp);
    const row = await alice.outbox.leave({ recipient: other.peer.aci, timestamp, kind: 'text', content });
    await until(() => alice.outbox.ended.length === 1);
    expect(alice.outbox.ended[0]?.end).toMatchObject({
      state: 'failed',
      error: { code: 'IDENTITY_CHANGED' },
    });
    expect(await outboxRows.get(alice.peer.store.batch(), row.recipient, timestamp)).toMatchObject({
      state: 'held',
    });

    const { digits } = await compareSafetyNumber(other.trust, alice.peer.aci);
    const wrong = digits.replace(/^./, (digit) => String((Number(digit) + 1) % 10));
    expect(await compareSafetyNumber(alice.trust, other.peer.aci, wrong)).toMatchObject({ match: false });
    expect(await compareSafetyNumber(alice.trust, other.peer.aci, digits)).toMatchObject({
      candidateDigits: digits,
      match: true,
      state: 'verified',
    });
    await until(() => alice.outbox.ended.length === 3); // our own devices hear of it too
    const ends = alice.outbox.ended.slice(1).map(({ row: { kind }, end }) => `${kind} ${end.state}`);
    expect(ends.sort()).toEqual(['sync sent', 'text sent']);
    expect(await stateOf(alice, other)).toBe('verified');
    await alice.outbox.stop();
  });

  it('V-29: keeps a verified pin, whatever the directory gives', async () => {
    const { hub, alice, bob } = await pair();
    await say(alice, bob, 'hello');
    await pin(alice, bob.peer.aci, keyOf(bob.peer));
    const other = await inPlaceOf(hub, bob);
    expect(await say(alice, other, 'again')).toMatchObject({
      kind: 'held',
      error: { code: 'IDENTITY_CHANGED' },
    });
    expect(await identityRows.get(alice.peer.store.batch(), bob.peer.aci)).toMatchObject({
      state: 'changed',
      verified: true,
      key: bob.peer.account.identity.publicKey,
      candidate: other.peer.account.identity.publicKey,
    });
  });
});

describe('a key that is revoked', () => {
  it('is dropped on receipt, and nothing is sent under it', async () => {
    const { alice, bob } = await pair();
    await say(bob, alice, 'hello');
    await alice.receive();
    expect(await revokeIdentity(alice.trust, bob.peer.aci)).toMatchObject({ state: 'revoked' });
    await say(bob, alice, 'still me');
    expect(await alice.receive()).toEqual(['dropped']);
    expect(await say(alice, bob, 'no')).toMatchObject({ kind: 'held', error: { code: 'IDENTITY_CHANGED' } });
    expect(await rows(alice, quarantineRows.key())).toBe(0);
  });

  it('V-14: does not bring a healed contact into doubt when it comes again', async () => {
    const { hub, alice, bob } = await pair();
    const middle = await inPlaceOf(hub, bob);
    await say(middle, alice, 'I am Bob');
    await alice.receive();
    const batch = alice.peer.store.batch();
    const { identities, sessions: writes } = trustTransaction(alice.trust, batch);
    const found = { kind: 'substituted', falseKey: keyOf(middle.peer) } as const;
    expect(await identities.pin(bob.peer.aci, keyOf(bob.peer), PROOF, { found })).toBe('verified');
    await writes.deleteAll(bob.peer.aci);
    await batch.commit();
    alice.trust.desk.committed(batch);
    expect(alice.events).toContainEqual(
      expect.objectContaining({ kind: 'substituted', key: keyOf(bob.peer) }),
    );

    await say(middle, alice, 'believe me');
    expect(await alice.receive()).toEqual(['dropped']);
    expect(await stateOf(alice, bob)).toBe('verified');
    hub.remove(middle.peer);
    hub.add(bob.peer);
    expect(await say(alice, bob, 'now to the right one')).toMatchObject({ kind: 'delivered' });
  });
});

describe('what healing deletes', () => {
  it('V-30: old states of a session do not survive healing, nor do sender keys', async () => {
    const { alice, bob } = await pair();
    await say(bob, alice, 'hello');
    await alice.receive();
    const { store } = alice.peer;
    const before = store.batch();
    senderKeys.put(before, bob.peer.aci, 2, 'a distribution id', new Uint8Array([1]));
    await before.commit();
    const batch = store.batch();
    await trustTransaction(alice.trust, batch).sessions.deleteAll(bob.peer.aci);
    await batch.commit();
    expect(await sessions.get(store.batch(), 'aci', bob.peer.aci, 2)).toBeUndefined();
    expect(await rows(alice, senderKeys.key())).toBe(0);
    await say(bob, alice, 'late');
    expect((await alice.receive())[0]).not.toBe('stored');
  });
});
