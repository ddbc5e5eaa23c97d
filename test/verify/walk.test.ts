/**
 * Random walks (section 14.7): two honest sides, two attackers who go by their names and know no code, and a carrier that
 * loses, repeats, reorders and changes frames, while operators start, type, cancel and wait as they like.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copy, toHex, type Bytes } from '../../src/bytes.ts';
import { decodeFrame } from '../../plugins/verify/messages/frame.ts';
import { couple, LIFETIME, T0, verify, type Party } from './support/party.ts';

const numRuns = Number(process.env['WALK_RUNS'] ?? 150);
const MINUTE = 60_000;

type Act =
  | { readonly kind: 'start' | 'type' | 'cancel' | 'restart' | 'reconnect'; readonly who: number }
  | Deliver
  | { readonly kind: 'wait'; readonly minutes: number };

interface Deliver {
  readonly kind: 'deliver';
  readonly who: number;
  readonly pick: number;
  readonly fate: Fate;
}

type Fate = 'keep' | 'take' | 'drop' | 'flip';

const who = fc.constantFrom(0, 0, 0, 1, 1, 1, 2, 3);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('start' as const), who }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('type' as const), who }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('cancel', 'restart', 'reconnect' as const), who }),
  },
  {
    weight: 40,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      who,
      pick: fc.nat(),
      fate: fc.constantFrom<Fate>(
        'take',
        'take',
        'take',
        'take',
        'take',
        'take',
        'keep',
        'keep',
        'drop',
        'flip',
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), minutes: fc.nat(8) }) },
);

interface Scene {
  /** Alice, Bob, who plays Alice, who plays Bob. */
  readonly parties: readonly [Party, Party, Party, Party];
  /** What is on its way to each of them, and from whom. */
  readonly queues: readonly { bytes: Bytes; from: Party }[][];
  readonly charged: string[];
  readonly frames: Map<string, string>;
  time: number;
}

/** Alice and Bob say the same code; the attackers have another. */
const codes = ['482913', '482913', '111111', '222222'];

function open(): Scene {
  const [alice, bob] = couple({ profile: 1 });
  const [posesAsAlice, posesAsBob] = couple({ profile: 1 });
  Object.assign(posesAsAlice, { own: { ...posesAsAlice.own, aci: alice.own.aci, device: alice.own.device } });
  Object.assign(posesAsBob, { own: { ...posesAsBob.own, aci: bob.own.aci, device: bob.own.device } });
  const parties = [alice, bob, posesAsAlice, posesAsBob] as const;
  return { parties, queues: [[], [], [], []], charged: [], frames: new Map(), time: 0 };
}

async function perform(scene: Scene, item: Act): Promise<void> {
  if (item.kind === 'wait') {
    scene.time += item.minutes * MINUTE;
    for (const party of scene.parties)
      await party.at(scene.time).give({ kind: 'tick', now: T0 + scene.time });
    return;
  }
  const side = scene.parties[item.who];
  if (side === undefined) return;
  const peer = scene.parties[item.who % 2 === 0 ? 1 : 0];
  const now = T0 + scene.time;
  if (item.kind === 'deliver') await deliver(scene, item, side);
  else if (item.kind === 'start') await side.start(peer, codes[item.who] ?? '');
  else if (item.kind === 'type') await side.type(codes[item.who] ?? '');
  else if (item.kind === 'cancel') await side.give({ kind: 'cancel', now });
  else if (item.kind === 'restart') await side.give({ kind: 'restart', now });
  else await side.give({ kind: 'reconnected', now });
  route(scene);
}

async function deliver(scene: Scene, item: Deliver, side: Party): Promise<void> {
  const queue = scene.queues[item.who] ?? [];
  const place = queue.length === 0 ? -1 : item.pick % queue.length;
  const found = queue[place];
  if (found === undefined) return;
  if (item.fate !== 'keep') queue.splice(place, 1);
  if (item.fate === 'drop') return;
  const bytes = copy(found.bytes);
  const at = item.pick % bytes.length;
  if (item.fate === 'flip') bytes[at] = (bytes[at] ?? 0) ^ (1 << (item.pick % 8));
  await side.take(bytes, found.from);
}

