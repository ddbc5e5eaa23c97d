/** Every pair of state and event (section 4). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import type { Bytes } from '../../src/bytes.ts';
import { encodeSlot } from '../../plugins/verify/machine/row.ts';
import { advance } from '../../plugins/verify/machine/settle.ts';
import { deadlineOf, EMPTY_SLOT, isBusy, type Slot } from '../../plugins/verify/machine/slot.ts';
import type { Arrived, Event } from '../../plugins/verify/machine/step.ts';
import { decodeFrame, encodeFrame } from '../../plugins/verify/messages/frame.ts';
import { couple, ENV, LIFETIME, Party, random, slotOf, T0 } from './support/party.ts';

const SMALL = '00000000-0000-4000-8000-000000000001' as Aci;
const LARGE = 'ffffffff-0000-4000-8000-000000000002' as Aci;
const LATE = T0 + LIFETIME + 24 * 3_600_000 + 60_001;

const STATES = [
  'offered',
  'checking',
  'proved',
  'verified',
  'ringing',
  'replied',
  'accepted',
  'finished',
] as const;
type State = (typeof STATES)[number];
const FRAMES = ['offer', 'reply', 'proof', 'accept', 'done'] as const;

/** A run of the two, frozen in each of its states. Alice's ACI is the smaller, so her code stays in a glare. */
interface World {
  readonly alice: Party;
  readonly bob: Party;
  readonly rows: Record<State, Bytes>;
  readonly frames: Record<(typeof FRAMES)[number], Bytes>;
  readonly runId: Bytes;
}

let world: World;

beforeAll(async () => {
  const [alice, bob] = couple({ profile: 1 });
  Object.assign(alice, { own: { ...alice.own, aci: SMALL } });
  Object.assign(bob, { own: { ...bob.own, aci: LARGE } });
  const rows: Partial<Record<State, Bytes>> = {};
  const keep = (party: Party): void => {
    rows[party.kind as State] = encodeSlot(party.slot);
  };
  await alice.start(bob, '482913');
  keep(alice);
  await bob.take(alice.frame('offer'), alice);
  keep(bob);
  await bob.type('482913');
  keep(bob);
  const checking = await advance(
    ENV,
    slotOf(encodeSlot(alice.slot)),
    frame(bob, bob.frame('reply')),
    alice.opener,
  );
  rows.checking = encodeSlot(checking.slot);
  await alice.take(bob.frame('reply'), bob);
  keep(alice);
  await bob.take(alice.frame('proof'), alice);
  keep(bob);
  await alice.take(bob.frame('accept'), bob);
  keep(alice);
  await bob.take(alice.frame('done'), alice);
  keep(bob);
  const frames = {
    offer: alice.frame('offer'),
    reply: bob.frame('reply'),
    proof: alice.frame('proof'),
    accept: bob.frame('accept'),
    done: alice.frame('done'),
  };
  world = { alice, bob, rows: rows as World['rows'], frames, runId: frames.offer.slice(8, 24) };
});

function frame(from: Party, bytes: Bytes, now = T0): Arrived {
  const openedUnder = from.own.identityKey;
  return { kind: 'frame', bytes: bytes.slice(), now, from: from.address, openedUnder, gate: 'open' };
}

const isCreators = (state: State): boolean => ['offered', 'checking', 'proved', 'verified'].includes(state);

/** Puts the side that can be in this state there. */
function put(state: State): [Party, Party] {
  const [side, peer] = isCreators(state) ? [world.alice, world.bob] : [world.bob, world.alice];
  side.at(0).slot = slotOf(world.rows[state]);
  side.sent.length = 0;
  side.notices.length = 0;
  return [side, peer];
}

const wrong = (name: (typeof FRAMES)[number]): Bytes => {
  const changed = world.frames[name].slice();
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  return changed;
};

const abort = (): Bytes =>
  encodeFrame({ suite: 1, runId: world.runId, body: { type: 'abort', reason: 'failed' } });

type Column = (side: Party, peer: Party) => Promise<unknown>;

