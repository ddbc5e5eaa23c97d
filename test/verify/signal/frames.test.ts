/** Frames as they come in: which of them become events of runs, and what becomes of those that cannot (sections 3.1, 3.8, 4). */
import { beforeEach, describe, expect, it } from 'vitest';
import { dammDigit } from '../../../plugins/verify/code.ts';
import { encodeCounters } from '../../../plugins/verify/counters-row.ts';
import { charge, NO_COUNTERS } from '../../../plugins/verify/limits.ts';
import { decodeFrame, encodeFrame } from '../../../plugins/verify/messages/frame.ts';
import type { Bytes } from '../../../src/bytes.ts';
import type { Store } from '../../../src/store/store.ts';
import { pluginState } from '../../../src/store/tables.ts';
import { settle } from '../../support/clock.ts';
import { WatchedStore } from '../../support/watched-store.ts';
import { Party, random } from '../support/party.ts';
import { failure } from './support/duo.ts';
import { Solo } from './support/solo.ts';

const MINUTE_MS = 60_000;
const CODE = '482913';
/** With its check digit. */
const TYPED = CODE + String(dammDigit(CODE));

/** Who writes to the account. */
let alice: Party;
let bob: Solo;
/** How many more commits of the plugin fail. */
let failing = 0;

beforeEach(async () => {
  failing = 0;
  alice = new Party();
  bob = await Solo.begin(failingStore);
  alice.now = bob.clock.now();
  await bob.meet(alice);
});

function failingStore(store: Store): Store {
  return new WatchedStore(store, (commit) => {
    if (failing === 0) return commit();
    failing--;
    return Promise.reject(new Error('the disk is full'));
  });
}

/** What the account sees of a party is what that party sees of the account. */
const bobAsParty = (): Party => new Party({ aci: bob.aci, device: 2 });

const parties = (count: number): Party[] =>
  Array.from({ length: count }, () => {
    const party = new Party();
    party.now = bob.clock.now();
    return party;
  });

async function offerOf(party: Party, code = CODE): Promise<Bytes> {
  await party.start(bobAsParty(), code);
  return party.frame('offer');
}

/** Three guesses of this contact were wrong. */
async function lock(party: Party): Promise<void> {
  let counters = NO_COUNTERS;
  for (let guess = 0; guess < 3; guess++) {
    const time = bob.clock.now();
    counters = charge(counters, { peer: party.own.aci, runId: random.bytes(16), time });
  }
  const batch = bob.store.batch();
  pluginState.put(batch, 'verify', 'counters', encodeCounters(counters));
  await batch.commit();
}

