/** What shows that a party told two tales, and what does not, whoever shows it. */
import { expect, it } from 'vitest';
import { equal, type Bytes } from '../../src/bytes.ts';
import { decodeFrame, encodeFrame, type FrameOf, type Signed } from '../../src/rounds/frame.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import type { Codec } from '../../src/router.ts';
import { RoundsTest } from '../../src/testing/rounds.ts';

type Message = FrameOf<'message'>;
type Talk = RoundsTest<undefined, undefined, Uint8Array, Uint8Array>;

const NONE = new Uint8Array(0);
const plain: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };
const nothing: Codec<undefined> = { encode: () => NONE, decode: () => undefined };

/** Two rounds, each with something for all, the first with something for each other as well. */
const talk: Protocol<undefined, undefined, Uint8Array, Uint8Array> = {
  name: 'test.talk',
  version: 1,
  rounds: [{ broadcast: true, private: true }, { broadcast: true }],
  params: nothing,
  input: nothing,
  state: plain,
  output: plain,
  start: ({ self, present, random }) => ({
    kind: 'next',
    state: NONE,
    broadcast: random.bytes(8),
    private: new Map(present.filter((to) => to !== self).map((to) => [to, Uint8Array.of(self, to)])),
  }),
  step: ({ round, random }) =>
    round === 2 ? { kind: 'next', state: NONE, broadcast: random.bytes(8) } : { kind: 'done', output: NONE },
};

/** What party 2 has signed, by round and recipient (0 is all). */
type Said = (round: number, recipient: number) => Message;

interface Scene {
  readonly test: Talk;
  /** In an earlier ceremony of the same three about the same. */
  readonly before: Said;
  /** In the one that party 1 is in: all has been said, and the last confirmations are still on their way. */
  readonly now: Said;
}

function scene(): Scene {
  let isHeldUp = false;
  const test = new RoundsTest(talk, 3, {
    tamper: (wire) => {
      const frame = decodeFrame(wire.payload);
      return isHeldUp && frame.kind === 'confirm' && frame.round === 2 ? [] : [wire];
    },
  });
  const once = (): Said => {
    test.openAll();
    test.settle(1_000);
    const { id } = test.run(1);
    return (round, recipient) => messageOf(test, { id, sender: 2, round, recipient });
  };
  const before = once();
  isHeldUp = true;
  const now = once();
  expect(test.run(1)).toMatchObject({ phase: 'running', round: 2, blame: [] });
  expect(equal(before(1, 0).id, now(1, 0).id)).toBe(false);
  return { test, before, now };
}

function messageOf(test: Talk, place: Pick<Signed, 'id' | 'sender' | 'round' | 'recipient'>): Message {
  for (const { payload } of test.sent) {
    const frame = decodeFrame(payload);
    if (frame.kind !== 'message' || frame.sender !== place.sender || !equal(frame.id, place.id)) continue;
    if (frame.round === place.round && frame.recipient === place.recipient) return frame;
  }
  throw new Error('it has not said that');
}

/** Party 3 ends the ceremony at party 1, and shows it something. @returns whom party 1 names */
function named({ test }: Scene, evidence: readonly Signed[]): readonly number[] {
  const { topic, id } = test.run(1);
  const payload = encodeFrame({ kind: 'abort', topic, id, reason: 'look what it said', evidence });
  test.wires.push({ from: 3, to: 1, payload });
  test.settle(1_000);
  expect(test.run(1).phase).toBe('aborted');
  return test.run(1).blame.map(({ party }) => party);
}

function bent(message: Message): Message {
  const body: Bytes = Uint8Array.from(message.body, (byte, at) => (at === 0 ? byte ^ 1 : byte));
  return { ...message, body };
}

it.each<[string, (said: Scene) => readonly Signed[]]>([
  ['messages of two ceremonies', ({ before, now }) => [now(1, 0), before(1, 0)]],
  ['messages of two ceremonies, that of before first', ({ before, now }) => [before(1, 0), now(1, 0)]],
  [
    'two messages for one place of another ceremony',
    ({ test, before }) => [before(1, 0), test.sign(bent(before(1, 0)))],
  ],
  ['a message of another ceremony beside its own copy', ({ before }) => [before(1, 0)]],
  [
    'a message of another ceremony with the id of this one',
    ({ before, now }) => [now(1, 0), { ...before(1, 0), id: now(1, 0).id }],
  ],
  ['messages of two rounds', ({ now }) => [now(1, 0), now(2, 0)]],
  [
    'a message of another round with the number of this one',
    ({ now }) => [now(2, 0), { ...now(1, 0), round: 2 }],
  ],
  ['messages for two recipients', ({ now }) => [now(1, 1), now(1, 3)]],
  ['a message for all and one for a single party', ({ now }) => [now(1, 0), now(1, 1)]],
  ['a message for a single party and one for all', ({ now }) => [now(1, 1), now(1, 0)]],
  [
    'a message for a single party, shown as one for all',
    ({ now }) => [now(1, 0), { ...now(1, 1), recipient: 0 }],
  ],
  ['a message that it has not signed, and one that it has', ({ now }) => [bent(now(1, 0)), now(1, 0)]],
  ['a message that it has signed, and one that it has not', ({ now }) => [now(1, 0), bent(now(1, 0))]],
  ['the same message twice', ({ now }) => [now(1, 0), now(1, 0)]],
])('names nobody by %s', (_, evidence) => {
  const said = scene();
  const shown = evidence(said);
  expect(new Set(shown.map(({ sender }) => sender))).toEqual(new Set([2]));
  expect(named(said, shown)).toEqual([]);
});

it('names nobody by one message each of two parties', () => {
  const said = scene();
  const { id, round, recipient } = said.now(1, 0);
  const own = messageOf(said.test, { id, round, recipient, sender: 3 });
  expect(named(said, [said.now(1, 0), own])).toEqual([]);
});

it('names who has signed two messages for one place', () => {
  const said = scene();
  const other = said.test.sign(bent(said.now(1, 0)));
  expect(named(said, [said.now(1, 0), other])).toEqual([2]);
});

it('names who has signed another message than the one that is here', () => {
  const said = scene();
  expect(named(said, [said.test.sign(bent(said.now(1, 0)))])).toEqual([2]);
});
