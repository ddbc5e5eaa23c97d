/** Glare: both sides create a code for each other (section 6). */
import { describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import type { Bytes } from '../../src/bytes.ts';
import { Party } from './support/party.ts';

const SMALL = '00000000-0000-4000-8000-000000000001' as Aci;
const LARGE = 'ffffffff-0000-4000-8000-000000000002' as Aci;

describe('glare', () => {
  /** All orders in which each side starts and takes what the other has sent. */
  const ORDERS = interleavings(['A starts', 'A takes'], ['B starts', 'B takes']);

  it.each(ORDERS.map((order) => [order.join(', '), order] as const))(
    'leaves the run of the smaller ACI, when %s',
    async (_, order) => {
      const alice = new Party({ aci: SMALL });
      const bob = new Party({ aci: LARGE });
      await play(order, alice, bob);
      for (let i = 0; i < 6; i++) await deliverAll(alice, bob); // until nothing is on its way
      const [run, other] = [alice.run, bob.run];
      expect([run?.kind, other?.kind]).toEqual(['offered', 'ringing']);
      expect(run?.runId).toEqual(other?.runId);
      expect([alice.counters.charges, bob.counters.charges]).toEqual([[], []]);
    },
  );

  it.each(ORDERS.map((order) => [order.join(', '), order] as const))(
    'leaves the run of the smaller run id in mode 2, when %s',
    async (_, order) => {
      const [alice, bob] = [new Party({ mode: 2 }), new Party({ mode: 2 })];
      const ids = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)] as const;
      await play(order, alice, bob, ids);
      for (let i = 0; i < 6; i++) await deliverAll(alice, bob);
      expect([alice.kind, bob.kind]).toEqual(['offered', 'ringing']);
      expect(bob.run?.runId).toEqual(ids[0]);
    },
  );

  it('sends the OFFER that stays once more, as the other side may not have heard it', async () => {
    const [alice, bob] = [new Party({ aci: SMALL }), new Party({ aci: LARGE })];
    await alice.start(bob, '482913');
    alice.sent.length = 0; // lost
    await bob.start(alice, '135790');
    const theirs = bob.frame('offer');
    await alice.take(theirs, bob, { isMuted: true }); // she has answered him a moment ago
    expect(alice.sent).toEqual([]);
    await deliver(bob, alice);
    expect(bob.kind).toBe('offered');
    await deliver(alice, bob);
    expect([bob.kind, bob.run?.runId]).toEqual(['ringing', alice.run?.runId]);
    expect(bob.ended).toBe('superseded');
  });

  it('is none once a REPLY is bound or written', async () => {
    const [alice, bob] = [new Party({ aci: SMALL }), new Party({ aci: LARGE })];
    await bob.start(alice, '482913');
    await alice.take(bob.frame('offer'), bob);
    await alice.type('482913');
    const late = new Party({ aci: SMALL });
    await late.start(bob, '135790');
    await bob.take(alice.frame('reply'), alice);
    expect(bob.kind).toBe('proved');
    await bob.take(late.frame('offer'), late);
    expect(bob.kind).toBe('proved');
  });
});

function interleavings(a: readonly string[], b: readonly string[]): string[][] {
  const [first, ...rest] = a;
  const [other, ...others] = b;
  if (first === undefined) return [[...b]];
  if (other === undefined) return [[...a]];
  return [
    ...interleavings(rest, b).map((order) => [first, ...order]),
    ...interleavings(a, others).map((order) => [other, ...order]),
  ];
}

async function play(order: string[], alice: Party, bob: Party, ids?: readonly [Bytes, Bytes]): Promise<void> {
  for (const step of order) {
    if (step === 'A starts') await alice.start(bob, '482913', ids?.[0]);
    if (step === 'B starts') await bob.start(alice, '135790', ids?.[1]);
    if (step === 'A takes') await deliver(bob, alice);
    if (step === 'B takes') await deliver(alice, bob);
  }
}

async function deliver(from: Party, to: Party): Promise<void> {
  for (const { bytes } of from.sent.splice(0)) await to.take(bytes, from);
}

async function deliverAll(alice: Party, bob: Party): Promise<void> {
  await deliver(alice, bob);
  await deliver(bob, alice);
}
