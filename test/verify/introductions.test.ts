/** Introductions that arrive, and those that are given: the real part of the plugin, router, dispatcher and trust of each. */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import { copy, type Bytes } from '../../src/bytes.ts';
import { decodeStatement } from '../../plugins/verify/introductions/statement.ts';
import { contacts } from '../../src/store/tables.ts';
import { ManualClock, settle } from '../support/clock.ts';
import { about, introduce, made, member, payloadOf, scene } from './support/introducing.ts';
import { DAY, T0, verifyEachOther } from './support/member.ts';

describe('an introduction that arrives', () => {
  it('makes the contact introduced with the key that is vouched for, and never verified', async () => {
    const { alice, bob, carol } = await scene();
    const [line] = await introduce(alice, bob, [carol], { days: 10 });
    expect(await alice.post(carol)).toMatchObject([{ kind: 'used' }]);
    const contact = await carol.contact(bob);
    expect(contact).toMatchObject({ state: 'introduced', pin: bob.key, wasVerified: false });
    expect(contact.evidence).toMatchObject([
      {
        ...{ kind: 'introduction', statementId: line?.id, introducer: alice.aci },
        ...{ verifiedAt: T0 - (T0 % DAY), notAfter: T0 + 10 * DAY },
      },
    ]);
    const { identities } = carol.peer;
    const batch = carol.peer.store.batch();
    expect(await identities.meets(batch, bob.aci, 'introduced', bob.key)).toBe(true);
    expect(await identities.meets(batch, bob.aci, 'verified', bob.key)).toBe(false);
  });

  it('V-38: is shown as a chain with who verified whom and when, and no mark of a verified one', async () => {
    const { alice, bob, carol, clock } = await scene();
    await clock.advance(3 * DAY);
    await alice.verify(bob);
    await introduce(alice, bob, [carol]);
    await alice.post(carol);
    const days = [T0, T0 + 3 * DAY].map((ms) => new Date(ms).toISOString().slice(0, 10));
    const chain = `${bob.aci}, introduced by ${alice.aci} (you verified ${alice.aci} on ${days[0] ?? ''}; they verified ${bob.aci} on ${days[1] ?? ''})`;
    expect(carol.notices).toEqual([chain]);
    const { received } = await carol.list();
    expect(received).toMatchObject([{ state: 'used', chain, introducerVerifiedAt: T0, method: 'pake' }]);
    expect(chain).not.toMatch(/[✓✔☑✅]/u);
  });

  it('V-38: names who is known by name, beside the ACI', async () => {
    const { alice, bob, carol, clock } = await scene();
    await clock.advance(3 * DAY);
    await alice.verify(bob);
    const batch = carol.peer.store.batch();
    contacts.put(batch, alice.aci, { name: 'Alice' });
    contacts.put(batch, bob.aci, { name: 'Bob\nthe second' });
    await batch.commit();
    const [given] = await introduce(alice, bob, [carol]);
    await alice.post(carol);
    const [ours, theirs] = [T0, T0 + 3 * DAY].map((ms) => new Date(ms).toISOString().slice(0, 10));
    const [a, b] = [`Alice (${alice.aci})`, `Bob the second (${bob.aci})`];
    const chain = `${b}, introduced by ${a} (you verified Alice on ${ours ?? ''}; they verified Bob the second on ${theirs ?? ''})`;
    expect((await carol.list()).received).toMatchObject([{ chain }]);
    await alice.act('unintroduce', { input: { id: given?.id } });
    await alice.post(carol);
    expect(carol.notices).toEqual([chain, `${a} has taken back the introduction of ${b}`]);
  });

  it('V-34: counts for nothing with any byte of it altered', async () => {
    const { alice, bob, carol } = await scene();
    await introduce(alice, bob, [carol]);
    const payload = await payloadOf(alice);
    for (let i = 0; i < payload.length; i++) {
      const altered = copy(payload);
      altered[i] = (altered[i] ?? 0) ^ 1;
      expect([i, await carol.receive(alice, altered)]).toMatchObject([i, { kind: 'refused' }]);
    }
    expect(await carol.state(bob)).toBe('unknown');
    expect(await carol.receive(alice, payload)).toMatchObject({ kind: 'used' });
    expect(await carol.receive(alice, payload)).toMatchObject({ kind: 'known' });
  });

  it('V-34: is for whom it says, whoever hands it on', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    await verifyEachOther(alice, dan);
    await introduce(alice, bob, [carol]);
    const payload = await payloadOf(alice);
    expect(await dan.receive(carol, payload)).toEqual({ kind: 'refused', reason: 'audience' });
    expect(await carol.receive(dan, payload)).toMatchObject({ kind: 'used' });
  });

  it('V-34: for a group counts where the introducer and the reader are members now, and in no other group', async () => {
    const groups = new Map<string, Aci[]>();
    const isMember = (group: Bytes, aci: Aci): boolean =>
      groups.get(Buffer.from(group).toString('hex'))?.includes(aci) === true;
    const { alice, bob, carol, clock } = await scene({ isMember });
    const [dan, erin] = [await member(clock, { isMember }), await member(clock)];
    await verifyEachOther(alice, dan, erin);
    const [ours, theirs] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    groups.set('01'.repeat(32), [alice.aci, carol.aci, erin.aci]);
    groups.set('02'.repeat(32), [carol.aci, dan.aci]);
    const give = (group: Bytes): Promise<unknown> =>
      alice.update((tx) =>
        alice.introducing.issuing.issue(tx, {
          ...{ subject: bob.aci, to: [carol.aci, dan.aci, erin.aci], group },
          ...{ days: 1, hasAgreed: false, isUnsigned: false },
        }),
      );
    await give(ours);
    const refused = { kind: 'refused', reason: 'audience' };
    // Erin's bot knows of no groups.
    expect(await alice.post(carol, dan, erin)).toMatchObject([{ kind: 'used' }, refused, refused]);
    await give(theirs); // in which Alice is not
    expect(await alice.post(carol, dan, erin)).toEqual([refused, refused, refused]);
  });

  it('ends by itself when it expires', async () => {
    const { alice, bob, carol, clock } = await scene();
    await introduce(alice, bob, [carol], { days: 2 });
    await alice.post(carol);
    await clock.advance(2 * DAY - 1);
    await settle();
    expect(await carol.state(bob)).toBe('introduced');
    await clock.advance(1);
    await settle();
    expect(await carol.contact(bob)).toMatchObject({ state: 'tofu', pin: bob.key });
    expect((await carol.list()).received).toEqual([]);
    expect((await alice.list()).issued).toEqual([]);
  });

  it('ends at its time also when that is sooner than the next look', async () => {
    const { alice, bob, carol, clock } = await scene();
    await clock.advance(60_000);
    const soon = clock.now() + 10_000;
    await carol.receive(alice, made(alice, { ...about(bob, carol), notAfter: soon }));
    await settle();
    expect(await carol.state(bob)).toBe('introduced');
    await clock.advance(10_000);
    await settle();
    expect(await carol.state(bob)).toBe('tofu');
  });

  it('is refused once it has expired, from an introducer who is not verified, and when it is none', async () => {
    const { alice, bob, carol, clock } = await scene();
    const stranger = await member(clock);
    await carol.see(stranger);
    const refused = (reason: string): object => ({ kind: 'refused', reason });
    expect(await carol.receive(stranger, made(stranger, about(bob, carol)))).toEqual(refused('introducer'));
    expect(await carol.receive(alice, new Uint8Array(9))).toEqual(refused('malformed'));
    await introduce(alice, bob, [carol], { days: 1 });
    const payload = await payloadOf(alice);
    await clock.advance(DAY);
    expect(await carol.receive(alice, payload)).toEqual(refused('expired'));
    expect(await carol.state(bob)).toBe('unknown');
  });

  it('unsigned is believed from the introducer alone, and only in a session', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    await introduce(alice, bob, [carol], { unsigned: true });
    const payload = await payloadOf(alice);
    expect(decodeStatement(payload)?.signature).toBeUndefined();
    expect(await carol.receive(dan, payload)).toEqual({ kind: 'refused', reason: 'signature' });
    expect(await carol.receive(alice, payload)).toMatchObject({ kind: 'used' });
    const [line] = (await alice.list()).issued;
    await alice.act('unintroduce', { input: { id: line?.id } });
    expect(await alice.post(carol)).toMatchObject([{ kind: 'revoked' }]);
    expect(await carol.state(bob)).toBe('tofu');
  });
});