describe('a frame', () => {
  it.each([true, false])('is dropped where it has come to our phone number (%s)', async (toPni) => {
    await bob.take(await offerOf(alice), alice, { toPni });
    expect(await bob.state(alice)).toBe(toPni ? undefined : 'ringing');
  });

  it('V-17: whose handler is given up leaves the run closed, and nothing charged', async () => {
    const { end } = await bob.start(alice);
    const [offer] = await bob.sent('offer', alice);
    if (offer === undefined) throw new Error('no OFFER has left');
    await alice.take(offer, bobAsParty());
    await alice.type(CODE);
    const reply = alice.frame('reply');
    for (const attempt of [1, 2, 3, 4, 5]) {
      expect(await bob.state(alice)).toBe('offered');
      failing = 1;
      await expect(bob.take(reply, alice, { attempt })).rejects.toThrow('the disk is full');
    }
    expect((await bob.slot(alice)).run).toMatchObject({ kind: 'closed', reason: 'rejected' });
    expect(await failure(end)).toBe('CODE_REJECTED');
    await bob.take(reply, alice);
    expect(await bob.sent('proof', alice)).toEqual([]);
    expect(await bob.act('status', alice)).toMatchObject({ guesses: [] });
  });

  it('ends an OFFER as ABORT of the last device that verifies, and not of one among several', async () => {
    await bob.know(alice, {
      2: ['countersign.verify/1'],
      3: ['countersign.verify/1'],
      4: ['countersign.echo/1'],
    });
    const told: object[] = [];
    const { end } = await bob.start(alice, (event) => told.push(event));
    const { run } = await bob.slot(alice);
    if (run?.kind !== 'offered') throw new Error('no code');
    const abort = encodeFrame({ suite: 1, runId: run.runId, body: { type: 'abort', reason: 'busy' } });
    await bob.take(abort, alice, { device: 3 });
    await settle();
    expect(await bob.state(alice)).toBe('offered');
    expect(told).toContainEqual({ event: 'refused', device: 3, reason: 'busy' });
    await bob.take(abort, alice, { device: 2 });
    expect(await failure(end)).toBe('VERIFY_LOCKED');
  });

  it('V-16: is looked at only when what its time has run out for is closed', async () => {
    await bob.take(await offerOf(alice), alice);
    await bob.enter(alice, TYPED);
    expect(await bob.state(alice)).toBe('replied');
    await bob.clock.advance(30 * MINUTE_MS);
    const next = await bob.again();
    alice.now = next.clock.now();
    // With the run still live, it would be left aside.
    await next.take(await offerOf(alice), alice);
    expect(await next.state(alice)).toBe('ringing');
  });
});

describe('places to ring in', () => {
  const ring = async (...parties: readonly Party[]): Promise<string> => {
    for (const party of parties) await bob.take(await offerOf(party), party);
    const states = await Promise.all(parties.map((party) => bob.state(party)));
    return states.map((state) => (state === 'ringing' ? 'x' : '-')).join('');
  };

  it('are one for all strangers together', async () => {
    const strangers = parties(3);
    await bob.meet(...strangers);
    expect(await ring(...strangers)).toBe('x--');
    expect(await ring(...parties(1))).toBe('-'); // nobody knows its key yet
  });

  it('are five for whom the account has answered, and none for whom it has known for a moment', async () => {
    const answered = parties(6);
    await bob.meet(...answered);
    await bob.answer(...answered);
    expect(await ring(...answered)).toBe('xxxxx-');
    const [first, second] = parties(2);
    if (first === undefined || second === undefined) throw new Error('nobody');
    await bob.answer(first, second);
    expect(await ring(first, second)).toBe('x-'); // strangers
  });

  it('are there for known contacts, whoever else rings', async () => {
    const answered = parties(5);
    await bob.meet(...answered);
    await bob.answer(...answered);
    expect(await ring(...answered)).toBe('xxxxx');
    await bob.list(alice, 'Alice');
    expect(await ring(alice)).toBe('x');
  });

  it('are not asked for where the operator waits for the contact', async () => {
    const [other, second] = parties(2);
    if (other === undefined || second === undefined) throw new Error('nobody');
    expect(await ring(other, second)).toBe('x-');
    const ringing = bob.act('ring', second, { waitMs: 2 * MINUTE_MS });
    expect(await ring(second)).toBe('x');
    expect(await ringing).toMatchObject({ aci: second.own.aci });
    expect(await ring(alice)).toBe('-');
    const late = failure(bob.act('ring', alice, { waitMs: MINUTE_MS }));
    await settle();
    await bob.clock.advance(MINUTE_MS + 1);
    expect(await late).toBe('CODE_EXPIRED');
    alice.now = bob.clock.now();
    expect(await ring(alice)).toBe('-'); // nobody waits any more
  });
});

