/** What a run checks before it trusts, in the order of section 3.6, and what it leaves behind. */
import { IdentityKeyPair } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromUtf8, toHex, type Bytes } from '../../src/bytes.ts';
import type { Aci } from '../../src/address.ts';
import { associatedData, payloadKeys } from '../../plugins/verify/keys.ts';
import { withServedKey } from '../../plugins/verify/machine/judge.ts';
import { advance, type SessionOpener } from '../../plugins/verify/machine/settle.ts';
import { confirm, confirmationKeys, finish, makeShare } from '../../plugins/verify/math/spake2.ts';
import { decodeSlot, encodeSlot } from '../../plugins/verify/machine/row.ts';
import {
  secretsOf,
  type Accepted,
  type Offered,
  type Own,
  type Proved,
  type Replied,
} from '../../plugins/verify/machine/state.ts';
import type { Effect } from '../../plugins/verify/machine/step.ts';
import { decodeFrame, encodeFrame, encodeHead } from '../../plugins/verify/messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../../plugins/verify/messages/payload.ts';
import { partyBytes } from '../../plugins/verify/messages/service-id.ts';
import { Seal } from '../../plugins/verify/seal.ts';
import { RunPrekeyStores } from '../../plugins/verify/session/memory-stores.ts';
import { couple, ENV, LIFETIME, random, T0, verify, type Options, type Party } from './support/party.ts';

const HOUR = 3_600_000;
const { isEqual } = ENV.primitives;

const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);

/** Up to REPLY. */
async function replied(options: Options = {}, typed = '482913'): Promise<[Party, Party]> {
  const [alice, bob] = couple(options);
  await alice.start(bob, '482913');
  await bob.take(alice.frame('offer'), alice);
  await bob.type(typed);
  return [alice, bob];
}

/** Up to PROOF. */
async function proved(options: Options = {}): Promise<[Party, Party]> {
  const [alice, bob] = await replied(options);
  await alice.take(bob.frame('reply'), bob);
  return [alice, bob];
}

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

function watch(opener: SessionOpener, asked: string[]): SessionOpener {
  return {
    trust: (question) => (asked.push('trust'), opener.trust(question)),
    prepare: (question) => (asked.push('prepare'), opener.prepare(question)),
    openSession: (question) => (asked.push('openSession'), opener.openSession(question)),
    takeSession: (question) => (asked.push('takeSession'), opener.takeSession(question)),
    sealDone: (question) => (asked.push('sealDone'), opener.sealDone(question)),
    openDone: (question) => (asked.push('openDone'), opener.openDone(question)),
  };
}

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

/** The opener's calls, to be changed one by one. */
function bound(opener: SessionOpener): SessionOpener {
  return watch(opener, []);
}

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