describe('V-35: depth and weight', () => {
  it('V-35: shows what an introduced contact says, and uses it once that contact is verified', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    await introduce(alice, bob, [carol]);
    await alice.post(carol);
    await verifyEachOther(bob, dan);
    await bob.verify(carol);
    await introduce(bob, dan, [carol]);
    expect(await bob.post(carol)).toMatchObject([{ kind: 'shown' }]);
    expect(await carol.state(dan)).toBe('unknown');
    expect((await carol.list()).received.map(({ state }) => state).sort()).toEqual(['shown', 'used']);
    await carol.verify(bob);
    expect(await carol.state(dan)).toBe('introduced');
  });

  it('V-35: waits until as many introducers agree as the operator asks for', async () => {
    const { alice, bob, carol, clock } = await scene({ introducers: 2 });
    const dan = await member(clock);
    await verifyEachOther(dan, bob, carol);
    await introduce(alice, bob, [carol]);
    await alice.post(carol);
    expect(await carol.state(bob)).toBe('unknown');
    expect((await carol.list()).received).toMatchObject([{ state: 'waiting' }]);
    const [line] = await introduce(dan, bob, [carol]);
    await dan.post(carol);
    expect(await carol.state(bob)).toBe('introduced');
    expect((await carol.contact(bob)).evidence).toHaveLength(2);
    await dan.act('unintroduce', { input: { id: line?.id } });
    await dan.post(carol);
    expect(await carol.state(bob)).toBe('tofu');
  });

  it('V-35: counts one introducer for fifty contacts', async () => {
    const { alice, carol } = await scene();
    const audience = { kind: 'aci', aci: carol.aci } as const;
    for (let i = 0; i < 50; i++) {
      expect(await carol.receive(alice, made(alice, { audience }))).toMatchObject({ kind: 'used' });
    }
    const refused = { kind: 'refused', reason: 'subjects' };
    expect(await carol.receive(alice, made(alice, { audience }))).toEqual(refused);
  });

  it('V-35: counts a key directory for more, where the operator has named it', async () => {
    const aci = randomUUID() as Aci;
    const clock = new ManualClock(T0);
    const [alice, carol] = [await member(clock, {}, aci), await member(clock, { directories: [aci] })];
    await carol.prove(alice, { kind: 'safety-number', by: 'operator', at: T0 });
    const audience = { kind: 'aci', aci: carol.aci } as const;
    for (let i = 0; i < 51; i++)
      expect(await carol.receive(alice, made(alice, { audience }))).toMatchObject({ kind: 'used' });
  });

  it.each([false, true])(
    'V-35: vouches for more than fifty as a key directory alone: %s',
    async (isDirectory) => {
      const aci = randomUUID() as Aci;
      const clock = new ManualClock(T0);
      const alice = await member(clock, { directories: isDirectory ? [aci] : [] }, aci);
      const carol = await member(clock);
      const proof = { kind: 'safety-number', by: 'operator', at: T0 } as const;
      await alice.prove(carol, proof);
      const rest = { to: [carol.aci], days: 1, hasAgreed: true, isUnsigned: false };
      const vouch = (): Promise<unknown> =>
        alice.host.update(async (tx) => {
          const subject = randomUUID() as Aci;
          await tx.trust.identities.pin(subject, carol.key, proof);
          return alice.introducing.issuing.issue(tx, { ...rest, subject });
        });
      for (let i = 0; i < 50; i++) await vouch();
      if (isDirectory) expect(await vouch()).toHaveLength(1);
      else await expect(vouch()).rejects.toMatchObject({ code: 'INTRODUCTION_INVALID' });
    },
  );
});

