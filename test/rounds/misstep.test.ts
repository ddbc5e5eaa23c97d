import { describe, expect, it } from 'vitest';
import { open } from '../../src/rounds/ceremony.ts';
import type { Protocol, Step } from '../../src/rounds/protocol.ts';
import type { Tools } from '../../src/rounds/run.ts';
import type { Codec } from '../../src/router.ts';
import { RoundsTest } from '../../src/testing/rounds.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';

const NONE = new Uint8Array(0);
const ONE = Uint8Array.of(1);
const plain: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };
const nothing: Codec<undefined> = { encode: () => NONE, decode: () => undefined };

/** Each whispers to every other, then says something to all. */
const right: Protocol<undefined, undefined, Uint8Array, Uint8Array> = {
  name: 'test.two-rounds',
  version: 1,
  rounds: [{ private: true }, { broadcast: true, maxBytes: 8 }],
  params: nothing,
  input: nothing,
  state: plain,
  output: plain,
  start: ({ self, present }) => ({ kind: 'next', state: NONE, private: whispers(present, self) }),
  step: ({ round }) =>
    round === 2 ? { kind: 'next', state: NONE, broadcast: ONE } : { kind: 'done', output: ONE },
};

function whispers(present: readonly number[], self: number): Map<number, Uint8Array<ArrayBuffer>> {
  return new Map(present.filter((index) => index !== self).map((index) => [index, ONE]));
}

/** What a plugin in JavaScript can give. */
function wrong(step: unknown): Step<Uint8Array, Uint8Array> {
  return step as Step<Uint8Array, Uint8Array>;
}

/** Party 2 gives this in the place of what it should say in round 2. */
function second(step: unknown): Partial<typeof right> {
  return { step: ({ round }) => (round === 2 ? wrong(step) : { kind: 'done', output: ONE }) };
}

function sim(faulty: Partial<typeof right>, base: typeof right = right): RoundsTest {
  const all = base as unknown as Protocol;
  return new RoundsTest(all, 3, { protocols: { 2: { ...base, ...faulty } } });
}

