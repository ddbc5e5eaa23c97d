/** How runs end: what is left behind, who waits for whom, what was charged, and the session that is there then. */
import { PreKeySignalMessage } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromUtf8, toHex, type Bytes } from '../../src/bytes.ts';
import { advance } from '../../plugins/verify/machine/settle.ts';
import { decodeSlot, encodeSlot } from '../../plugins/verify/machine/row.ts';
import { secretsOf, type Proved, type Replied } from '../../plugins/verify/machine/state.ts';
import { encodeFrame } from '../../plugins/verify/messages/frame.ts';
import { RunPrekeyStores } from '../../plugins/verify/session/memory-stores.ts';
import { couple, ENV, LIFETIME, random, T0, verify, type Options } from './support/party.ts';
import { frameEvent, kinds, proved, replied } from './support/stages.ts';

const HOUR = 3_600_000;
const EVIDENCE = {
  kind: 'pake',
  runId: '00'.repeat(16),
  vh: '00'.repeat(32),
  role: 'A',
  suite: 1,
  codeFormat: 1,
} as const;

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

  it('V-16: overwrites PRK, nonce and the prekeys of the run, whether it is accepted or given up', async () => {
    for (const isAccepted of [true, false]) {
      const [alice, bob] = await proved({ profile: 2 });
      const { slot } = alice;
      if (slot.run?.kind !== 'proved') throw new Error('no PROOF');
      const { prk, nonce, prekeys } = slot.run;
      if (prekeys === undefined) throw new Error('no prekeys');
      await bob.take(alice.frame('proof'), alice);
      const end = isAccepted ? frameEvent(bob, bob.frame('accept')) : { kind: 'cancel' as const, now: T0 };
      const { slot: after, effects } = await advance(ENV, slot, end, alice.opener);
      expect(after.run?.kind === 'closed').toBe(!isAccepted);
      const wiped = effects.flatMap((effect) => (effect.kind === 'wipe' ? effect.secrets : []));
      for (const secret of [prk, nonce, prekeys.prekey, prekeys.signedPrekey, prekeys.kyberPrekey])
        expect(wiped).toContain(secret);
    }
  });

  it('V-16: overwrites PRK and the MAC that was expected of the enterer, once PROOF is accepted', async () => {
    const [alice, bob] = await proved({ profile: 2 });
    const { slot } = bob;
    if (slot.run?.kind !== 'replied') throw new Error('no REPLY');
    const { prk, expected } = slot.run;
    const { slot: after, effects } = await advance(
      ENV,
      slot,
      frameEvent(alice, alice.frame('proof')),
      bob.opener,
    );
    expect(after.run?.kind).toBe('accepted');
    const wiped = effects.flatMap((effect) => (effect.kind === 'wipe' ? effect.secrets : []));
    for (const secret of [prk, expected]) expect(wiped).toContain(secret);
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

  it('V-22: are not given back for ABORT or a newer start after the charge', async () => {
    const [alice, bob] = await proved();
    const { runId } = alice.run as Proved;
    await alice.take(encodeFrame({ suite: 1, runId, body: { type: 'abort', reason: 'failed' } }), bob);
    expect([alice.kind, alice.counters.charges.length]).toEqual(['closed', 1]);
    await bob.start(alice, '135790');
    expect([bob.kind, bob.counters.charges.length]).toEqual(['offered', 1]);
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
    for (const { id } of [prekey, signedPrekey, kyberPrekey]) {
      expect(id).toBeGreaterThan(0);
      expect(id).toBeLessThanOrEqual(0xffffff); // varints of four bytes at most, so that the frames have their sizes
    }
  });

  it('V-28: starts with an initial message of 1,830 to 1,845 bytes, in which each prekey of the run is named', async () => {
    const [alice, bob] = couple({ mode: 2 });
    const { bundle } = await alice.session.prepare({ now: T0 });
    const proof = { ...EVIDENCE, device: alice.own.device, at: T0 };
    const initial = await bob.session.openSession({
      ...{ party: alice.address, registrationId: 1234, identityKey: alice.own.identityKey, proof },
      ...{ found: undefined, bundle, plaintext: new Uint8Array(32) },
    });
    const message = PreKeySignalMessage.deserialize(initial ?? new Uint8Array(0));
    expect(initial?.length).toBeGreaterThanOrEqual(1_830);
    expect(initial?.length).toBeLessThanOrEqual(1_845);
    expect([message.registrationId(), message.preKeyId(), message.signedPreKeyId()]).toEqual([
      1234,
      bundle.prekey.id,
      bundle.signedPrekey.id,
    ]);
  });
});
