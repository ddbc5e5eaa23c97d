/**
 * Tamper walk (section 14.3): whatever is done to one frame of a run, the run ends in a coded failure and nobody trusts
 * more than they should: OFFER to PROOF nobody, ACCEPT not Alice, DONE leaves the run unacknowledged.
 */
import { describe, expect, it } from 'vitest';
import { copy, type Bytes } from '../../src/bytes.ts';
import { encodeSlot } from '../../plugins/verify/machine/row.ts';
import type { Profile } from '../../plugins/verify/messages/frame.ts';
import { couple, LIFETIME, slotOf, T0, verify, type Party } from './support/party.ts';

const FRAMES = ['offer', 'reply', 'proof', 'accept', 'done'] as const;
type Name = (typeof FRAMES)[number];
const HOUR = 3_600_000;
/** Every bit position is met, at one byte or another. */
const bitOf = (index: number): number => 1 << (index % 8);

/** A whole run, and both sides as they were before each frame arrived. */
interface Stage {
  readonly alice: Party;
  readonly bob: Party;
  readonly frames: Record<Name, Bytes>;
  /** Rows of the side that takes the frame. */
  readonly before: Record<Name, Bytes>;
}

async function stage(profile: Profile, mode: 1 | 2 = 1): Promise<Stage> {
  const [alice, bob] = couple({ profile, mode });
  const before: Partial<Record<Name, Bytes>> = {};
  const frames: Partial<Record<Name, Bytes>> = {};
  const take = async (name: Name, from: Party, to: Party): Promise<void> => {
    frames[name] = copy(from.frame(name));
    before[name] = encodeSlot(to.slot);
    await to.take(from.frame(name), from);
  };
  await alice.start(bob, '482913');
  await take('offer', alice, bob);
  await bob.type('482913');
  await take('reply', bob, alice);
  await take('proof', alice, bob);
  await take('accept', bob, alice);
  await take('done', alice, bob);
  expect([alice.kind, bob.kind]).toEqual(['verified', 'finished']);
  return { alice, bob, frames: frames as Stage['frames'], before: before as Stage['before'] };
}

/** Puts the taker of a frame back to where it was, gives it something else, and lets the run come to its end. */
async function tampered(played: Stage, name: Name, bytes: Uint8Array): Promise<void> {
  const { alice, bob, before } = played;
  const [to, from] = name === 'reply' || name === 'accept' ? [alice, bob] : [bob, alice];
  to.at(0).slot = slotOf(before[name]);
  to.trusted.length = 0;
  to.notices.length = 0;
  await to.take(copy(bytes), from);
  if (name === 'offer') {
    await tamperedOffer(played);
    return;
  }
  await to.give({ kind: 'tick', now: T0 + 24 * HOUR + LIFETIME });
  expect(to.trusted).toEqual([]);
  if (name === 'done') expect(to.run).toMatchObject({ kind: 'finished', isAcknowledged: false });
  else
    expect([to.kind, ['rejected', 'expired', 'unsupported', 'aborted'].includes(to.ended ?? '')]).toEqual([
      'closed',
      true,
    ]);
}

/** A changed OFFER may well ring; then the REPLY to it fails at Alice. */
async function tamperedOffer({ alice, bob, before }: Stage): Promise<void> {
  expect(bob.trusted).toEqual([]);
  if (bob.run?.kind !== 'ringing') return;
  const sent = bob.sent.length;
  await bob.type('482913');
  if (bob.sent.length === sent) return;
  alice.slot = slotOf(before.reply);
  alice.trusted.length = 0;
  await alice.take(bob.sent.at(-1)?.bytes ?? new Uint8Array(0), bob);
  await alice.give({ kind: 'tick', now: T0 + 24 * HOUR });
  expect([alice.kind, alice.trusted]).toEqual(['closed', []]);
}

describe.each([1, 2] as const)('a run of profile %d', (profile) => {
  it.each(FRAMES)('is not fooled by one flipped bit in any byte of %s', async (name) => {
    const played = await stage(profile);
    const whole = played.frames[name];
    for (let i = 0; i < whole.length; i++) {
      const changed = copy(whole);
      changed[i] = (changed[i] ?? 0) ^ bitOf(i);
      await tampered(played, name, changed);
    }
  });

  it.each(FRAMES)('is not fooled by %s cut at any length, or longer by one', async (name) => {
    const played = await stage(profile);
    const whole = played.frames[name];
    for (let length = 0; length < whole.length; length++)
      await tampered(played, name, whole.subarray(0, length));
    await tampered(played, name, Uint8Array.of(...whole, 0));
  });

  it('is not fooled by frames in place of each other, in whatever type they are dressed', async () => {
    const played = await stage(profile);
    const types = {
      offer: 1,
      reply: 2,
      proof: 3,
      accept: 4,
      done: 5,
      hello: 6,
      confirm: 7,
      none: 0,
      abort: 0x7f,
    };
    for (const name of FRAMES) {
      for (const other of FRAMES) {
        if (other !== name) await tampered(played, name, played.frames[other]);
        for (const type of Object.values(types)) {
          const dressed = copy(played.frames[other]);
          dressed[5] = type;
          if (other !== name || type !== types[name]) await tampered(played, name, dressed);
        }
      }
    }
  });

  it('is not fooled by frames that are sent back to where they came from', async () => {
    const played = await stage(profile);
    const { alice, bob, frames, before } = played;
    for (const [name, side] of [
      ['reply', alice],
      ['accept', alice],
      ['proof', bob],
      ['done', bob],
    ] as const) {
      for (const own of FRAMES) {
        const peer = side === alice ? bob : alice;
        side.at(0).slot = slotOf(before[name]);
        side.trusted.length = 0;
        await side.take(frames[own], peer);
        const isTheirs = (own === 'reply' || own === 'accept') === (side === alice);
        if (!isTheirs) expect([own, side.trusted]).toEqual([own, []]);
      }
    }
  });

  it('is not fooled by frames of another run of the same two with the same code', async () => {
    const [one, other] = [await stage(profile), await stage(profile)];
    for (const name of FRAMES.slice(1)) await tampered(one, name, other.frames[name]);
    for (const name of FRAMES.slice(1)) {
      const renamed = copy(other.frames[name]);
      renamed.set(one.frames[name].subarray(8, 24), 8); // the other's frame under this run's id
      await tampered(one, name, renamed);
    }
  });
});

describe('what is bound', () => {
  it.each([
    ['the code', (bob: Party) => ({ bob, code: '482914' })],
    [
      'the channel',
      (bob: Party) => {
        bob.channel = Uint8Array.of(1);
        return { bob, code: '482913' };
      },
    ],
    [
      "the enterer's device",
      (bob: Party) => {
        Object.assign(bob, { own: { ...bob.own, device: 7 } });
        return { bob, code: '482913' };
      },
    ],
  ])('%s must agree', async (_, change) => {
    const [alice, bob] = couple();
    const { code } = change(bob);
    const { address } = bob;
    await alice.start(bob, '482913');
    await bob.take(alice.frame('offer'), alice);
    await bob.type(code);
    await alice.take(bob.frame('reply'), bob, { from: { ...address, device: 3 } });
    expect([alice.kind, alice.ended]).toEqual(['closed', 'rejected']);
  });

  it('ends alike when nothing is changed, or the walk would prove nothing', async () => {
    const [alice, bob] = couple();
    await verify(alice, bob);
    expect(alice.trusted).toHaveLength(1);
    expect(bob.trusted).toHaveLength(1);
  });
});
