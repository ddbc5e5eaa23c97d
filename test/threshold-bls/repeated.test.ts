/** The same message signed once more: who asks is shown at once that it was signed before. */
import { afterEach, expect, it } from 'vitest';
import { acts } from '../../plugins/threshold-bls/ceremonies.ts';
import { toBase64 } from '../../src/bytes.ts';
import { Circle } from './support/circle.ts';

let circle: Circle;
afterEach(() => circle.stop());

interface Signed {
  readonly signature: string;
}

/** Two parties sign. @returns what each has, and what it was told meanwhile */
async function sign(publicKey: string, message: string): Promise<{ ends: Signed[]; told: object[] }> {
  const { members, clock } = circle;
  const lines = members.map(({ party: { aci, deviceId, identityKey } }) =>
    JSON.stringify({ aci, deviceId, identityKey: toBase64(identityKey) }),
  );
  const input = { group: lines.slice(0, 2).join('\n'), publicKey, message, wait: 60 };
  const told: object[] = [];
  const tell = (event: object): void => void told.push(event);
  const { signal } = new AbortController();
  const ends: Signed[] = [];
  const signing = members.slice(0, 2).map(async ({ host, rounds }) => {
    const value = await acts(host, rounds)['sign']?.({ contact: undefined, input, signal, tell });
    ends.push(value as Signed);
  });
  for (let i = 0; i < 40 && ends.length < 2; i++) {
    await clock.advance(500);
    await circle.exchange();
  }
  await Promise.all(signing);
  return { ends, told: told.filter((event) => 'step' in event && event.step === 'repeated') };
}

it('shows the signature of before, and signs again', { timeout: 60_000 }, async () => {
  circle = await Circle.start(3);
  const publicKey = await circle.key();
  const first = await sign(publicKey, '00');
  expect(first.ends).toHaveLength(2);
  expect(first.told).toEqual([]);
  const at = circle.clock.now();
  await circle.clock.advance(300_000);
  const second = await sign(publicKey, '00');
  expect(second.ends).toEqual(first.ends);
  const shown = { step: 'repeated', signature: first.ends[0]?.signature, at: expect.any(Number) as number };
  expect(second.told).toEqual([expect.objectContaining(shown), expect.objectContaining(shown)]);
  for (const event of second.told) expect((event as { at: number }).at).toBeLessThanOrEqual(at);
  expect((await sign(publicKey, '01')).told).toEqual([]);
});