/** Events in the order of the table's columns. */
const COLUMNS: readonly [string, Column][] = [
  ['offer', (side, peer) => side.take(world.frames.offer, peer)],
  ['reply', (side, peer) => side.take(world.frames.reply, peer)],
  ['bad reply', (side, peer) => side.take(wrong('reply'), peer)],
  ['proof', (side, peer) => side.take(world.frames.proof, peer)],
  ['bad proof', (side, peer) => side.take(wrong('proof'), peer)],
  ['accept', (side, peer) => side.take(world.frames.accept, peer)],
  ['bad accept', (side, peer) => side.take(wrong('accept'), peer)],
  ['done', (side, peer) => side.take(world.frames.done, peer)],
  ['bad done', (side, peer) => side.take(wrong('done'), peer)],
  ['abort', (side, peer) => side.take(abort(), peer)],
  ['typing', (side) => side.give({ kind: 'typing', now: T0, runId: world.runId })],
  ['typed', (side) => side.type('482913')],
  ['continue', (side) => side.give({ kind: 'continue', now: T0, view: side.view })],
  ['cancel', (side) => side.give({ kind: 'cancel', now: T0 })],
  ['given up', (side) => side.give({ kind: 'given-up', now: T0 })],
  ['restart', (side) => side.give({ kind: 'restart', now: T0 })],
  ['tick', (side) => side.give({ kind: 'tick', now: T0 })],
  ['late', (side) => side.give({ kind: 'tick', now: LATE })],
  ['reconnected', (side) => side.give({ kind: 'reconnected', now: T0 })],
];

/** What becomes of a state: `.` nothing, `!` a frame leaves again, else the first letters of the next state. */
const TABLE: Record<State, string> = {
  //         offer reply bad  proof bad  acc  bad  done bad  abort typing typed cont cancel up   rest tick late recon
  offered:
    '  .     pro   clo  .     .    .    .    .    .    clo   .      .     .    clo    clo  .    .    clo  !',
  checking:
    ' .     .     .    .     .    .    .    .    .    clo   .      .     pro  clo    clo  pro  .    clo  .',
  proved:
    '   .     !     .    .     .    ver  clo  .    .    clo   .      .     .    clo    clo  .    .    clo  !',
  verified:
    ' .     .     .    .     .    !    .    .    .    .     .      .     .    .      .    .    .    fin  .',
  ringing:
    '  .     .     .    .     .    .    .    .    .    clo   rin    rep   .    clo    clo  .    .    clo  .',
  replied:
    '  !     .     .    acc   clo  .    .    .    .    clo   .      .     .    clo    clo  .    .    clo  !',
  accepted:
    ' .     .     .    !     .    .    .    fin  .    .     .      .     .    .      .    .    .    fin  !',
  finished:
    ' .     .     .    .     .    .    .    .    .    .     .      .     .    .      .    .    .    .    .',
};

describe.each(STATES)('in %s', (state) => {
  it.each(COLUMNS.map(([name, act], i) => [name, act, i] as const))('answers %s', async (name, act, i) => {
    const expected = TABLE[state].trim().split(/\s+/)[i] ?? '';
    const [side, peer] = put(state);
    await act(side, peer);
    const hasSent = side.sent.length > 0;
    if (expected === '.') expect([name, side.kind, hasSent]).toEqual([name, state, false]);
    else if (expected === '!') expect([name, side.kind, hasSent]).toEqual([name, state, true]);
    else expect([name, side.kind.slice(0, 3)]).toEqual([name, expected]);
  });

  it('ignores what is no frame, and what comes from somebody else', async () => {
    const [side, peer] = put(state);
    const before = encodeSlot(side.slot);
    const stranger = new Party({ device: 2 });
    const otherDevice = { from: { ...peer.address, device: 99 } };
    for (const name of FRAMES) {
      await side.take(world.frames[name], stranger);
      if (state !== 'offered' || name !== 'reply') await side.take(world.frames[name], peer, otherDevice);
    }
    await side.take(abort(), stranger);
    for (const junk of [new Uint8Array(0), new Uint8Array(28), random.bytes(200)])
      await side.take(junk, peer);
    expect(encodeSlot(side.slot)).toEqual(before);
    expect(side.sent).toEqual([]);
  });

  it('takes a new start, unless the code of the other is to be used', async () => {
    const [side, peer] = put(state);
    await side.start(peer, '135790');
    const mustWait = state === 'ringing'; // Bob's ACI is the larger
    expect(side.kind).toBe(mustWait ? 'ringing' : 'offered');
    expect(side.notices).toContainEqual(
      mustWait ? { kind: 'glare', use: 'theirs' } : { kind: 'step', step: 1, waitingFor: 'peer-operator' },
    );
    const isTail = state === 'verified' || state === 'accepted';
    expect(side.slot.tail?.kind).toBe(isTail ? state : undefined);
    const wasTold = side.notices.some((notice) => notice.kind === 'ended' && notice.reason === 'superseded');
    expect(wasTold).toBe(['offered', 'checking', 'proved', 'replied'].includes(state));
  });

  it('rings for a new OFFER of the peer, or does not', async () => {
    const [side, peer] = put(state);
    const other = new Party({ aci: peer.own.aci, device: peer.own.device, profile: 1 });
    await other.start(side, '135790');
    await side.take(other.frame('offer'), other);
    const rings = ['ringing', 'verified', 'accepted', 'finished'].includes(state);
    const now = side.run;
    const hasChanged = now?.kind === 'ringing' && now.runId.join() === other.run?.runId.join();
    expect(hasChanged).toBe(rings); // in `offered` Alice's own run stays, as her ACI is the smaller
    if (state === 'offered') expect(side.notices).toContainEqual({ kind: 'glare', use: 'own' });
  });
});

