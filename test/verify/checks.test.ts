/** What a run checks before it trusts, in the order of section 3.6. */
import { IdentityKeyPair } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromUtf8, type Bytes } from '../../src/bytes.ts';
import type { Aci } from '../../src/address.ts';
import { associatedData, payloadKeys } from '../../plugins/verify/keys.ts';
import { withServedKey } from '../../plugins/verify/machine/judge.ts';
import { type SessionOpener } from '../../plugins/verify/machine/settle.ts';
import { confirm, confirmationKeys, finish, makeShare } from '../../plugins/verify/math/spake2.ts';
import { encodeSlot } from '../../plugins/verify/machine/row.ts';
import {
  type Accepted,
  type Offered,
  type Own,
  type Proved,
  type Replied,
} from '../../plugins/verify/machine/state.ts';
import { decodeFrame, encodeFrame, encodeHead } from '../../plugins/verify/messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../../plugins/verify/messages/payload.ts';
import { partyBytes } from '../../plugins/verify/messages/service-id.ts';
import { Seal } from '../../plugins/verify/seal.ts';
import { couple, ENV, random, verify, type Options, type Party } from './support/party.ts';
import { bound, kinds, proved, replied, watch } from './support/stages.ts';

const { isEqual } = ENV.primitives;

/** ACCEPT of a Bob who knows the code and says what he likes. */
async function forgedAccept(alice: Party, bob: Party, change: Partial<Payload>): Promise<Bytes> {
  const state = alice.run as Proved;
  const { runId, terms, prk, proof } = state;
  const keys = (): Bytes => payloadKeys(prk, state, proof);
  const head = encodeHead({ type: 'accept', suite: 1, runId });
  const body = decodeFrame(bob.frame('accept'))?.body;
  if (body?.type !== 'accept') throw new Error('no ACCEPT');
  const plaintext = await new Seal(keys(), isEqual).open(head, body.sealed);
  const payload = plaintext && decodePayload(plaintext, 'B', terms.profile);
  if (payload === undefined) throw new Error('no payload');
  const sealed = await new Seal(keys(), isEqual).seal(head, encodePayload({ ...payload, ...change }));
  return encodeFrame({ suite: 1, runId, body: { type: 'accept', sealed } });
}

/** PROOF of an Alice who knows the code and says what she likes. */
async function forgedProof(
  bob: Party,
  alice: Party,
  change: Partial<Payload>,
  confirmation?: Bytes,
): Promise<Bytes> {
  const state = bob.run as Replied;
  const { runId, terms, prk, expected } = state;
  const body = decodeFrame(alice.frame('proof'))?.body;
  if (body?.type !== 'proof') throw new Error('no PROOF');
  const head = new Uint8Array([...encodeHead({ type: 'proof', suite: 1, runId }), ...expected]);
  const plaintext = await new Seal(payloadKeys(prk, state), isEqual).open(head, body.sealed);
  const payload = plaintext && decodePayload(plaintext, 'A', terms.profile);
  if (payload === undefined) throw new Error('no payload');
  const cA = confirmation ?? expected;
  const newHead = new Uint8Array([...encodeHead({ type: 'proof', suite: 1, runId }), ...cA]);
  const seal = new Seal(payloadKeys(prk, state), isEqual);
  const sealed = await seal.seal(newHead, encodePayload({ ...payload, ...change }));
  return encodeFrame({ suite: 1, runId, body: { type: 'proof', confirmation: cA, sealed } });
}