describe('a protocol that gives what is no step of it', () => {
  const next = { kind: 'next', state: NONE, broadcast: ONE };
  it.each<[string, Partial<typeof right>, string]>([
    ['nothing', second(undefined), 'it gave no step'],
    ['a promise', second(Promise.resolve(next)), 'it gave no step'],
    ['a kind that there is not', second({ kind: 'end' }), 'it gave no step'],
    ['wait where all is there', second({ kind: 'wait' }), 'it waits though nothing more can come'],
    ['an end without a reason', second({ kind: 'abort' }), 'it ends without a reason'],
    ['its output too early', second({ kind: 'done', output: ONE }), 'it is done before its last round'],
    ['no message', second({ ...next, broadcast: undefined }), 'its broadcast of round 2 is missing'],
    ['text', second({ ...next, broadcast: 'one' }), 'its broadcast of round 2 is no Uint8Array'],
    [
      '9 bytes',
      second({ ...next, broadcast: new Uint8Array(9) }),
      'its broadcast of round 2 has more than 8 bytes',
    ],
    [
      'whispers in a plain object',
      { start: () => wrong({ kind: 'next', state: NONE, private: { 1: ONE, 3: ONE } }) },
      'its private messages of round 1 are no Map by index',
    ],
    [
      'whispers in an array',
      { start: () => wrong({ kind: 'next', state: NONE, private: [undefined, ONE, undefined, ONE] }) },
      'its private messages of round 1 are no Map by index',
    ],
    [
      'whispers by words',
      {
        start: () =>
          wrong({ kind: 'next', state: NONE, private: new Map(Object.entries({ 1: ONE, 3: ONE })) }),
      },
      'its private messages of round 1 are under keys that are no numbers',
    ],
    [
      'a whisper of text',
      {
        start: () =>
          wrong({
            kind: 'next',
            state: NONE,
            private: new Map<number, unknown>([
              [1, ONE],
              [3, 'one'],
            ]),
          }),
      },
      'its private message of round 1 for party 3 is no Uint8Array',
    ],
    [
      'a whisper in a round without',
      second({ ...next, private: new Map([[1, ONE]]) }),
      'it has a message that round 2 has no place for',
    ],
    [
      'a whisper to itself',
      { start: ({ present }) => ({ kind: 'next', state: NONE, private: whispers(present, 0) }) },
      'it has a message that round 1 has no place for',
    ],
    [
      'a broadcast in a round without',
      { start: (setting) => ({ ...right.start(setting, undefined), broadcast: ONE }) },
      'it has a message that round 1 has no place for',
    ],
    [
      'one whisper too few',
      { start: () => ({ kind: 'next', state: NONE, private: new Map([[1, ONE]]) }) },
      'its private message of round 1 for party 3 is missing',
    ],
    [
      'blame for nobody',
      second({ ...next, blame: [{ party: 77, reason: 'is late' }] }),
      'it blames who does not take part',
    ],
    ['blame for nothing', second({ ...next, blame: [undefined] }), 'it blames who does not take part'],
    [
      'blame that is no list',
      second({ ...next, blame: { party: 1, reason: 'is late' } }),
      'its blame is no array',
    ],
    [
      'blame without a reason',
      second({ ...next, blame: [{ party: 1 }] }),
      'it blames who does not take part',
    ],
  ])('ends its ceremony for all at once: %s', (_, faulty, what) => {
    const ceremony = sim(faulty);
    const before = ceremony.now;
    ceremony.openAll();
    ceremony.settle();
    expect(ceremony.now).toBe(before);
    const reason = `the protocol ${right.name} has failed: ${what}`;
    for (const index of [1, 3])
      expect(ceremony.run(index)).toMatchObject({ phase: 'aborted', end: { reason, by: 2 }, blame: [] });
    expect(ceremony.run(2)).toMatchObject({ phase: 'aborted', blame: [] });
    expect(ceremony.faults.map(String)).toEqual([expect.stringContaining(what)]);
  });

  it('is not what one gives that names somebody and waits for the others, of whom too few are left', () => {
    const blame = [{ party: 3, reason: 'sent nonsense' }];
    const ceremony = sim({}, { ...right, step: (setting, ...all) => setting.round === 2 ? wrong({ kind: 'wait', blame }) : right.step(setting, ...all) }); // prettier-ignore
    ceremony.openAll();
    ceremony.settle();
    expect(ceremony.faults).toEqual([]);
    expect(ceremony.run(1)).toMatchObject({ phase: 'aborted', end: { reason: 'what has come is not enough' }, blame }); // prettier-ignore
  });

  it('ends it there when it does not come to an end', () => {
    const ceremony = sim({ step: () => wrong(next) });
    ceremony.openAll();
    ceremony.settle();
    expect(ceremony.run(2).end?.reason).toContain('it goes on behind its last round');
  });

  it('ends it too when the output cannot be written, or read again', () => {
    const output = (codec: Partial<typeof plain>): Partial<typeof right> => ({
      output: { ...plain, ...codec },
    });
    const fails = (): never => {
      throw new Error('no such output');
    };
    for (const faulty of [output({ encode: fails }), output({ decode: fails })]) {
      const ceremony = sim(faulty);
      ceremony.openAll();
      ceremony.settle();
      expect(ceremony.run(2)).toMatchObject({ phase: 'aborted' });
      expect(ceremony.output(2)).toBeUndefined();
    }
  });

  it('may be done early nowhere, also where some are enough', () => {
    const some = { ...right, rounds: [{ broadcast: true }, { broadcast: true }], quorum: () => 2 };
    const start = (): Step<Uint8Array, Uint8Array> => ({ kind: 'next', state: NONE, broadcast: ONE });
    const ceremony = sim(second({ kind: 'done', output: ONE }), { ...some, start });
    ceremony.openAll();
    ceremony.settle();
    expect(ceremony.run(2).end?.reason).toContain('it is done before its last round');
    for (const index of [1, 3]) expect(ceremony.output(index)).toEqual(ONE);
  });
});

describe('a protocol that throws before there is a ceremony', () => {
  const fails = (): never => {
    throw new Error('cannot read 5e5e5e');
  };
  it.each<[string, Partial<typeof right>]>([
    ['could not check what is proposed', { check: fails }],
    ['could not say how many are needed', { quorum: fails }],
    ['does not take this input', { input: { ...nothing, decode: fails } }],
  ])('is said to whoever opens one, with a code: %s', (what, faulty) => {
    const { proposal } = sim({});
    const tools: Tools = {
      protocol: { ...right, ...faulty },
      random: new SeededRandom('open'),
      sign: () => NONE,
      verify: () => true,
    };
    const opening = { proposal, self: 1, input: NONE, waitMs: 1_000 };
    expect(() => open(tools, opening, 0)).toThrow(
      expect.objectContaining({
        code: 'PLUGIN_FAILED',
        message: `the protocol ${right.name} ${what}`,
      }) as Error,
    );
  });
});
