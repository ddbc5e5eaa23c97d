/** Frames as they come in: which of them become events of runs, and what becomes of those that cannot (sections 3.1, 3.8, 4). */
import { beforeEach, describe, expect, it } from 'vitest';
import { dammDigit } from '../../../plugins/verify/code.ts';
import { encodeCounters } from '../../../plugins/verify/counters-row.ts';
import { charge, NO_COUNTERS } from '../../../plugins/verify/limits.ts';
import type { Bytes } from '../../../src/bytes.ts';
import type { Store } from '../../../src/store/store.ts';
import { pluginState } from '../../../src/store/tables.ts';
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

async function offerOf(party: Party, code = CODE): Promise<Bytes> {
  await party.start(bobAsParty(), code);
  return party.frame('offer');
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

describe('a code', () => {
  it('V-23: is not taken under a lock, though what it is for rings already', async () => {
    await bob.take(await offerOf(alice), alice);
    let counters = NO_COUNTERS;
    for (let guess = 0; guess < 3; guess++) {
      const time = bob.clock.now();
      counters = charge(counters, { peer: alice.own.aci, runId: random.bytes(16), time });
    }
    const batch = bob.store.batch();
    pluginState.put(batch, 'verify', 'counters', encodeCounters(counters));
    await batch.commit();
    expect(await failure(bob.enter(alice, TYPED))).toBe('VERIFY_LOCKED');
    expect(await bob.state(alice)).toBe('ringing');
    expect(await bob.sent('reply', alice)).toEqual([]);
  });
});