describe('what contacts bring about', () => {
  /** One that asks for more than this version can do. */
  const unsupported = async (party: Party): Promise<Bytes> => {
    const offer = await offerOf(party);
    const frame = decodeFrame(offer);
    if (frame?.body.type !== 'offer') throw new Error('no OFFER');
    return encodeFrame({ ...frame, body: { ...frame.body, mhf: { log2N: 60, r: 8, p: 1 } } });
  };

  it('is answered, and told to the operator, once a minute', async () => {
    const bytes = await unsupported(alice);
    for (let i = 0; i < 5; i++) await bob.take(bytes, alice);
    expect((await bob.sent('abort', alice)).length).toBe(1);
    expect(bob.lines.length).toBe(1);
    await bob.clock.advance(MINUTE_MS);
    for (let i = 0; i < 5; i++) await bob.take(bytes, alice);
    expect((await bob.sent('abort', alice)).length).toBe(2);
    expect(bob.lines.length).toBe(2);
  });

  it('is answered once a minute under a lock', async () => {
    await lock(alice);
    for (let i = 0; i < 5; i++) await bob.take(await offerOf(alice), alice);
    expect((await bob.sent('abort', alice)).length).toBe(1);
    expect(bob.lines).toEqual([]);
  });

  /** Each asks for what cannot be done. */
  async function crowd(): Promise<readonly Party[]> {
    const strangers = parties(30);
    for (const party of strangers) await bob.take(await unsupported(party), party);
    return strangers;
  }

  const about = (party: Party): readonly string[] => bob.lines.filter((line) => line.includes(party.own.aci));

  it('is bounded for all whom nobody knows together', async () => {
    const strangers = await crowd();
    expect(bob.lines.length).toBe(20);
    const answers = await Promise.all(strangers.map((party) => bob.sent('abort', party)));
    expect(answers.flat().length).toBe(20);
  });

  it('is told and answered where contacts are known, whatever a crowd does', async () => {
    const [carol] = parties(1);
    if (carol === undefined) throw new Error('nobody');
    await bob.list(alice, 'Alice');
    await bob.list(carol, 'Carol');
    for (let minute = 1; minute <= 2; minute++) {
      await crowd();
      alice.now = bob.clock.now();
      await bob.take(await offerOf(alice), alice);
      expect(about(alice).filter((line) => line.includes('asks to verify')).length).toBe(minute);
      await bob.take(await unsupported(carol), carol);
      expect(about(carol).length).toBe(minute);
      expect((await bob.sent('abort', carol)).length).toBe(minute);
      await bob.clock.advance(MINUTE_MS);
    }
  });

  it('is answered where the operator waits for a contact, whatever a crowd does', async () => {
    const ringing = bob.act('ring', alice, { waitMs: 2 * MINUTE_MS });
    await crowd();
    await bob.take(await unsupported(alice), alice);
    expect((await bob.sent('abort', alice)).length).toBe(1);
    await bob.take(await offerOf(alice), alice);
    expect(await ringing).toMatchObject({ aci: alice.own.aci });
  });

  it('is told each time that a run of ours ends, whatever a crowd does', async () => {
    await crowd();
    for (let run = 1; run <= 2; run++) {
      const { end } = await bob.start(alice);
      const ended = failure(end);
      await bob.act('cancel', alice);
      expect(await ended).toBe('INTERRUPTED');
      expect(about(alice).length).toBe(run);
    }
  });

  it('is a line for a ring once a minute, though each newer one takes the place of the one before', async () => {
    for (let i = 0; i < 5; i++) {
      await bob.take(await offerOf(alice), alice);
      expect((await bob.slot(alice)).run?.runId).toEqual(alice.run?.runId);
    }
    expect(bob.lines.filter((line) => line.includes('asks to verify')).length).toBe(1);
    expect(bob.lines.length).toBe(2); // and one for those that were replaced
  });
});

describe('a code', () => {
  it('V-23: is not taken under a lock, though what it is for rings already', async () => {
    await bob.take(await offerOf(alice), alice);
    await lock(alice);
    expect(await failure(bob.enter(alice, TYPED))).toBe('VERIFY_LOCKED');
    expect(await bob.state(alice)).toBe('ringing');
    expect(await bob.sent('reply', alice)).toEqual([]);
  });
});