describe('a repeated frame', () => {
  it('gets the saved answer three times, and never a fresh one', async () => {
    for (const [state, name, answer] of [
      ['proved', 'reply', 'proof'],
      ['replied', 'offer', 'reply'],
      ['accepted', 'proof', 'accept'],
      ['verified', 'accept', 'done'],
    ] as const) {
      const [side, peer] = put(state);
      for (let i = 0; i < 5; i++) await side.take(world.frames[name], peer);
      expect(side.sent.map(({ bytes }) => bytes)).toEqual([1, 2, 3].map(() => world.frames[answer]));
    }
  });
});

describe('ringing', () => {
  it('V-2, V-22: costs nothing but a row, and no other OFFER replaces it once somebody types', async () => {
    const [alice, bob] = couple();
    await alice.start(bob, '482913');
    const effects = await bob.take(alice.frame('offer'), alice);
    expect(effects.map(({ kind }) => kind)).toEqual(['notice', 'notice']);
    const first = bob.run?.runId;
    await bob.give({ kind: 'typing', now: T0, runId: first ?? random.bytes(16) });
    await alice.start(bob, '135790');
    await bob.take(alice.frame('offer'), alice);
    expect(bob.run?.runId).toEqual(first);
  });

  it('is left out where there is no room, and refused with a reason where the peer is locked', async () => {
    const [alice, bob] = couple();
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice, { gate: 'full' });
    expect([bob.kind, bob.sent]).toEqual(['none', []]);
    await bob.take(alice.frame('offer'), alice, { gate: 'locked' });
    expect(bob.kind).toBe('none');
    await alice.take(bob.frame('abort'), bob);
    expect(alice.run).toMatchObject({ kind: 'closed', reason: 'aborted', abort: 'busy' });
  });

  it.each([
    ['scrypt that costs more', { mhf: { log2N: 18, r: 8, p: 1 } }],
    ['scrypt that costs less', { mhf: { log2N: 3, r: 8, p: 1 } }],
  ])('V-3: is refused for %s than is accepted', async (_, change) => {
    const [alice, bob] = couple();
    await alice.start(bob, '482913');
    const offer = decodeFrame(alice.frame('offer'));
    if (offer?.body.type !== 'offer') throw new Error('no OFFER');
    await bob.take(encodeFrame({ ...offer, body: { ...offer.body, ...change } }), alice);
    expect([bob.kind, bob.notices]).toEqual(['none', [{ kind: 'unsupported-offer' }]]);
    await alice.take(bob.frame('abort'), bob);
    expect(alice.run).toMatchObject({ reason: 'aborted', abort: 'unsupported' });
  });

  it('is refused for profile 2 in a page, and for a suite, version or mode that is not known here', async () => {
    const [alice, bob] = couple({ mode: 2 });
    bob.env = { ...ENV, maxProfile: 1 };
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice);
    expect(bob.notices).toEqual([{ kind: 'unsupported-offer' }]);
    const [carol, dave] = couple({ mode: 1 });
    await carol.start(dave, '482913');
    for (const [place, answers] of [
      [4, 0],
      [7, 1],
      [28, 1],
    ] as const) {
      dave.sent.length = 0;
      const changed = carol.frame('offer').slice();
      changed[place] = 9;
      await dave.take(changed, carol);
      expect([dave.kind, dave.sent.length]).toEqual(['none', answers]);
    }
    await dave.take(carol.frame('offer'), carol, { from: undefined }); // over a bare connection
    expect(dave.kind).toBe('none');
  });

  it('is not for an OFFER that names somebody else than its envelope', async () => {
    const [alice, bob] = couple();
    await alice.start(bob, '482913');
    const { address } = alice;
    await bob.take(alice.frame('offer'), alice, { from: { ...address, device: 9 } });
    await bob.take(alice.frame('offer'), alice, { from: { ...address, aci: LARGE } });
    expect([bob.kind, bob.sent]).toEqual(['none', []]);
  });

  it('is over for an OFFER that has run out', async () => {
    const [alice, bob] = couple();
    await alice.start(bob, '482913');
    await bob.at(LIFETIME + 60_001).take(alice.frame('offer'), alice);
    expect([bob.kind, bob.sent]).toEqual(['none', []]);
  });

  it('says so when a code is typed and nothing rings, and charges nothing', async () => {
    const [, bob] = couple();
    await bob.type('482913');
    expect([bob.kind, bob.notices]).toEqual(['none', [{ kind: 'nothing-rings' }]]);
    expect(bob.counters.charges).toEqual([]);
  });
});

