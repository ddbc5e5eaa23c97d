/** How many OFFERs may wait for a code at once (section 4). */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { hasRoom, type Ring } from '../../plugins/verify/machine/rings.ts';
import type { Aci } from '../../src/address.ts';

it('has room for five contacts, and for one stranger more', () => {
  const of = (acquaintance: Ring['acquaintance']): Ring[] =>
    Array.from({ length: 6 }, () => ({ peer: randomUUID() as Aci, acquaintance }));
  const [known, answered, strangers] = [of('known'), of('answered'), of('stranger')];
  const fits = (rings: readonly Ring[], beside: readonly Ring[] = []): number =>
    rings.filter((ring, i) => hasRoom([...beside, ...rings.slice(0, i)], ring)).length;
  expect([fits(known), fits(answered), fits(strangers)]).toEqual([5, 5, 1]);
  // Those who are known better are not kept out by the others, and keep them out.
  expect([fits(known, [...answered, ...strangers]), fits(answered, strangers)]).toEqual([5, 5]);
  expect([fits(answered, known), fits(answered, known.slice(0, 3))]).toEqual([0, 2]);
  for (const rings of [known.slice(0, 5), strangers.slice(0, 1)])
    expect(rings.every((ring) => hasRoom(rings, ring))).toBe(true); // it rings already
});
