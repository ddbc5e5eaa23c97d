/** The simulation that authors of protocols use, through the public entry. */
import { describe, expect, expectTypeOf, it } from 'vitest';
import { keygen } from '../../plugins/threshold-bls/keygen.ts';
import { publicKeyOf, sharingOf } from '../../plugins/threshold-bls/key-share.ts';
import { verify } from '../../plugins/threshold-bls/math/signing.ts';
import { sign } from '../../plugins/threshold-bls/sign.ts';
import { concat, EMPTY, fromUtf8, toUtf8 } from '../../src/bytes.ts';
import {
  decodeFrame,
  type Codec,
  type Protocol,
  type RoundMessages,
  type Step,
} from '../../src/rounds/index.ts';
import { SeededRandom, testRounds, type RoundsTestOptions, type Said } from '../../src/testing.ts';

const json: Codec<never> = {
  encode: (value) => fromUtf8(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(toUtf8(bytes)) as never,
};
const nothing: Codec<undefined> = { encode: () => EMPTY, decode: () => undefined };
const plain: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };

interface Params {
  readonly limit: number;
}

/** Everyone tells all its number, and whispers it too; who gives another number each time, or one that is too large, is named. */
const sum: Protocol<Params, number, number, number> = {
  name: 'test.sum',
  version: 1,
  rounds: [{ broadcast: true, private: true }],
  params: json,
  input: json,
  state: json,
  output: json,
  check: ({ limit }) => (limit > 0 ? undefined : 'the limit is too low'),
  start: ({ self, present, random }, input) => ({
    kind: 'next',
    state: random.bytes(1)[0] ?? 0,
    broadcast: Uint8Array.of(input),
    private: new Map(present.filter((index) => index !== self).map((index) => [index, Uint8Array.of(input)])),
  }),
  step: ({ params, self }, _, messages) => {
    const said = [...messages].map(([party, { broadcast, private: letter }]) => ({
      party,
      value: broadcast?.[0] ?? 0,
      isSame: party === self || letter?.[0] === broadcast?.[0],
    }));
    const blame = said
      .filter(({ value, isSame }) => !isSame || value > params.limit)
      .map(({ party }) => ({ party, reason: 'gives a wrong number' }));
    return blame.length > 0
      ? { kind: 'abort', reason: 'a number is wrong', blame }
      : { kind: 'done', output: said.reduce((total, { value }) => total + value, 0) };
  },
};

const params = { limit: 100 };
const inputs = { 1: 10, 2: 20, 3: 30 };
const given = { params, inputs };

describe('a ceremony in memory', () => {
  it('takes typed parameters and inputs, and gives each party its typed output', () => {
    const t = testRounds(sum, 3, given);
    expectTypeOf(t.outputs[1]).toEqualTypeOf<number | undefined>();
    expect(t.outputs).toEqual({ 1: 60, 2: 60, 3: 60 });
    expect(t.party(2)).toMatchObject({
      state: 'done',
      output: 60,
      held: undefined,
      blame: [],
      waitingFor: [],
    });
    expect(t.party(2).end?.reason).toBe('done');
  });

  it('hands the outputs of one on as the inputs of the next, and signs a message', () => {
    const message = fromUtf8('pay 3');
    const { outputs: shares } = testRounds(keygen, 3, { params: { threshold: 1 } });
    const { 1: share } = shares;
    if (share === undefined) throw new Error('there is no share');
    const publicKey = publicKeyOf(share);
    const asked = { threshold: 1, publicKey, sharing: sharingOf(share) };
    const t = testRounds(sign, 3, { params: asked, inputs: shares, message, signers: [1, 3], absent: [3] });
    expect([t.outputs, t.party(1).end?.reason]).toEqual([{}, 'the time is over; nothing came from party 3']);
    const { outputs } = testRounds(sign, 3, { params: asked, inputs: shares, message, signers: [1, 3] });
    expect(verify(publicKey, outputs[3]?.signature ?? EMPTY, message)).toBe(true);
  });

  it('asks for parameters and inputs where the protocol cannot do without', () => {
    type Given = Parameters<typeof testRounds<Params, number, number, number>>;
    expectTypeOf<[typeof sum, number, typeof given]>().toExtend<Given>();
    expectTypeOf<[typeof sum, number]>().not.toExtend<Given>();
    expectTypeOf<[typeof sum, number, { params: Params }]>().not.toExtend<Given>();
    expectTypeOf<[typeof sum, number, { inputs: typeof inputs }]>().not.toExtend<Given>();
    type Nothing = Parameters<typeof testRounds<undefined, undefined, number, number>>;
    expectTypeOf<[Nothing[0], number]>().toExtend<Nothing>();
  });

  it.each<[string, number, Partial<RoundsTestOptions<Params, number>>, string]>([
    ['a party without its input', 3, { inputs: { 1: 10, 2: 20 } }, 'USAGE'],
    ['what the protocol refuses', 3, { params: { limit: 0 } }, 'USAGE'],
    ['nobody', 0, {}, 'GROUP_INVALID'],
    ['65 parties', 65, {}, 'GROUP_INVALID'],
    ['frames that come again for ever', 3, { twice: 1 }, 'USAGE'],
    ['as many new ones as are taken', 3, { twice: 0.5, death: 0.5 }, 'USAGE'],
    ['parties that die at each commit', 3, { death: 1 }, 'USAGE'],
    ['one that is waited for without end', 3, { absent: [2], waitMs: Infinity }, 'USAGE'],
    ['a signer that there is not', 3, { signers: [1, 4] }, 'CONTENT_INVALID'],
    ['signers that are not in their order', 3, { signers: [2, 1] }, 'CONTENT_INVALID'],
  ])('is refused: %s', (_, n, options, code) => {
    const refused = (): unknown => testRounds(sum, n, { ...given, ...options });
    expect(refused).toThrow(expect.objectContaining({ code }) as Error);
  });

  it('says so of a party that there is not, or that has not opened it', () => {
    const t = testRounds(sum, 3, { ...given, absent: [2] });
    expect(() => t.party(2)).toThrow('party 2 has not opened it');
    expect(() => {
      t.open(4);
    }).toThrow('there is no party 4');
  });

  it('shows what is held until all have confirmed', () => {
    const t = testRounds({ ...sum, isHeld: true }, 2, {
      ...given,
      ms: 5_000,
      tamper: (wire, { now }) => {
        const isLast = wire.from === 2 && decodeFrame(wire.payload).kind === 'confirm';
        return isLast && now < 1_700_000_005_000 ? [] : [wire];
      },
    });
    expect(t.party(1)).toMatchObject({ state: 'running', held: 30, output: undefined, waitingFor: [2] });
    t.settle();
    expect(t.party(1)).toMatchObject({ state: 'done', held: 30, output: 30, waitingFor: [] });
  });

  it('can be opened anew once it is over, with other inputs', () => {
    const t = testRounds(sum, 2, given);
    for (const input of [1, 2]) {
      t.open(1, input);
      t.open(2, input);
      expect(t.outputs).toEqual({});
      t.settle();
      expect(t.outputs).toEqual({ 1: 2 * input, 2: 2 * input });
    }
  });

  it('tells what a protocol has thrown', () => {
    const fails = (): never => {
      throw new SyntaxError('this is no number');
    };
    const faulty = { ...sum, step: fails };
    const t = testRounds(sum, 2, { ...given, protocols: { 2: faulty } });
    expect(t.faults).toEqual([expect.any(SyntaxError)]);
    expect(t.party(2).end?.reason).toBe('the protocol test.sum has failed');
  });

  it('is the same again for the same seed, and another for another', () => {
    const weather = { ...given, loss: 0.2, twice: 0.2, death: 0.2, mixes: true, waitMs: 3_600_000 };
    const [a, b, c] = [1, '1', 2].map((seed) => testRounds(sum, 3, { ...weather, seed }));
    expect(a?.sent.length).toBeGreaterThan(20);
    expect(a?.run(1).id).toEqual(b?.run(1).id);
    expect([a?.now, a?.sent.length]).toEqual([b?.now, b?.sent.length]);
    expect(a?.run(1).id).not.toEqual(c?.run(1).id);
    for (const t of [a, b, c]) expect(t?.outputs).toEqual({ 1: 60, 2: 60, 3: 60 });
  });
});

