/** What is compared in constant time, and what a payload may say at all (V-11, V-12, V-14). */
import { IdentityKeyPair } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/bytes.ts';
import { decodeFrame } from '../../plugins/verify/messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../../plugins/verify/messages/payload.ts';
import { couple, ENV, verify, type Party } from './support/party.ts';
import { proved, replied } from './support/stages.ts';

/** Notes what is compared in constant time. */
function noting(...parties: readonly Party[]): string[] {
  const compared: string[] = [];
  const isEqual: typeof ENV.primitives.isEqual = (a, b) => {
    compared.push(`${toHex(a)} ${toHex(b)}`);
    return ENV.primitives.isEqual(a, b);
  };
  for (const party of parties) party.env = { ...ENV, primitives: { ...ENV.primitives, isEqual } };
  return compared;
}

const twice = (mac: Uint8Array): string => `${toHex(mac)} ${toHex(mac)}`;

describe('MACs', () => {
  it('V-11: of every kind are compared in constant time and nowhere else: cB, cA, both tags, what the session holds, DONE', async () => {
    for (const profile of [1, 2] as const) {
      const [alice, bob] = couple({ profile });
      const compared = noting(alice, bob);
      await verify(alice, bob);
      const bodyOf = (party: Party, type: 'reply' | 'proof' | 'accept' | 'done'): unknown =>
        decodeFrame(party.frame(type))?.body;
      const reply = bodyOf(bob, 'reply') as { confirmation: Uint8Array };
      const proof = bodyOf(alice, 'proof') as { confirmation: Uint8Array; sealed: Uint8Array };
      const accept = bodyOf(bob, 'accept') as { sealed: Uint8Array };
      const done = bodyOf(alice, 'done') as { proof: Uint8Array };
      expect(compared.slice(0, 4)).toEqual(
        [reply.confirmation, proof.confirmation, proof.sealed.subarray(-32), accept.sealed.subarray(-32)].map(
          twice,
        ),
      );
      expect(compared).toHaveLength(profile === 1 ? 5 : 6);
      if (profile === 1) expect(compared[4]).toBe(twice(done.proof));
    }
  });

  it('V-11: of suite 2 are, too', async () => {
    const [alice, bob] = couple({ mode: 2, profile: 1 });
    await Promise.all([alice.greet('correct horse'), bob.greet('correct horse')]);
    await alice.take(bob.frame('hello'), bob);
    await bob.take(alice.frame('hello'), alice);
    const compared = noting(alice, bob);
    await alice.take(bob.frame('confirm'), bob);
    const body = decodeFrame(bob.frame('confirm'))?.body;
    expect(compared).toEqual([twice(body?.type === 'confirm' ? body.mac : new Uint8Array(0))]);
  });

  it('V-11: are all that an alleged key is used for: a wrong one seals, opens and asks nothing', async () => {
    const [alice, bob] = await replied({ profile: 1 }, '482914');
    const compared = noting(alice);
    await alice.take(bob.frame('reply'), bob);
    expect([alice.kind, compared.length]).toEqual(['closed', 1]);
    expect(alice.sent.map(({ bytes }) => decodeFrame(bytes)?.body.type)).toEqual(['offer', 'abort']);
  });
});

describe('a payload', () => {
  const key = IdentityKeyPair.generate().publicKey.serialize();
  const [alice, bob] = couple();
  const payload: Payload = {
    ...{ profile: 1, mayBeIntroduced: false, aci: alice.own.aci, device: 127, registrationId: 16_383 },
    ...{ identityKey: key, peer: bob.own.aci, peerKey: key, time: 1, nonce: new Uint8Array(32) },
    ...{ pni: undefined, bundle: undefined, initial: new Uint8Array(0) },
  };

  it.each<[string, Partial<Payload>, boolean]>([
    ['device 127 and registration id 16383', {}, true],
    ['device 1 and registration id 1', { device: 1, registrationId: 1 }, true],
    ['device 0', { device: 0 }, false],
    ['device 128', { device: 128 }, false],
    ['registration id 0', { registrationId: 0 }, false],
    ['registration id 16384', { registrationId: 16_384 }, false],
    ['an identity key of another type', { identityKey: Uint8Array.of(4, ...key.subarray(1)) }, false],
    ['an identity key that is shorter', { identityKey: key.slice(0, 32) }, false],
    ['a key of ours that is shorter', { peerKey: key.slice(0, 32) }, false],
    ['another profile', { profile: 2 }, false],
  ])('V-12: with %s, is taken or not', (_, change, isRight) => {
    const decoded = decodePayload(encodePayload({ ...payload, ...change }), 'A', 1);
    expect(decoded !== undefined).toBe(isRight);
  });
});

describe('keys that were seen before', () => {
  const stranger = IdentityKeyPair.generate().publicKey.serialize();

  it('V-14: are those of when PROOF and REPLY left, whatever is held by the time of the answer', async () => {
    const [alice, bob] = couple({ profile: 1 });
    [alice.view, bob.view] = [stranger, stranger];
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice);
    await bob.type('482913');
    bob.view = alice.own.identityKey;
    await alice.take(bob.frame('reply'), bob);
    alice.view = bob.own.identityKey;
    await bob.take(alice.frame('proof'), alice);
    await alice.take(bob.frame('accept'), bob);
    for (const { trusted } of [alice, bob])
      expect(trusted[0]).toMatchObject({ heals: true, found: { kind: 'replaced', falseKeys: [stranger] } });
  });

  it('V-14: that are held by now, and are wrong, heal as well', async () => {
    const [alice, bob] = await proved({ profile: 1 });
    bob.opener = {
      trust: () => Promise.resolve({ verdict: 'verified', hasSession: true, stored: [stranger] }),
      servedKey: () => Promise.resolve(alice.own.identityKey),
      prepare: (question) => bob.session.prepare(question),
      openSession: (question) => bob.session.openSession(question),
      takeSession: (question) => bob.session.takeSession(question),
      sealDone: (question) => bob.session.sealDone(question),
      openDone: (question) => bob.session.openDone(question),
    };
    await bob.take(alice.frame('proof'), alice);
    expect(bob.trusted[0]).toMatchObject({ heals: true, found: { kind: 'replaced', falseKeys: [stranger] } });
  });
});
