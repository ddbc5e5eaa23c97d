/** What is charged, by where a run stands when it ends (V-22), and how long each state may last (section 4, limits). */
import { describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import { advance } from '../../plugins/verify/machine/settle.ts';
import { deadlineOf } from '../../plugins/verify/machine/slot.ts';
import { Mhf } from '../../plugins/verify/math/mhf.ts';
import { nodePrimitives } from '../../plugins/verify/math/node.ts';
import { makeShare } from '../../plugins/verify/math/spake2.ts';
import { decodeFrame, encodeFrame, type Offer } from '../../plugins/verify/messages/frame.ts';
import { copy, type Bytes } from '../../src/bytes.ts';
import { CHEAP, couple, ENV, LIFETIME, Party, random, T0, verify } from './support/party.ts';
import { frameEvent, proved, replied } from './support/stages.ts';

const SMALL = '00000000-0000-4000-8000-000000000001' as Aci;
const LARGE = 'ffffffff-0000-4000-8000-000000000002' as Aci;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A side in a state, and the other. Its ACI is the larger one where it is the creator, so that it loses a glare. */
type Stage = () => Promise<readonly [side: Party, peer: Party]>;

/** The two of a run, its creator first. */
function two(): [Party, Party] {
  const [alice, bob] = couple({ profile: 1 });
  Object.assign(alice, { own: { ...alice.own, aci: LARGE } });
  Object.assign(bob, { own: { ...bob.own, aci: SMALL } });
  return [alice, bob];
}

const offered: Stage = async () => {
  const [alice, bob] = two();
  await alice.start(bob, '482913');
  return [alice, bob];
};
const ringing: Stage = async () => {
  const [alice, bob] = await offered();
  await bob.take(alice.frame('offer'), alice);
  return [bob, alice];
};
const typed: Stage = async () => {
  const [bob, alice] = await ringing();
  await bob.type('482913');
  return [bob, alice];
};
const checking: Stage = async () => {
  const [bob, alice] = await typed();
  alice.slot = (await advance(ENV, alice.slot, frameEvent(bob, bob.frame('reply')), alice.opener)).slot;
  // The commit that binds REPLY charges too; the party has seen neither.
  alice.counters = bob.counters;
  return [alice, bob];
};
const shown: Stage = async () => {
  const [bob, alice] = await typed();
  await alice.take(bob.frame('reply'), bob);
  return [alice, bob];
};

const runIdOf = ({ run }: Party): Bytes => run?.runId ?? new Uint8Array(16);

const ENDINGS: readonly (readonly [string, (side: Party, peer: Party) => Promise<unknown>])[] = [
  ['cancel', (side) => side.give({ kind: 'cancel', now: T0 })],
  ['expiry', (side) => side.give({ kind: 'tick', now: T0 + 25 * HOUR })],
  ['expiry, found at the next start', (side) => side.give({ kind: 'restart', now: T0 + 25 * HOUR })],
  ['a handler that is given up', (side) => side.give({ kind: 'given-up', now: T0 })],
  [
    'ABORT',
    (side, peer) => {
      const body = { type: 'abort', reason: 'failed' } as const;
      return side.take(encodeFrame({ suite: 1, runId: runIdOf(side), body }), peer);
    },
  ],
];

describe.each<[string, Stage, number]>([
  ['offered', offered, 0],
  ['ringing', ringing, 0],
  ['checking', checking, 1],
  ['proved', shown, 1],
  ['replied', typed, 1],
])('V-22: a run that ends in %s', (state, stage, charges) => {
  it.each(ENDINGS)('by %s, keeps what was charged by then and no more', async (_, end) => {
    const [side, peer] = await stage();
    expect([side.kind, side.counters.charges.length]).toEqual([state, charges]);
    await end(side, peer);
    expect([side.kind, side.counters.charges.length]).toEqual(['closed', charges]);
  });

  it('by a newer start of its own, or an OFFER of the other, keeps it too', async () => {
    const [side, peer] = await stage();
    await side.start(peer, '135790');
    expect(side.counters.charges.length).toBe(charges);
    const [other, whose] = await stage();
    const newer = new Party({ aci: whose.own.aci, device: whose.own.device, profile: 1 });
    await newer.start(other, '135790');
    await other.take(newer.frame('offer'), newer);
    // There is a glare, or a newer ring, as long as no REPLY is bound or written.
    expect(other.kind).toBe(charges === 0 ? 'ringing' : state);
    expect(other.counters.charges.length).toBe(charges);
  });
});

describe('a guess', () => {
  it('V-22: is charged in the step that binds REPLY, or writes it, and before that step sends anything', async () => {
    const [bob, alice] = await ringing();
    const bind = async (): Promise<string[]> => {
      const { effects } = await advance(ENV, alice.slot, frameEvent(bob, bob.frame('reply')), alice.opener);
      return effects.map(({ kind }) => kind);
    };
    const before = bob.effects.length;
    await bob.type('482913');
    const written = bob.effects.slice(before).map(({ kind }) => kind);
    expect(written.indexOf('charge')).toBeGreaterThanOrEqual(0);
    expect(written.indexOf('charge')).toBeLessThan(written.indexOf('send'));
    const bound = await bind();
    expect(bound).toContain('charge');
    expect(bound).not.toContain('send');
  });

  it('V-6, V-22: is none where the share in OFFER is bad, and the run is over', async () => {
    for (const isReflection of [false, true]) {
      const [bob, alice] = await ringing();
      const run = bob.run;
      if (run?.kind !== 'ringing') throw new Error('nothing rings');
      const frame = decodeFrame(run.offer);
      if (frame?.body.type !== 'offer') throw new Error('no OFFER');
      const w = random.bytes(32).fill(0, 0, 1);
      const own = makeShare(ENV.primitives.p256, 'B', w, random);
      const share = isReflection ? copy(own.share) : copy(frame.body.share).fill(4, 1);
      const offer = encodeFrame({ ...frame, body: { ...frame.body, share } });
      bob.slot = { run: { ...run, offer }, tail: undefined };
      await bob.give({
        ...{ kind: 'typed', now: T0, runId: run.runId, own: bob.own, w, share: own },
        ...{ view: alice.own.identityKey, wantsSession: false, channel: new Uint8Array(0) },
      });
      expect([bob.kind, bob.ended, bob.counters.charges.length]).toEqual(['closed', 'rejected', 0]);
      expect(() => bob.frame('reply')).toThrow('no reply');
    }
  });

  it('V-6, V-22: is charged for a REPLY with a bad share, or with our own, and the run is over', async () => {
    for (const isReflection of [false, true]) {
      const [bob, alice] = await typed();
      const frame = decodeFrame(bob.frame('reply'));
      const { body } = decodeFrame(alice.frame('offer')) as { body: Offer };
      if (frame?.body.type !== 'reply') throw new Error('no REPLY');
      const share = isReflection ? body.share : copy(body.share).fill(4, 1);
      await alice.take(encodeFrame({ ...frame, body: { ...frame.body, share } }), bob);
      expect([alice.kind, alice.ended, alice.counters.charges.length]).toEqual(['closed', 'rejected', 1]);
      expect(() => alice.frame('proof')).toThrow('no proof');
    }
  });
});

describe('scrypt', () => {
  it('V-2: never runs because of a frame', async () => {
    let runs = 0;
    const params = CHEAP;
    const counting = new Mhf(
      () => {
        runs++;
        return Promise.reject(new Error('a frame has asked for scrypt'));
      },
      { params, minLog2N: 4, maxLog2N: 4 },
    );
    const [alice, bob] = couple();
    for (const party of [alice, bob])
      party.env = { ...ENV, primitives: { ...ENV.primitives, mhf: counting } };
    await verify(alice, bob);
    expect([alice.kind, bob.kind, runs]).toEqual(['verified', 'finished', 0]);
  });

  it('V-3: of an OFFER is within the bounds of the standard profile, or it does not ring', async () => {
    const primitives = { ...ENV.primitives, mhf: nodePrimitives.mhf };
    for (const [log2N, r, p, rings] of [
      [14, 8, 1, true],
      [15, 8, 1, true],
      [17, 8, 1, true],
      [13, 8, 1, false],
      [18, 8, 1, false],
      [255, 8, 1, false],
      [15, 9, 1, false],
      [15, 7, 1, false],
      [15, 8, 2, false],
      [15, 8, 0, false],
    ] as const) {
      const [alice, bob] = await offered();
      bob.env = { ...ENV, primitives };
      const frame = decodeFrame(alice.frame('offer'));
      if (frame?.body.type !== 'offer') throw new Error('no OFFER');
      await bob.take(encodeFrame({ ...frame, body: { ...frame.body, mhf: { log2N, r, p } } }), alice);
      expect([log2N, r, p, bob.kind]).toEqual([log2N, r, p, rings ? 'ringing' : 'none']);
    }
  });
});

describe('limits', () => {
  /** A run whose code lives so long. */
  async function begun(lifetimeMs: number): Promise<[Party, Party]> {
    const [alice, bob] = couple({ profile: 1 });
    const runId = random.bytes(16);
    const w = await ENV.primitives.mhf.codeToW({ code: '482913', suite: 1, runId, params: CHEAP });
    await alice.give({
      ...{ kind: 'start', now: T0, own: alice.own, peer: bob.own.aci, profile: 1, format: 1, mhf: CHEAP },
      ...{ lifetimeMs, runId, w, share: makeShare(ENV.primitives.p256, 'A', w, random) },
      ...{ nonce: random.bytes(32), channel: new Uint8Array(0) },
    });
    await bob.take(alice.frame('offer'), alice);
    return [alice, bob];
  }

  it.each([
    ['a minute', MINUTE, MINUTE],
    ['ten minutes', LIFETIME, LIFETIME],
    ['a day', 24 * HOUR, 24 * HOUR],
    ['two days, which is a day', 48 * HOUR, 24 * HOUR],
  ])('of a code that lives for %s, and a minute of grace', async (_, asked, lifetime) => {
    const [alice, bob] = await begun(asked);
    const body = decodeFrame(alice.frame('offer'))?.body as Offer;
    expect(body.expiresAt).toBe(T0 + lifetime);
    for (const { slot } of [alice, bob]) expect(deadlineOf(slot)).toBe(T0 + lifetime + MINUTE);
    // `replied` and `proved`: ten minutes, or the rest of the code's life.
    const at = MINUTE / 2;
    await bob.at(at).type('482913');
    expect(deadlineOf(bob.slot)).toBe(T0 + Math.max(lifetime, at + 10 * MINUTE));
    await alice.at(at).take(bob.frame('reply'), bob);
    expect(deadlineOf(alice.slot)).toBe(T0 + Math.max(lifetime, at + 10 * MINUTE));
    // `accepted` and `verified`: 24 h.
    await bob.take(alice.frame('proof'), alice);
    await alice.take(bob.frame('accept'), bob);
    for (const { slot } of [alice, bob]) expect(deadlineOf(slot)).toBe(T0 + at + 24 * HOUR);
  });

  it('of a ring are our own, however long the other side says that its code lives', async () => {
    const [alice, bob] = await begun(24 * HOUR);
    const frame = decodeFrame(alice.frame('offer'));
    if (frame?.body.type !== 'offer') throw new Error('no OFFER');
    const offer = encodeFrame({ ...frame, body: { ...frame.body, expiresAt: T0 + 1_000 * HOUR } });
    await bob.reset().take(offer, alice);
    expect([bob.kind, deadlineOf(bob.slot)]).toEqual(['ringing', T0 + 24 * HOUR + MINUTE]);
  });

  it('V-18: of what the peer says of time count for nothing: the creator goes by its own clock', async () => {
    const [alice, bob] = await replied({ profile: 1 });
    await alice.at(LIFETIME + MINUTE + 1).take(bob.frame('reply'), bob);
    expect([alice.kind, alice.ended, alice.counters.charges.length]).toEqual(['closed', 'expired', 0]);
    const [carol, dave] = await proved({ profile: 1 });
    dave.now = T0 + 10 * MINUTE + 1; // over, by his clock alone
    await dave.take(carol.frame('proof'), carol);
    expect([dave.kind, dave.trusted, carol.kind]).toEqual(['closed', [], 'proved']);
  });
});