describe('a slot', () => {
  it('says when it wants a tick, and whether the carrier is needed', () => {
    expect([deadlineOf(EMPTY_SLOT), isBusy(EMPTY_SLOT)]).toEqual([undefined, false]);
    for (const state of STATES) {
      const slot = slotOf(world.rows[state]);
      expect([state, deadlineOf(slot) !== undefined]).toEqual([state, state !== 'finished']);
      expect([state, isBusy(slot)]).toEqual([state, state !== 'finished']);
    }
    const both: Slot = { run: slotOf(world.rows.ringing).run, tail: tailOf('accepted') };
    expect(deadlineOf(both)).toBe(T0 + LIFETIME + 60_000);
  });

  it('keeps a run that waits for DONE beside the next, until that has succeeded', async () => {
    const [bob, alice] = put('accepted');
    await alice.start(bob, '135790');
    await bob.take(alice.frame('offer'), alice);
    expect([bob.kind, bob.slot.tail?.kind]).toEqual(['ringing', 'accepted']);
    await bob.take(world.frames.done, alice);
    expect([bob.kind, bob.slot.tail]).toEqual(['ringing', undefined]);
  });
});

function tailOf(state: 'accepted'): Slot['tail'] {
  const { run } = slotOf(world.rows[state]);
  return run?.kind === 'accepted' ? run : undefined;
}

describe('suite 2', () => {
  it.each<[string, (alice: Party, bob: Party) => Promise<unknown>, string]>([
    ['another code', (_, bob) => bob.greet('another'), 'rejected'],
    ['its own HELLO', (alice) => alice.take(alice.frame('hello'), alice), 'rejected'],
  ])('ends a run with %s', async (_, act, reason) => {
    const [alice, bob] = couple({ mode: 2, profile: 1 });
    await alice.greet('correct horse');
    await act(alice, bob);
    if (alice.kind === 'greeting') await alice.take(bob.frame('hello'), bob);
    if (bob.kind === 'greeting') await bob.take(alice.frame('hello'), alice);
    if (bob.kind === 'confirming') await alice.take(bob.frame('confirm'), bob);
    expect(alice.ended).toBe(reason);
  });

  it('ends a run of two profiles, repeats CONFIRM on a repeated HELLO, and charges before CONFIRM leaves', async () => {
    const [alice] = couple({ mode: 2, profile: 1 });
    const [bob] = couple({ mode: 2, profile: 2 });
    await Promise.all([alice.greet('correct horse'), bob.greet('correct horse')]);
    await alice.take(bob.frame('hello'), bob);
    expect(alice.ended).toBe('unsupported');

    const [carol, dave] = couple({ mode: 2, profile: 1 });
    await Promise.all([carol.greet('correct horse'), dave.greet('correct horse')]);
    const effects = await carol.take(dave.frame('hello'), dave);
    expect(effects.slice(0, 2).map(({ kind }) => kind)).toEqual(['charge', 'send']);
    await carol.take(dave.frame('hello'), dave);
    expect(carol.sent.map(({ bytes }) => decodeFrame(bytes)?.body.type)).toEqual([
      'hello',
      'confirm',
      'confirm',
    ]);
    await carol.take(encodeOffer(), dave); // no frame can ask for another suite
    expect(carol.kind).toBe('confirming');
  });
});

function encodeOffer(): Bytes {
  return world.frames.offer;
}

describe('ABORT', () => {
  it('of another suite ends nothing', async () => {
    const [alice, bob] = couple();
    await alice.start(bob, '482913');
    const { runId } = alice.run ?? {};
    if (runId === undefined) throw new Error('no run');
    await alice.take(encodeFrame({ suite: 2, runId, body: { type: 'abort', reason: 'failed' } }), bob);
    expect(alice.kind).toBe('offered');
    await alice.take(encodeFrame({ suite: 1, runId, body: { type: 'abort', reason: 'failed' } }), bob);
    expect(alice.kind).toBe('closed');
  });
});

describe('steps', () => {
  it('are pure: the same slot and event give the same', async () => {
    const events: Event[] = [frame(world.alice, world.frames.proof), { kind: 'tick', now: LATE }];
    for (const event of events) {
      const results = [1, 2].map(() => advance(ENV, slotOf(world.rows.replied), event, world.bob.opener));
      const [one, other] = await Promise.all(results);
      expect(one && encodeSlot(one.slot)).toEqual(other && encodeSlot(other.slot));
    }
  });
});