describe('the end of a run', () => {
  it('V-16: leaves no secret in its row, and overwrites those in memory', async () => {
    for (const profile of [1, 2] as const) {
      const [alice, bob] = couple({ profile });
      const secrets = new Set<Bytes>();
      for (const party of [alice, bob]) {
        const give = party.give.bind(party);
        party.give = async (event) => {
          if (party.run !== undefined) for (const secret of secretsOf(party.run)) secrets.add(secret.slice());
          return give(event);
        };
      }
      await verify(alice, bob);
      expect(secrets.size).toBeGreaterThan(5);
      const rows = [alice, bob].map(({ slot }) => Buffer.from(encodeSlot(slot)).toString());
      for (const secret of secrets) {
        if (secret.every((byte) => byte === 0)) continue;
        for (const row of rows) expect(row).not.toContain(Buffer.from(secret).toString('base64'));
      }
    }
    const [alice, bob] = await replied();
    const { run } = alice;
    await advance(ENV, alice.slot, { kind: 'cancel', now: T0 }, alice.session).then(({ effects }) => {
      const wiped = effects.flatMap((effect) => (effect.kind === 'wipe' ? effect.secrets : []));
      expect(run && secretsOf(run).every((secret) => wiped.includes(secret))).toBe(true);
    });
    expect(secretsOf(bob.run as Replied)).toHaveLength(2); // PRK and the cA that is expected: w and y are gone
  });

  it('V-16: overwrites what a start was given, once REPLY is checked or the run is given up', async () => {
    for (const typed of ['482913', '482914', undefined]) {
      const [alice, bob] = couple({ profile: 1 });
      await alice.start(bob, '482913');
      const { slot } = alice;
      if (slot.run?.kind !== 'offered') throw new Error('no run');
      const { w, share, nonce } = slot.run;
      await bob.take(alice.frame('offer'), alice);
      if (typed !== undefined) await bob.type(typed);
      const end =
        typed === undefined ? { kind: 'cancel' as const, now: T0 } : frameEvent(bob, bob.frame('reply'));
      const bound = await advance(ENV, slot, end, alice.opener);
      const next = await advance(
        ENV,
        bound.slot,
        { kind: 'continue', now: T0, view: undefined },
        alice.opener,
      );
      const all = [...bound.effects, ...next.effects];
      const wiped = all.flatMap((effect) => (effect.kind === 'wipe' ? effect.secrets : []));
      expect([w, share.secret].every((secret) => wiped.includes(secret))).toBe(true);
      expect(wiped.includes(nonce)).toBe(typed !== '482913'); // PROOF is out, and ACCEPT will need it
    }
  });

  it('V-16: overwrites what was typed, whatever comes of it', async () => {
    for (const now of [T0, T0 + LIFETIME + 60_001]) {
      const [alice, bob] = couple();
      await alice.start(bob, '482913');
      await bob.take(alice.frame('offer'), alice);
      const runId = bob.run?.runId ?? random.bytes(16);
      const [w, share] = [random.bytes(32), { secret: random.bytes(32), share: random.bytes(65) }];
      const { own, view, channel } = bob;
      const typed = { kind: 'typed', now, runId, own, w, share, view, wantsSession: false, channel } as const;
      const { effects } = await advance(ENV, bob.slot, typed, bob.opener);
      const wiped = effects.flatMap((effect) => (effect.kind === 'wipe' ? effect.secrets : []));
      expect([w, share.secret].every((secret) => wiped.includes(secret))).toBe(true);
    }
  });

  it('V-16: comes at start-up for a row past its time, before any frame', async () => {
    const [alice, bob] = await replied();
    const late = T0 + LIFETIME + 60_001;
    await alice.give({ kind: 'restart', now: late });
    expect([alice.kind, alice.ended]).toEqual(['closed', 'expired']);
    await alice.at(LIFETIME + 60_001).take(bob.frame('reply'), bob);
    expect([alice.kind, alice.counters.charges]).toEqual(['closed', []]);
  });

  it('V-16: is what becomes of a row that cannot be read', () => {
    for (const text of [
      '',
      '{}',
      '{"version":2,"run":null,"tail":null}',
      '{"version":1,"run":{"kind":"offered"}}',
    ]) {
      expect(decodeSlot(fromUtf8(text))).toBeUndefined();
    }
  });
});

describe('REPLY', () => {
  it('V-17: is bound and charged in one commit and checked in the next, so a crash loop is one guess', async () => {
    const [alice, bob] = await replied({}, '482914');
    const { slot, effects } = await advance(
      ENV,
      alice.slot,
      frameEvent(bob, bob.frame('reply')),
      alice.session,
    );
    expect(slot.run?.kind).toBe('checking');
    expect(kinds(effects)).toEqual(['charge', 'notice', 'continue']);
    alice.slot = slot;
    // The process dies here. Another REPLY is no second guess.
    const again = await alice.take(bob.frame('reply'), bob);
    expect([again, alice.kind]).toEqual([[], 'checking']);
    await alice.give({ kind: 'restart', now: T0 });
    expect([alice.kind, alice.ended]).toEqual(['closed', 'rejected']);
    await alice.take(bob.frame('reply'), bob);
    expect(alice.kind).toBe('closed');
  });

  it('V-17: leaves the run closed when its handler is given up', async () => {
    const [alice, bob] = await replied();
    const { slot } = await advance(ENV, alice.slot, frameEvent(bob, bob.frame('reply')), alice.session);
    alice.slot = slot;
    await alice.give({ kind: 'given-up', now: T0 });
    expect([alice.kind, alice.ended]).toEqual(['closed', 'rejected']);
  });

  it('comes in time with 60 s of grace, by the clock of the creator', async () => {
    const [alice, bob] = await replied();
    await alice.at(LIFETIME + 60_000).take(bob.frame('reply'), bob);
    expect(alice.kind).toBe('proved');
    const [carol, dave] = await replied();
    await carol.at(LIFETIME + 60_001).take(dave.frame('reply'), dave);
    expect([carol.ended, carol.counters.charges]).toEqual(['expired', []]);
  });
});

