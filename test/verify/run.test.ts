/** Whole runs of two sides, with libsignal where there is a session. */
import { describe, expect, it } from 'vitest';
import { fromUtf8 } from '../../src/bytes.ts';
import { couple, verify, type Party } from './support/party.ts';

describe.each([
  { mode: 1, profile: 1 },
  { mode: 1, profile: 2 },
  { mode: 2, profile: 1 },
  { mode: 2, profile: 2 },
] as const)('a run of mode $mode in profile $profile', (options) => {
  it('ends on both sides with the true keys, one verification hash and the same digits', async () => {
    const [alice, bob] = couple(options);
    await verify(alice, bob);
    expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
    const [a, b] = [alice.trusted[0], bob.trusted[0]];
    expect([a?.identityKey, b?.identityKey]).toEqual([bob.own.identityKey, alice.own.identityKey]);
    expect(a?.proof.vh).toBe(b?.proof.vh);
    expect(a?.check).toMatch(/^\d{6}$/);
    expect(a?.check).toBe(b?.check);
    expect([a?.found, b?.found]).toEqual([undefined, undefined]);
    expect([alice.counters.charges, bob.counters.charges]).toEqual([[], []]);
  });
});

describe('a run of profile 2', () => {
  it('ends with a session in which both can write', async () => {
    const [alice, bob] = couple({ mode: 2 });
    await verify(alice, bob);
    for (const [from, to] of [
      [bob, alice],
      [alice, bob],
    ] as [Party, Party][]) {
      const sealed = await from.session.seal(fromUtf8('hello'));
      expect(sealed.kind).toBe('message');
      expect(await to.session.open(sealed)).toEqual(fromUtf8('hello'));
      expect(await to.session.open(sealed)).toBeUndefined();
    }
  });
});

describe('keys for texts', () => {
  it('are given in mode 2 and profile 1, where nobody has a session, the same on both sides', async () => {
    for (const [mode, profile] of [
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ] as const) {
      const [alice, bob] = couple({ mode, profile });
      await verify(alice, bob);
      const [a, b] = [alice.trusted[0]?.pageKeys, bob.trusted[0]?.pageKeys];
      expect(a).toEqual(b);
      expect([mode, profile, a !== undefined]).toEqual([mode, profile, mode === 2 && profile === 1]);
      if (a !== undefined)
        expect([a.fromA.length, a.fromB.length, a.fromA.join() === a.fromB.join()]).toEqual([64, 64, false]);
    }
  });
});

describe('a run of suite 2', () => {
  it.each([1, 2] as const)('ends alike in profile %d, whoever sent the smaller share', async (profile) => {
    for (let i = 0; i < 6; i++) {
      const [alice, bob] = couple({ mode: 2, profile });
      await Promise.all([alice.greet('correct horse'), bob.greet('correct horse')]);
      await alice.take(bob.frame('hello'), bob);
      await bob.take(alice.frame('hello'), alice);
      await alice.take(bob.frame('confirm'), bob);
      await bob.take(alice.frame('confirm'), alice);
      const [low, high] = alice.kind === 'proved' ? [alice, bob] : [bob, alice];
      await high.take(low.frame('proof'), low);
      await low.take(high.frame('accept'), high);
      await high.take(low.frame('done'), low);
      expect([low.kind, high.kind]).toEqual(['verified', 'finished']);
      expect(low.trusted[0]?.proof.vh).toBe(high.trusted[0]?.proof.vh);
      expect(low.trusted[0]?.check).toBeUndefined();
      expect(low.trusted[0]?.identityKey).toEqual(high.own.identityKey);
      expect(high.trusted[0]?.identityKey).toEqual(low.own.identityKey);
    }
  });
});