describe('confirmation', () => {
  it('V-11: Alice seals nothing for a wrong cB, and Bob nothing for a wrong cA', async () => {
    const [alice, bob] = await replied({}, '482914');
    const asked: string[] = [];
    alice.opener = watch(alice.session, asked);
    await alice.take(bob.frame('reply'), bob);
    expect([alice.kind, alice.ended, asked]).toEqual(['closed', 'rejected', []]);
    expect(() => alice.frame('proof')).toThrow();

    const [carol, dave] = await proved();
    dave.opener = watch(dave.session, asked);
    const wrong = carol.frame('proof').slice();
    wrong[40] = (wrong[40] ?? 0) ^ 1; // in cA
    await dave.take(wrong, carol);
    expect([dave.kind, dave.ended, asked]).toEqual(['closed', 'rejected', []]);
    expect(dave.trusted).toEqual([]);
  });

  it('V-11: a wrong cA is wrong even over a payload that was sealed for it', async () => {
    const [alice, bob] = await proved();
    await bob.take(await forgedProof(bob, alice, {}, new Uint8Array(32)), alice);
    expect([bob.kind, bob.trusted]).toEqual(['closed', []]);
  });

  it('V-12: a REPLY that names another device than its envelope ends the run, though the code is right', async () => {
    for (const isRight of [true, false]) {
      const [alice, bob] = couple();
      await alice.start(bob, '482913');
      const offer = alice.frame('offer');
      const body = decodeFrame(offer)?.body;
      const { w, runId } = alice.run as Offered;
      if (body?.type !== 'offer') throw new Error('no OFFER');
      const share = makeShare(ENV.primitives.p256, 'B', w, random);
      const [idA, idB] = [partyBytes(alice.address), partyBytes(bob.address)];
      const alleged = finish(ENV.primitives.p256, 'B', { w, own: share, peerShare: body.share, idA, idB });
      if (typeof alleged === 'string') throw new Error(alleged);
      const sender = { ...bob.address, device: isRight ? bob.own.device : 9 };
      const reply = (confirmation: Bytes): Bytes =>
        encodeFrame({ suite: 1, runId, body: { type: 'reply', sender, share: share.share, confirmation } });
      const aad = associatedData({ offer, reply: reply(new Uint8Array(32)) }, bob.channel);
      const { kcB } = confirmationKeys(alleged.ka, aad);
      await alice.take(reply(confirm(kcB, alleged.transcript)), bob);
      expect(alice.kind).toBe(isRight ? 'proved' : 'closed');
    }
  });

  it('is of the kind that fits: DONE comes in the session where one was opened, and as it is where none was', async () => {
    for (const profile of [1, 2] as const) {
      const [alice, bob] = await proved({ profile });
      await bob.take(alice.frame('proof'), alice);
      const { runId, doneMac } = bob.run as Accepted;
      const kind = profile === 1 ? 'message' : 'mac';
      await bob.take(encodeFrame({ suite: 1, runId, body: { type: 'done', kind, proof: doneMac } }), alice);
      expect([bob.kind, bob.notices.at(-1)]).toEqual(['accepted', { kind: 'done-invalid' }]);
    }
  });
});

const stranger = IdentityKeyPair.generate().publicKey.serialize();
const someone = '11111111-2222-4333-8444-555555555555' as Aci;

describe('names in payloads', () => {
  it.each<[string, Options, (own: Own, peer: Own) => Partial<Payload>, boolean]>([
    ['nothing changed', { mode: 1 }, () => ({}), true],
    ['another service id', { mode: 1 }, () => ({ aci: someone }), false],
    ['another device', { mode: 1 }, () => ({ device: 9 }), false],
    ['another receiver', { mode: 1 }, () => ({ peer: someone }), false],
    ['no receiver, though it is known', { mode: 1 }, () => ({ peer: undefined }), false],
    ["the receiver's own service id", { mode: 2 }, (_, peer) => ({ aci: peer.aci }), false],
    ['another receiver', { mode: 2 }, () => ({ peer: someone }), false],
    ['no receiver', { mode: 2 }, () => ({ peer: undefined }), true],
    ["the receiver's own identity key", { mode: 1 }, (_, peer) => ({ identityKey: peer.identityKey }), false],
    ["the receiver's own identity key", { mode: 2 }, (_, peer) => ({ identityKey: peer.identityKey }), false],
  ])('V-12, V-13: with %s, %o, are taken or end the run', async (_, options, change, isRight) => {
    const profile1 = { ...options, profile: 1 as const };
    const [alice, bob] = await proved(profile1);
    await bob.take(await forgedProof(bob, alice, change(alice.own, bob.own)), alice);
    expect(bob.kind).toBe(isRight ? 'accepted' : 'closed');
    expect(bob.trusted).toHaveLength(isRight ? 1 : 0);

    const [carol, dave] = await proved(profile1);
    await dave.take(carol.frame('proof'), carol);
    await carol.take(await forgedAccept(carol, dave, change(dave.own, carol.own)), dave);
    expect(carol.kind).toBe(isRight ? 'verified' : 'closed');
    expect(carol.trusted).toHaveLength(isRight ? 1 : 0);
  });

  it('V-12: a nonce that the OFFER has not committed to ends the run', async () => {
    const [alice, bob] = await proved();
    await bob.take(await forgedProof(bob, alice, { nonce: new Uint8Array(32) }), alice);
    expect([bob.kind, bob.trusted]).toEqual(['closed', []]);
  });

  it('refuses a run with our own account', async () => {
    const [alice] = couple();
    await alice.start(alice, '482913');
    expect([alice.kind, alice.notices]).toEqual(['none', [{ kind: 'own-account' }]]);
  });
});