describe('a cheat', () => {
  const blame = [{ party: 2, reason: 'gives a wrong number' }];

  it('can run another protocol', () => {
    const greedy: typeof sum = { ...sum, start: (setting) => sum.start(setting, 200) };
    const t = testRounds(sum, 3, { ...given, protocols: { 2: greedy } });
    for (const index of [1, 3]) expect(t.party(index)).toMatchObject({ state: 'aborted', blame });
  });

  it('can say something else to all, which all confirm', () => {
    const t = testRounds(sum, 3, {
      ...given,
      rewrite: ({ sender, body }) => (sender === 2 ? Uint8Array.of(21) : body),
    });
    expect(t.outputs).toEqual({ 1: 61, 2: 41 + 20, 3: 61 });
  });

  it('can whisper something else to one party', () => {
    const t = testRounds(sum, 3, {
      ...given,
      rewrite: ({ round, sender, recipient, body }) =>
        round === 1 && sender === 2 && recipient === 3 ? Uint8Array.of(99) : body,
    });
    expect(t.party(3)).toMatchObject({ state: 'aborted', end: { by: 3 }, blame });
    // That was the last round, which all had confirmed.
    expect(t.outputs).toEqual({ 1: 60, 2: 60 });
  });

  it('is named by all when it signs something else for one of them', () => {
    const t = testRounds(sum, 3, {
      ...given,
      tamper: (wire, test) => [
        wire.from === 2 && wire.to === 3 ? test.withBody(wire, Uint8Array.of(7)) : wire,
      ],
    });
    for (const index of [1, 3]) expect(t.party(index).blame.map(({ party }) => party)).toEqual([2]);
  });

  it('can be made of an object of a class, of which nothing else changes', () => {
    class Sum {
      readonly name = sum.name;
      readonly version = 1;
      readonly rounds = [{ broadcast: true }];
      readonly params = nothing;
      readonly input = nothing;
      readonly state = plain;
      readonly output = plain;
      quorum(): number {
        return 2;
      }
      start(): Step<Uint8Array, Uint8Array> {
        return { kind: 'next', state: EMPTY, broadcast: EMPTY };
      }
      step(...[, , messages]: readonly [unknown, unknown, RoundMessages]): Step<Uint8Array, Uint8Array> {
        const bodies = [...messages.values()].map(({ broadcast = EMPTY }) => broadcast);
        return messages.size < 2 ? { kind: 'wait' } : { kind: 'done', output: concat(...bodies) };
      }
    }
    const rewrite = ({ sender }: Said): Uint8Array => Uint8Array.of(sender);
    const t = testRounds(new Sum(), 3, { rewrite, absent: [3] });
    expect(t.outputs).toEqual({ 1: Uint8Array.of(1, 2), 2: Uint8Array.of(1, 2) });
  });
});

it('draws bytes for calls of `start` and `step` that are the same each time', () => {
  const [a, b] = [new SeededRandom('a'), new SeededRandom('a')];
  expect(a.bytes(70)).toEqual(b.bytes(70));
  expect(a.bytes(70)).toHaveLength(70);
  for (let i = 0; i < 100; i++) expect([0, 1, 2]).toContain(a.below(3));
});
