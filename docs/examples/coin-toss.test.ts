import { testRounds } from 'countersign/testing';
import { expect, test } from 'vitest';
import { coinToss } from './coin-toss.ts';

test('gives all the same coin, in bad weather too', () => {
  const weather = { loss: 0.2, twice: 0.2, death: 0.2, mixes: true, waitMs: 3_600_000 };
  for (let seed = 0; seed < 10; seed++) {
    const t = testRounds(coinToss, 4, { seed, ...weather });
    expect(t.outputs[1]).toHaveLength(32);
    for (const party of [2, 3, 4]) expect(t.outputs[party]).toEqual(t.outputs[1]);
  }
});

test('names who opens something else than it has promised', () => {
  const t = testRounds(coinToss, 3, {
    rewrite: ({ sender, round, body }) => (sender === 3 && round === 2 ? new Uint8Array(32) : body),
  });
  expect(t.outputs).toEqual({});
  expect(t.party(1).end?.reason).toBe('a promise was broken');
  expect(t.party(1).blame).toEqual([{ party: 3, reason: 'did not open what it promised' }]);
});

test('waits for who comes late, and names nobody who stays away', () => {
  const t = testRounds(coinToss, 3, { absent: [2], ms: 60_000 });
  expect(t.party(1).waitingFor).toEqual([2]);
  t.open(2);
  t.settle();
  expect(t.outputs[2]).toEqual(t.outputs[1]);
  const { end, blame } = testRounds(coinToss, 3, { absent: [2] }).party(1);
  expect([end?.reason, blame]).toEqual(['the time is over; nothing came from party 2', []]);
});