function frameEvent(from: Party, bytes: Bytes): Parameters<Party['give']>[0] {
  const openedUnder = from.own.identityKey;
  return { kind: 'frame', bytes, now: T0, from: from.address, openedUnder, gate: 'open' };
}

describe('somebody who is offline', () => {
  it('V-18: leaves Bob sure of Alice and not the reverse, and both are told; the next run starts afresh', async () => {
    const [alice, bob] = await proved();
    await bob.take(alice.frame('proof'), alice);
    await alice.give({ kind: 'tick', now: T0 + LIFETIME + 1 });
    expect([alice.kind, alice.ended]).toEqual(['closed', 'expired']);
    expect(bob.notices.at(-1)).toEqual({ kind: 'step', step: 3, waitingFor: 'peer-bot' });
    await bob.take(alice.sent.at(-1)?.bytes ?? new Uint8Array(0), alice); // her ABORT is no reason to doubt
    expect(bob.kind).toBe('accepted');

    await verify(alice, bob, '135790');
    expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
    expect(bob.slot.tail).toBeUndefined();
    expect(bob.notices).toContainEqual({ kind: 'unacknowledged' });
    expect(kinds(bob.effects)).not.toContain('drop-session');
  });

  it('V-18: is waited for 24 h in `accepted`, and then a session that never had an answer goes', async () => {
    const [alice, bob] = await proved();
    await bob.take(alice.frame('proof'), alice);
    await bob.give({ kind: 'tick', now: T0 + 24 * HOUR });
    expect(bob.kind).toBe('accepted');
    await bob.give({ kind: 'tick', now: T0 + 24 * HOUR + 1 });
    expect(bob.run).toMatchObject({ kind: 'finished', isAcknowledged: false });
    expect(bob.effects).toContainEqual({
      kind: 'drop-session',
      aci: alice.own.aci,
      device: alice.own.device,
    });
  });
});

describe('guesses of a run', () => {
  it('V-22: are charged before they are checked, and given back on success alone', async () => {
    const [alice, bob] = await replied();
    expect([alice.counters.charges.length, bob.counters.charges.length]).toEqual([0, 1]);
    await bob.give({ kind: 'cancel', now: T0 });
    expect(bob.counters.charges).toHaveLength(1);
    await alice.give({ kind: 'cancel', now: T0 });
    expect(alice.counters.charges).toHaveLength(0); // no REPLY was bound
  });

  it('V-22: are not given back for ABORT, a newer start or glare after the charge', async () => {
    const [alice, bob] = await proved();
    const { runId } = alice.run as Proved;
    await alice.take(encodeFrame({ suite: 1, runId, body: { type: 'abort', reason: 'failed' } }), bob);
    expect([alice.kind, alice.counters.charges.length]).toEqual(['closed', 1]);
    await bob.start(alice, '135790');
    expect([bob.kind, bob.counters.charges.length]).toEqual(['offered', 1]);
    await bob.take(encodeFrame({ suite: 1, runId, body: { type: 'abort', reason: 'superseded' } }), alice);
    expect(bob.counters.charges).toHaveLength(1);
  });
});

