/** What goes all the same: frames by the carrier, and what policy, guards and holds leave of the rest. */
import { describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { parseTag } from '../../src/content/app-message.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import { BotError } from '../../src/errors.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { carrierSessions, outboxRows, sessions } from '../../src/store/tables.ts';
import { trustTransaction } from '../../src/trust/transaction.ts';
import { makePeer } from '../support/peer.ts';
import {
  changed,
  deliver,
  frame,
  heard,
  keyOf,
  leave,
  nextTime,
  pair,
  pin,
  PROOF,
  rows,
  say,
  stateOf,
} from '../support/exchange.ts';

describe('the carrier', () => {
  it('brings frames to and from a contact in changed, and nothing else', async () => {
    const { alice, other } = await changed(['parked']);
    expect(await frame(other, alice, 'OFFER')).toMatchObject({ kind: 'delivered' });
    expect(await alice.receive()).toEqual(['parked', 'stored']);
    const [, row] = await alice.inbox();
    expect(toBase64(row?.row.identityKey ?? new Uint8Array())).toBe(other.peer.account.identity.publicKey);

    expect(await frame(alice, other, 'REPLY')).toMatchObject({ kind: 'delivered' });
    await other.receive();
    expect(await heard(other)).toEqual(['REPLY']);
    // By now the other's session is answered: what it says goes by the same ratchet, and is parked all the same.
    await say(other, alice, 'a text');
    expect(await alice.receive()).toEqual(['parked']);

    await pin(alice, other.peer.aci, keyOf(other.peer));
    await alice.replay();
    expect(await heard(alice)).toEqual(['it is me', 'OFFER', 'parked', 'a text']);
  });

  it('keeps closed what was parked under a key that another one has taken the place of', async () => {
    const { alice, bob, other } = await changed(['parked']);
    await alice.receive();
    // The frame leaves a session in the carrier, in which the text that is parked could be read.
    await frame(other, alice, 'OFFER');
    await say(other, alice, 'a text');
    expect(await alice.receive()).toEqual(['stored', 'parked']);
    await pin(alice, bob.peer.aci, keyOf(bob.peer));
    expect(await stateOf(alice, bob)).toBe('verified');
    await alice.replay();
    expect(await heard(alice)).toEqual(['it is me', 'OFFER']);
  });

  it('takes the sessions of a healed contact, and brings ACCEPT to one who has not healed yet', async () => {
    const { hub, alice, bob } = await pair();
    await say(alice, bob, 'hello');
    await bob.receive();
    await say(bob, alice, 'hello yourself');
    await alice.receive();
    hub.add(await makePeer({ aci: alice.peer.aci, deviceId: 3 })); // the directory lies about another device

    const batch = bob.peer.store.batch();
    const { sessions: writes, identities } = trustTransaction(bob.trust, batch);
    await identities.pin(alice.peer.aci, keyOf(alice.peer), PROOF);
    await writes.moveToCarrier(alice.peer.aci);
    await batch.commit();
    expect(await sessions.get(bob.peer.store.batch(), 'aci', alice.peer.aci, 2)).toBeUndefined();
    expect(await frame(bob, alice, 'ACCEPT', { carrier: true, devices: [2] })).toMatchObject({
      kind: 'delivered',
      devices: [2],
    });
    expect(await stateOf(bob, alice)).toBe('verified');
    await alice.receive();
    expect(await heard(alice)).toEqual(['hello yourself', 'ACCEPT']);

    const over = bob.peer.store.batch();
    await trustTransaction(bob.trust, over).sessions.carrier(alice.peer.aci).end();
    await over.commit();
    expect(await rows(bob, carrierSessions.key())).toBe(0);
  });

  it('lets a filler go to a false key, so that the device list stops no frame', async () => {
    const { hub, alice, bob } = await pair();
    await say(alice, bob, 'hello');
    await pin(alice, bob.peer.aci, keyOf(bob.peer));
    const liar = await makePeer({ aci: bob.peer.aci, deviceId: 5 });
    hub.add(liar);
    expect(await frame(alice, bob, 'DONE', { devices: [2] })).toMatchObject({
      kind: 'delivered',
      devices: [2],
    });
    expect(await stateOf(alice, bob)).toBe('verified');
    expect(await say(alice, bob, 'a text')).toMatchObject({
      kind: 'held',
      error: { code: 'IDENTITY_CHANGED' },
    });
  });
});

describe('policy and guard of what is sent', () => {
  it('V-32: a message that asks for a verified contact waits for the verification', async () => {
    const { alice, bob } = await pair();
    await say(alice, bob, 'hello');
    expect(await say(alice, bob, 'the plan', 'verified')).toMatchObject({
      kind: 'held',
      error: { code: 'PEER_UNVERIFIED' },
    });
    const timestamp = nextTime();
    const row = {
      recipient: bob.peer.aci,
      timestamp,
      kind: 'text',
      content: encodeText('x', timestamp),
    } as const;
    const left = await leave(alice, { ...row, policy: 'verified' });
    const held = alice.peer.store.batch();
    outboxRows.put(held, left.recipient, timestamp, { ...left, state: 'held', error: 'PEER_UNVERIFIED' });
    await held.commit();
    await pin(alice, bob.peer.aci, keyOf(bob.peer));
    const now = await outboxRows.get(alice.peer.store.batch(), left.recipient, timestamp);
    expect(now).toMatchObject({ state: 'queued', error: '' });
    expect(now && (await deliver(alice, now))).toMatchObject({ kind: 'delivered' });
  });

  it('V-20: a guard refuses a text before it is sealed, and only texts', async () => {
    const { hub, alice, bob } = await pair();
    await say(alice, bob, 'hello');
    const asked: string[] = [];
    alice.trust.guards.push(({ text }) => {
      asked.push(text);
      return text.includes('482913') ? new BotError('CONTENT_INVALID', 'this is a code') : undefined;
    });
    const sent = hub.letters.length;
    expect(await say(alice, bob, 'it is 482913')).toMatchObject({
      kind: 'failed',
      error: { message: 'this is a code' },
    });
    expect(hub.letters).toHaveLength(sent);
    expect(await say(alice, bob, 'call me')).toMatchObject({ kind: 'delivered' });
    const chess = parseTag('example.org/chess/1');
    const content = encodeApp(chess, Buffer.from('482913'));
    const row = newRow({ recipient: bob.peer.aci, timestamp: nextTime(), kind: 'app', tag: chess, content });
    expect(await deliver(alice, row)).toMatchObject({ kind: 'delivered' });
    expect(asked).toEqual(['it is 482913', 'call me']);
  });

  it('holds a contact on the word of a plugin, frames excepted, until it is released', async () => {
    const { alice, bob } = await pair();
    await say(alice, bob, 'hello');
    const batch = alice.peer.store.batch();
    await trustTransaction(alice.trust, batch).outbox.hold(bob.peer.aci, 'PEER_UNVERIFIED');
    await batch.commit();
    expect(await say(alice, bob, 'wait')).toMatchObject({ kind: 'held', error: { code: 'PEER_UNVERIFIED' } });
    expect(await frame(alice, bob, 'PROOF')).toMatchObject({ kind: 'delivered' });
    const free = alice.peer.store.batch();
    await trustTransaction(alice.trust, free).outbox.release(bob.peer.aci);
    await free.commit();
    expect(await say(alice, bob, 'go')).toMatchObject({ kind: 'delivered' });
  });
});

it('V-14: the inbox row keeps the key under which a message was opened', async () => {
  const { alice, bob } = await pair();
  await say(bob, alice, 'hello');
  await alice.receive();
  const [row] = await alice.inbox();
  expect(toBase64(row?.row.identityKey ?? new Uint8Array())).toBe(bob.peer.account.identity.publicKey);
});