describe('keys that were seen before', () => {
  it('V-14: that are all right leave the session as it is, and B sends no initial message', async () => {
    const [alice, bob] = couple();
    bob.opener = {
      ...bound(bob.session),
      trust: () => Promise.resolve({ verdict: 'verified', hasSession: true }),
    };
    await verify(alice, bob);
    expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
    expect([alice.trusted[0]?.hasOpened, bob.trusted[0]?.hasOpened]).toEqual([false, false]);
    expect([alice.trusted[0]?.heals, bob.trusted[0]?.heals]).toEqual([false, false]);
    expect(decodeFrame(alice.frame('done'))?.body).toMatchObject({ kind: 'mac' });
  });

  it('V-14: do not leave it where the operator asks for a new one', async () => {
    const [alice, bob] = couple();
    bob.opener = {
      ...bound(bob.session),
      trust: () => Promise.resolve({ verdict: 'verified', hasSession: true }),
    };
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice);
    await bob.type('482913', true);
    await alice.take(bob.frame('reply'), bob);
    await bob.take(alice.frame('proof'), alice);
    await alice.take(bob.frame('accept'), bob);
    expect(alice.trusted[0]).toMatchObject({ hasOpened: true, heals: false });
  });

  it('V-14: that a frame came under are proven false, on both sides', async () => {
    const [middleToAlice, middleToBob] = [stranger, IdentityKeyPair.generate().publicKey.serialize()];
    const [alice, bob] = couple();
    [alice.view, bob.view] = [middleToAlice, middleToBob];
    const [toAlice, toBob] = [{ openedUnder: middleToAlice }, { openedUnder: middleToBob }];
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice, toBob);
    await bob.type('482913');
    await alice.take(bob.frame('reply'), bob, toAlice);
    await bob.take(alice.frame('proof'), alice, toBob);
    await alice.take(bob.frame('accept'), bob, toAlice);
    expect(alice.trusted[0]).toMatchObject({
      identityKey: bob.own.identityKey,
      ...{ heals: true, hasOpened: true, found: { kind: 'substituted', falseKeys: [middleToAlice] } },
    });
    expect(bob.trusted[0]).toMatchObject({
      identityKey: alice.own.identityKey,
      ...{ heals: true, hasOpened: true, found: { kind: 'substituted', falseKeys: [middleToBob] } },
    });
  });

  it('V-14: that PROOF alone came under are proven false, though OFFER came under the right one', async () => {
    const [alice, bob] = await replied();
    await alice.take(bob.frame('reply'), bob);
    await bob.take(alice.frame('proof'), alice, { openedUnder: stranger });
    expect(bob.trusted[0]).toMatchObject({
      identityKey: alice.own.identityKey,
      ...{ heals: true, found: { kind: 'substituted', falseKeys: [stranger] } },
    });
  });

  it('V-14: that are only stored may be of an older phone', async () => {
    const [alice, bob] = couple({ profile: 1 });
    bob.view = stranger;
    await verify(alice, bob);
    expect(bob.trusted[0]).toMatchObject({ heals: true, found: { kind: 'replaced', falseKeys: [stranger] } });
    // Alice hears that Bob had a wrong key of hers: her sessions with him go too.
    expect(alice.trusted[0]).toMatchObject({ heals: true, found: undefined });
  });

  it('V-14: count as substituted where the service still hands the wrong one out', () => {
    const found = { kind: 'replaced', falseKeys: [stranger] } as const;
    expect(withServedKey(found, stranger)).toEqual({ kind: 'substituted', falseKeys: [stranger] });
    expect(withServedKey(found, new Uint8Array(33))).toBe(found);
  });

  it('V-14: make an empty initial message wrong where Alice sees them otherwise', async () => {
    const [alice, bob] = couple();
    bob.opener = {
      ...bound(bob.session),
      trust: () => Promise.resolve({ verdict: 'verified', hasSession: true }),
    };
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice);
    await bob.type('482913');
    await alice.take(bob.frame('reply'), bob);
    await bob.take(alice.frame('proof'), alice);
    await alice.take(bob.frame('accept'), bob, { openedUnder: stranger });
    expect([alice.kind, alice.trusted]).toEqual(['closed', []]);
  });

  it('V-14: heal nothing where the key contradicts what one run may not replace', async () => {
    const trust: SessionOpener['trust'] = () => Promise.resolve({ verdict: 'changed', hasSession: true });
    const [alice, bob] = await proved();
    bob.opener = { ...bound(bob.session), trust };
    await bob.take(alice.frame('proof'), alice);
    expect([bob.kind, bob.ended, bob.trusted]).toEqual(['closed', 'contradicted', []]);
    expect(bob.contradicted).toEqual([alice.own.identityKey]);
    expect(bob.session.isOpen).toBe(false);
    expect(bob.counters.charges).toHaveLength(1);

    const [carol, dave] = await proved();
    await dave.take(carol.frame('proof'), carol);
    carol.opener = { ...bound(carol.session), trust };
    await carol.take(dave.frame('accept'), dave);
    expect([carol.kind, carol.contradicted, carol.trusted]).toEqual(['closed', [dave.own.identityKey], []]);
    expect(carol.session.isOpen).toBe(false);
  });
});

