/** What trust does to messages: parked, dropped, held, let through by the carrier. */
import { describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/bytes.ts';
import { fromBase64, own, toBase64 } from '../../src/bytes.ts';
import { parseTag } from '../../src/content/app-message.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import { BotError } from '../../src/errors.ts';
import { MAX_PARKED } from '../../src/inbox/parking.ts';
import { VERIFY_TAG } from '../../src/session/carrier.ts';
import type { Policy, Proof } from '../../src/store/identity-row.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import {
  carrierSessions,
  identityRows,
  outboxRows,
  parkedRows,
  quarantineRows,
  senderKeys,
  sessions,
  type OutboxRow,
} from '../../src/store/tables.ts';
import { acceptIdentity, compareSafetyNumber, revokeIdentity } from '../../src/trust/operator.ts';
import { trustTransaction } from '../../src/trust/transaction.ts';
import { Hub } from '../support/hub.ts';
import { envelopeFrom, makePeer, type Peer } from '../support/peer.ts';
import { stationOf, type Station } from '../support/station.ts';

let time = 1_800_000_000_000;
const PROOF: Proof = { kind: 'safety-number', by: 'operator', at: 1 };

interface Scene {
  readonly hub: Hub;
  readonly alice: Station;
  readonly bob: Station;
}

async function pair(): Promise<Scene> {
  const [a, b] = [await makePeer(), await makePeer()];
  const hub = new Hub().add(a, b);
  return { hub, alice: await stationOf(hub, a), bob: await stationOf(hub, b) };
}

/** Bob's account with other keys, in his place on the server. */
async function inPlaceOf(hub: Hub, { peer }: Station): Promise<Station> {
  const other = await makePeer({ aci: peer.aci });
  hub.remove(peer);
  hub.add(other);
  return stationOf(hub, other);
}

async function leave(from: Station, row: Parameters<typeof newRow>[0]): Promise<OutboxRow> {
  const made = newRow(row);
  const batch = from.peer.store.batch();
  outboxRows.put(batch, made.recipient, made.timestamp, made);
  await batch.commit();
  return made;
}

async function deliver(from: Station, row: OutboxRow): Promise<{ kind: string; error?: { code: string } }> {
  return from.outbox.sesame.deliver(row, AbortSignal.timeout(10_000));
}

async function say(from: Station, to: Station, text: string, policy?: Policy): ReturnType<typeof deliver> {
  const timestamp = ++time;
  const rule = policy === undefined ? {} : { policy };
  const content = encodeText(text, timestamp);
  return deliver(from, newRow({ recipient: to.peer.aci, timestamp, kind: 'text', content, ...rule }));
}

async function frame(
  from: Station,
  to: Station,
  payload: string,
  options: { carrier?: boolean; devices?: number[] } = {},
): ReturnType<typeof deliver> {
  const content = encodeApp(VERIFY_TAG, Buffer.from(payload));
  const { aci } = to.peer;
  return deliver(
    from,
    newRow({ recipient: aci, timestamp: ++time, kind: 'app', tag: VERIFY_TAG, content, ...options }),
  );
}

/** Texts, and payloads of frames. */
async function heard(station: Station): Promise<string[]> {
  return (await station.inbox()).map(({ content }) => {
    if (content.kind === 'text') return content.text;
    return content.kind === 'app' ? Buffer.from(content.payload).toString() : content.kind;
  });
}

async function stateOf(of: Station, about: Station): Promise<string | undefined> {
  return (await identityRows.get(of.peer.store.batch(), about.peer.aci))?.state;
}

function keyOf({ account }: Peer): Bytes {
  return fromBase64(account.identity.publicKey);
}

/** Alice has heard of Bob, and then somebody with other keys writes under his name. */
async function changed(texts: readonly string[]): Promise<Scene & { readonly other: Station }> {
  const { hub, alice, bob } = await pair();
  await say(bob, alice, 'it is me');
  await alice.receive();
  const other = await inPlaceOf(hub, bob);
  for (const text of texts) await say(other, alice, text);
  return { hub, alice, bob, other };
}

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
    const { alice, other } = await changed(['the oldest']);
    await alice.receive();
    for (let i = 0; i < MAX_PARKED + 4; i++) {
      const timestamp = ++time;
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
      const timestamp = ++time;
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
    const timestamp = ++time;
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

describe('the paths on which libsignal asks for no trust', () => {
  it('V-30: a sender key of a contact in changed opens nothing', async () => {
    const { alice, other } = await changed(['one']);
    await alice.receive();
    const opened = await alice.peer.session.open(
      alice.peer.store.batch(),
      {
        kind: 'message',
        source: { serviceId: other.peer.aci, deviceId: 2 },
        to: 'aci',
        type: 7,
        ciphertext: new Uint8Array(64),
        sealed: true,
        resendable: true,
      },
      time,
    );
    expect(opened).toEqual({ kind: 'refused', standing: 'changed' });
  });

  it('V-30: who may get what is sealed for many is asked before', async () => {
    const { alice, bob } = await changed(['one']);
    await alice.receive();
    const carol = await makePeer();
    const { identities } = alice.trust;
    const batch = alice.peer.store.batch();
    expect(await identities.sendable(batch, [bob.peer.aci, carol.aci])).toEqual([carol.aci]);
    expect(await identities.sendable(batch, [bob.peer.aci, carol.aci], 'verified')).toEqual([]);
  });

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
    const timestamp = ++time;
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
    const row = newRow({ recipient: bob.peer.aci, timestamp: ++time, kind: 'app', tag: chess, content });
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

async function pin(of: Station, aci: Peer['aci'], key: Bytes): Promise<void> {
  const batch = of.peer.store.batch();
  await trustTransaction(of.trust, batch).identities.pin(aci, key, PROOF);
  await batch.commit();
  of.trust.desk.committed(batch);
}

async function rows(of: Station, prefix: string): Promise<number> {
  let count = 0;
  for await (const [key] of of.peer.store.scan(prefix)) count += key === '' ? 0 : 1;
  return count;
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(done()).toBe(true);
}