/** Every frame reaches the honest peer and the attacker who goes by its name. */
function route({ parties, queues, frames }: Scene): void {
  for (const [i, party] of parties.entries()) {
    for (const { bytes } of party.sent.splice(0)) {
      note(frames, party, bytes);
      const to = i % 2 === 0 ? [1, 3] : [0, 2];
      for (const other of to)
        if (queues[other] && queues[other].length < 20) queues[other].push({ bytes, from: party });
    }
  }
}

/** A side sends one frame of a type in a run, however often: no share and no seal is made twice. */
function note(frames: Map<string, string>, party: Party, bytes: Bytes): void {
  const frame = decodeFrame(bytes);
  if (frame === undefined) throw new Error('a frame that cannot be read has left');
  if (frame.body.type === 'abort') return;
  const key = `${party.own.aci} ${toHex(party.own.identityKey)} ${toHex(frame.runId)} ${frame.body.type}`;
  const text = toHex(bytes);
  expect(frames.get(key) ?? text).toBe(text);
  frames.set(key, text);
}

function checkTrust([alice, bob, ...attackers]: Scene['parties']): void {
  for (const { identityKey } of alice.trusted) expect(identityKey).toEqual(bob.own.identityKey);
  for (const { identityKey } of bob.trusted) expect(identityKey).toEqual(alice.own.identityKey);
  for (const attacker of attackers) expect(attacker.trusted).toEqual([]);
  // A creator trusts only after its enterer has, and over the same frames.
  for (const [creator, enterer] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const known = enterer.trusted.map(({ proof }) => proof.vh);
    for (const { role, proof } of creator.trusted) if (role === 'A') expect(known).toContain(proof.vh);
  }
}

function checkCharges(party: Party): void {
  const ids = party.effects.flatMap((effect) => (effect.kind === 'charge' ? [toHex(effect.runId)] : []));
  expect(new Set(ids).size).toBe(ids.length);
  const refunds = party.effects.filter(({ kind }) => kind === 'refund').length;
  expect(party.trusted.length).toBe(refunds);
}

describe('random walks', () => {
  it('end with nobody fooled, nothing charged twice, no frame made twice, and a next run that works', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 10, maxLength: 80 }), async (acts) => {
        const scene = open();
        for (const item of acts) await perform(scene, item);
        checkTrust(scene.parties);
        for (const party of scene.parties) checkCharges(party);
        const [alice, bob] = scene.parties;
        const over = T0 + scene.time + LIFETIME + 24 * 60 * MINUTE + MINUTE;
        for (const party of [alice, bob]) await party.give({ kind: 'tick', now: over });
        for (const party of [alice, bob]) party.now = over;
        await verify(alice, bob);
        expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
        checkTrust(scene.parties);
      }),
      { numRuns },
    );
  }, 120_000);

  it('do reach trust at times, or they would prove nothing', async () => {
    let reached = 0;
    const acts = fc.sample(fc.array(act, { minLength: 80, maxLength: 80 }), { numRuns: 60, seed: 7 });
    for (const items of acts) {
      const scene = open();
      for (const item of items) await perform(scene, item);
      reached += scene.parties[0].trusted.length + scene.parties[1].trusted.length;
    }
    expect(reached).toBeGreaterThan(3);
  }, 60_000);

  it('with loss, repeats and reordering alone always end in trust once frames get through', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.boolean(), fc.nat(4)), { maxLength: 12 }), async (faults) => {
        const [alice, bob] = couple({ profile: 1 });
        await alice.start(bob, '482913');
        await bob.take(alice.frame('offer'), alice);
        await bob.type('482913');
        const all = (): Bytes[][] => [
          bob.sent.map(({ bytes }) => bytes),
          alice.sent.map(({ bytes }) => bytes),
        ];
        for (const [toAlice, pick] of faults) {
          const [forAlice = [], forBob = []] = all();
          const queue = toAlice ? forAlice : forBob;
          const bytes = queue[pick % Math.max(1, queue.length)];
          if (bytes !== undefined) await (toAlice ? alice.take(bytes, bob) : bob.take(bytes, alice));
        }
        for (let round = 0; round < 4; round++) {
          for (const bytes of [...(all()[0] ?? [])]) await alice.take(bytes, bob);
          for (const bytes of [...(all()[1] ?? [])]) await bob.take(bytes, alice);
        }
        expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
      }),
      { numRuns },
    );
  }, 120_000);
});