describe('a step', () => {
  it('V-15: that fails gives nothing to trust, and says when the writes of sessions must go', async () => {
    const [alice, bob] = await proved();
    bob.opener = { ...bound(bob.session), openSession: () => Promise.resolve(undefined) };
    await bob.take(alice.frame('proof'), alice);
    expect([bob.kind, bob.trusted, bob.last?.mustDiscard]).toEqual(['closed', [], true]);

    const [carol, dave] = await proved();
    await dave.take(carol.frame('proof'), carol);
    carol.opener = {
      ...bound(carol.session),
      takeSession: () => Promise.resolve(fromUtf8('something else')),
    };
    await carol.take(dave.frame('accept'), dave);
    expect([carol.kind, carol.trusted, carol.last?.mustDiscard]).toEqual(['closed', [], true]);
  });

  it('V-15: gives trust, counter, frame and state at once', async () => {
    const [alice, bob] = await proved();
    const accepted = await bob.take(alice.frame('proof'), alice);
    expect(kinds(accepted).slice(0, 3)).toEqual(['refund', 'trusted', 'send']);
    const verified = await alice.take(bob.frame('accept'), bob);
    expect(kinds(verified).slice(0, 3)).toEqual(['refund', 'trusted', 'send']);
    expect([alice.last?.mustDiscard, bob.last?.mustDiscard]).toEqual([false, false]);
  });

  it('V-15: that throws has changed nothing', async () => {
    const [alice, bob] = await proved();
    const before = encodeSlot(bob.slot);
    bob.opener = { ...bound(bob.session), openSession: () => Promise.reject(new Error('disk full')) };
    await expect(bob.take(alice.frame('proof'), alice)).rejects.toThrow('disk full');
    expect(encodeSlot(bob.slot)).toEqual(before);
    bob.opener = bob.session;
    await bob.take(alice.frame('proof'), alice);
    expect(bob.kind).toBe('accepted');
  });
});