describe('check digits', () => {
  it('V-25: differ on the two sides for an attacker in the middle who knows the code', async () => {
    const code = '482913';
    const [alice, bob] = couple({ profile: 1 });
    const [asBob, asAlice] = couple({ profile: 1 });
    // The middle plays Bob towards Alice and Alice towards Bob, with keys of its own and the right names.
    Object.assign(asBob, { own: { ...asBob.own, aci: bob.own.aci, device: bob.own.device } });
    Object.assign(asAlice, { own: { ...asAlice.own, aci: alice.own.aci, device: alice.own.device } });
    [alice.view, bob.view] = [asBob.own.identityKey, asAlice.own.identityKey];
    [asBob.view, asAlice.view] = [alice.own.identityKey, bob.own.identityKey];
    await verify(alice, asBob, code);
    await verify(asAlice, bob, code);
    expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
    expect(alice.trusted[0]?.identityKey).toEqual(asBob.own.identityKey);
    expect(alice.trusted[0]?.check).not.toBe(bob.trusted[0]?.check);
  });
});

describe('the session of a run', () => {
  it('V-27: takes more of the first messages by the normal path, without prekeys, until A has answered', async () => {
    const [alice, bob] = await proved({ mode: 2 });
    await bob.take(alice.frame('proof'), alice);
    await alice.take(bob.frame('accept'), bob);
    const second = await bob.session.seal(fromUtf8('again'));
    expect(second.kind).toBe('initial');
    expect(await alice.session.open(second)).toEqual(fromUtf8('again'));
    await bob.take(alice.frame('done'), alice);
    expect((await bob.session.seal(fromUtf8('more'))).kind).toBe('message');
  });

  it('V-27: uses up the one-time prekeys, so that its initial message opens no second time', async () => {
    const [alice] = couple();
    const { bundle, prekeys } = await alice.session.prepare({ now: T0 });
    const { prekey, signed, kyber } = new RunPrekeyStores(prekeys);
    const { id } = bundle.kyberPrekey;
    expect((await kyber.getKyberPreKey(id)).id()).toBe(id);
    await kyber.markKyberPreKeyUsed(id, bundle.signedPrekey.id, alice.identity.publicKey);
    await expect(kyber.getKyberPreKey(id)).rejects.toThrow('no such prekey');
    await prekey.removePreKey(bundle.prekey.id);
    await expect(prekey.getPreKey(bundle.prekey.id)).rejects.toThrow('no such prekey');
    await expect(signed.getSignedPreKey(bundle.signedPrekey.id + 1)).rejects.toThrow('no such prekey');
  });

  it('V-28: has frames of the sizes written down, and less than 5 KB in all', async () => {
    const sizes = async (options: Options): Promise<number[]> => {
      const [alice, bob] = couple(options);
      await verify(alice, bob);
      const frames = [alice.frame('offer'), bob.frame('reply'), alice.frame('proof'), bob.frame('accept')];
      return [...frames, alice.frame('done')].map(({ length }) => length);
    };
    expect(await sizes({ profile: 1 })).toEqual([160, 147, 354, 320, 65]);
    const [offer, reply, proof, accept, done = 0] = await sizes({ profile: 2 });
    expect([offer, reply, proof, accept]).toEqual([160, 147, 2146, 2112]);
    expect(done).toBeGreaterThan(100);
    expect(done).toBeLessThan(160);
  });

  it('V-28: starts with keys of the sizes that the payload has room for', async () => {
    const [alice] = couple();
    const { bundle } = await alice.session.prepare({ now: T0 });
    const { prekey, signedPrekey, kyberPrekey } = bundle;
    expect(
      [prekey.publicKey, signedPrekey.publicKey, kyberPrekey.publicKey].map((key) => key.length),
    ).toEqual([33, 33, 1569]);
    expect([signedPrekey.signature.length, kyberPrekey.signature.length]).toEqual([64, 64]);
    expect(toHex(kyberPrekey.publicKey.subarray(0, 1))).toBe('08');
    expect(random.bytes(3)).toHaveLength(3);
  });
});
