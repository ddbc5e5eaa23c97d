/** Introductions that contradict what is known, that are taken back or suspended, and the bundles that come with them. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { copy } from '../../src/bytes.ts';
import { Identities } from '../../src/identities/identities.ts';
import { ownKeys } from '../../src/session/own-identity.ts';
import { sessions } from '../../src/store/tables.ts';
import { acceptIdentity, revokeIdentity } from '../../src/trust/operator.ts';
import { decodeStatement } from '../../plugins/verify/introductions/statement.ts';
import { ManualClock, settle } from '../support/clock.ts';
import { trustOf } from '../support/trust.ts';
import { about, handed, introduce, made, member, payloadOf, running, scene } from './support/introducing.ts';
import { DAY, Member, T0, verifyEachOther } from './support/member.ts';

describe('V-37: an introduction of another key than is known', () => {
  it('V-37: stops a contact whose key the directory gave, and names both sources', async () => {
    const { alice, bob, carol, clock } = await scene();
    const false_ = await member(clock, {}, bob.aci);
    await carol.see(bob, false_.key);
    await introduce(alice, bob, [carol]);
    expect(await alice.post(carol)).toMatchObject([
      {
        ...{ kind: 'conflict', introducer: alice.aci, stated: bob.key, known: false_.key },
        ...{ source: { kind: 'directory' }, state: 'changed' },
      },
    ]);
    expect(await carol.contact(bob)).toMatchObject({ state: 'changed', pin: false_.key, candidate: bob.key });
    expect(carol.notices[0]).toMatch(
      new RegExp(`^INTRODUCTION_CONFLICT: ${alice.aci} vouches for another .* than the service gave`),
    );
    // The operator takes the key that was vouched for: that settles it.
    await acceptIdentity(carol.trust, bob.aci);
    expect(await carol.state(bob)).toBe('introduced');
  });

  it('V-37: leaves a verified pin as it is', async () => {
    const { alice, bob, carol, clock } = await scene();
    const newPhone = await member(clock, {}, bob.aci);
    await carol.verify(bob);
    const payload = made(alice, about(bob, carol, newPhone.key));
    expect(await carol.receive(alice, payload)).toMatchObject({
      ...{ kind: 'conflict', state: 'verified' },
      source: { kind: 'verified', by: 'pake', at: T0 },
    });
    expect(await carol.contact(bob)).toMatchObject({ state: 'verified', pin: bob.key, candidate: undefined });
  });

  it('V-37: stops a contact whom another introducer has named another key of', async () => {
    const { alice, bob, carol, clock } = await scene();
    const mallory = await member(clock);
    await carol.verify(mallory);
    await introduce(alice, bob, [carol]);
    await alice.post(carol);
    const payload = made(mallory, about(bob, carol, mallory.key));
    expect(await carol.receive(mallory, payload)).toMatchObject({
      ...{ kind: 'conflict', introducer: mallory.aci, state: 'changed' },
      source: { kind: 'introducers', acis: [alice.aci] },
    });
    expect((await carol.list()).received.map(({ state }) => state).sort()).toEqual(['conflict', 'waiting']);
  });

  it('V-37: goes before an agreement of others on a contact of whom no key is known', async () => {
    const { alice, bob, carol, clock } = await scene({ introducers: 2 });
    const mallory = await member(clock);
    await carol.verify(mallory);
    await carol.receive(mallory, made(mallory, about(bob, carol, mallory.key)));
    await introduce(alice, bob, [carol]);
    expect(await alice.post(carol)).toMatchObject([{ kind: 'conflict', state: 'unknown' }]);
    expect(await carol.contact(bob)).toMatchObject({ state: 'unknown', pin: undefined });
  });

  it('V-37: never brings back a key that the operator has revoked', async () => {
    const { alice, bob, carol } = await scene();
    await revokeIdentity(carol.trust, bob.aci, bob.key);
    await introduce(alice, bob, [carol]);
    expect(await alice.post(carol)).toMatchObject([{ kind: 'conflict', source: { kind: 'revoked' } }]);
    expect((await carol.contact(bob)).pin).toBeUndefined();
  });
});

describe('V-39: an introduction that is taken back', () => {
  it('V-39: ends, and does not come again', async () => {
    const { alice, bob, carol } = await scene();
    const [line] = await introduce(alice, bob, [carol]);
    const [letter] = await alice.sent();
    await carol.receive(alice, letter?.payload ?? new Uint8Array(0));
    expect(await alice.act('unintroduce', { input: { id: line?.id } })).toMatchObject({ state: 'revoked' });
    const revocation = await payloadOf(alice);
    expect(decodeStatement(revocation)?.statement).toMatchObject({
      kind: 'revocation',
      notAfter: line?.notAfter,
    });
    expect(await carol.receive(alice, revocation)).toMatchObject({ kind: 'revoked' });
    expect(await carol.state(bob)).toBe('tofu');
    const again = await carol.receive(alice, letter?.payload ?? new Uint8Array(0));
    expect(again).toEqual({ kind: 'refused', reason: 'revoked' });
    expect((await carol.list()).received).toMatchObject([{ state: 'revoked' }]);
    await alice.act('unintroduce', { input: { id: line?.id } });
    expect(await alice.sent()).toEqual([]);
    const unknown = alice.act('unintroduce', { input: { id: '00'.repeat(16) } });
    await expect(unknown).rejects.toMatchObject({ code: 'ROW_UNKNOWN' });
  });

  it('V-39: is refused when the revocation comes before it', async () => {
    const { alice, bob, carol } = await scene();
    const [line] = await introduce(alice, bob, [carol]);
    const introduction = await payloadOf(alice);
    await alice.act('unintroduce', { input: { id: line?.id } });
    expect(await alice.post(carol)).toMatchObject([{ kind: 'revoked' }]);
    expect(await carol.receive(alice, introduction)).toEqual({ kind: 'refused', reason: 'revoked' });
    expect(await carol.state(bob)).toBe('unknown');
  });

  it('V-39: keeps a revocation for as long as the introduction would last, whatever the revocation says', async () => {
    const { alice, bob, carol, clock } = await scene();
    const id = copy(randomBytes(16));
    const statement = { ...about(bob, carol), id, notAfter: T0 + 40 * DAY };
    const early = made(alice, { ...statement, kind: 'revocation', notAfter: T0 + DAY });
    expect(await carol.receive(alice, early)).toMatchObject({ kind: 'revoked' });
    const introduction = made(alice, statement);
    expect(await carol.receive(alice, introduction)).toMatchObject({ reason: 'revoked' });
    await clock.advance(30 * DAY);
    await settle();
    expect(await carol.receive(alice, introduction)).toMatchObject({ reason: 'revoked' });
  });

  it('V-39: is nobody else’s to take back, under the same id or in the name of the introducer', async () => {
    const { alice, bob, carol, clock } = await scene();
    const mallory = await member(clock);
    await carol.verify(mallory);
    await introduce(alice, bob, [carol]);
    const payload = await payloadOf(alice);
    await carol.receive(alice, payload);
    const { id } = decodeStatement(payload)?.statement ?? { id: new Uint8Array(0) };
    const revocation = { ...about(bob, carol), kind: 'revocation', id } as const;
    expect(await carol.receive(mallory, made(mallory, revocation))).toMatchObject({ kind: 'revoked' });
    const forged = made(mallory, { ...revocation, introducer: alice.aci, introducerKey: alice.key });
    expect(await carol.receive(mallory, forged)).toEqual({ kind: 'refused', reason: 'signature' });
    expect(await carol.state(bob)).toBe('introduced');
  });

  it('V-39: does not give its id to another statement', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    const id = copy(randomBytes(16));
    await carol.receive(alice, made(alice, { ...about(bob, carol), id }));
    const other = await carol.receive(alice, made(alice, { ...about(dan, carol), id }));
    expect(other).toEqual({ kind: 'refused', reason: 'reused' });
    expect(await carol.state(dan)).toBe('unknown');
  });

  it('V-39: is suspended while the introducer is not verified, with all others of theirs', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    await verifyEachOther(alice, dan);
    await introduce(alice, bob, [carol]);
    await introduce(alice, dan, [carol]);
    await alice.post(carol);
    const states = (): Promise<string[]> => Promise.all([carol.state(bob), carol.state(dan)]);
    expect(await states()).toEqual(['introduced', 'introduced']);
    const intruder = await member(clock, {}, alice.aci);
    await carol.see(alice, intruder.key);
    expect(await carol.state(alice)).toBe('changed');
    expect(await states()).toEqual(['tofu', 'tofu']);
    expect((await carol.list()).received.map(({ state }) => state)).toEqual(['suspended', 'suspended']);
    await carol.verify(alice);
    expect(await states()).toEqual(['introduced', 'introduced']);
    await revokeIdentity(carol.trust, alice.aci);
    expect(await states()).toEqual(['tofu', 'tofu']);
  });

  it('V-39: is taken back in the same commit when the key of the contact changes', async () => {
    const { alice, bob, carol, clock } = await scene();
    await introduce(alice, bob, [carol]);
    await alice.post(carol);
    const newPhone = await member(clock, {}, bob.aci);
    const batch = alice.peer.store.batch();
    await alice.peer.identities.save(batch, bob.aci, newPhone.key);
    expect(await alice.sent()).toEqual([]);
    await batch.commit();
    expect(await alice.state(bob)).toBe('changed');
    expect(await alice.post(carol)).toMatchObject([{ kind: 'revoked' }]);
    expect(await carol.state(bob)).toBe('tofu');
    expect((await alice.list()).issued).toMatchObject([{ state: 'revoked' }]);
  });

  it('is caught up with at the start, when trust changed while nobody was there to see it', async () => {
    const clock = new ManualClock(T0);
    const [alice, bob, carol] = [await Member.make(clock), await member(clock), await member(clock)];
    running.push(alice);
    await verifyEachOther(alice, bob, carol);
    await introduce(alice, bob, [carol]);
    await alice.post(carol);
    // The command line, while no bot runs: the same rows without the plugin.
    const identities = new Identities(clock, ownKeys(alice.peer.account));
    const bare = await trustOf({ ...alice.peer, identities });
    await revokeIdentity(bare, bob.aci);
    expect(await alice.sent()).toEqual([]);
    alice.start();
    await settle();
    expect(await alice.post(carol)).toMatchObject([{ kind: 'revoked' }]);
  });
});

describe('a bundle that comes with an introduction', () => {
  it('is part of what is signed, and changes nothing: there is a service that gives prekeys out', async () => {
    const { alice, bob, carol } = await scene();
    const receipt = await carol.receive(alice, made(alice, { ...about(bob, carol), bundle: handed(bob) }));
    expect(receipt).toMatchObject({ kind: 'used' });
    expect(await carol.state(bob)).toBe('introduced');
    const { deviceId } = bob.peer.account;
    expect(await sessions.get(carol.peer.store.batch(), 'aci', bob.aci, deviceId)).toBeUndefined();
  });
});