describe('V-36: introducing', () => {
  it('V-36: asks that the contact has agreed, in the run or to the operator', async () => {
    const { alice, bob, carol } = await scene();
    await alice.verify(bob, { mayBeIntroduced: false });
    const unwilling = introduce(alice, bob, [carol], { agreed: true });
    await expect(unwilling).rejects.toMatchObject({ code: 'INTRODUCTION_INVALID' });
    await alice.verify(bob, { mayBeIntroduced: true });
    expect(await introduce(alice, bob, [carol])).toMatchObject([{ method: 'pake', to: [carol.aci] }]);
  });

  it('V-36: of a contact who was verified by safety number needs the word of the operator', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    await alice.prove(dan, { kind: 'safety-number', by: 'operator', at: T0 + 5 });
    await expect(introduce(alice, dan, [carol])).rejects.toMatchObject({ code: 'INTRODUCTION_INVALID' });
    const [line] = await introduce(alice, dan, [carol], { agreed: true });
    expect(line).toMatchObject({ method: 'safety-number', verifiedAt: T0 - (T0 % DAY) });
    const erin = await member(clock);
    await alice.prove(erin, { kind: 'imported', fileHash: '00'.repeat(32), by: 'operator', at: T0 });
    const imported = introduce(alice, erin, [bob], { agreed: true });
    await expect(imported).rejects.toMatchObject({ code: 'INTRODUCTION_INVALID' });
  });

  it('is for verified contacts alone, of verified contacts alone, and for whole days up to ninety', async () => {
    const { alice, bob, carol, clock } = await scene();
    const dan = await member(clock);
    await alice.see(dan);
    const unverified = { code: 'PEER_UNVERIFIED' };
    await expect(introduce(alice, dan, [carol])).rejects.toMatchObject(unverified);
    await expect(introduce(alice, bob, [carol, dan])).rejects.toMatchObject(unverified);
    await expect(introduce(alice, bob, [bob])).rejects.toMatchObject({ code: 'INTRODUCTION_INVALID' });
    await expect(introduce(alice, alice, [bob])).rejects.toMatchObject({ code: 'INTRODUCTION_INVALID' });
    await expect(introduce(alice, bob, [])).rejects.toMatchObject({ code: 'USAGE' });
    for (const days of [0, 91, 1.5]) {
      await expect(introduce(alice, bob, [carol], { days })).rejects.toMatchObject({ code: 'USAGE' });
    }
    expect(await alice.sent()).toEqual([]);
    expect((await alice.list()).issued).toEqual([]);
  });
});
