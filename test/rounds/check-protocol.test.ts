import { expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { rounds, type Protocol, type Round } from '../../src/rounds/index.ts';

const coin = coinToss as unknown as Protocol;

it.each<readonly [string, Partial<Protocol>]>([
  ['a name in capitals', { name: 'Coin' }],
  ['no name', { name: '' }],
  ['a version that is cut to 4,464', { version: 70_000 }],
  ['version 0', { version: 0 }],
  ['no rounds', { rounds: [] }],
  ['256 rounds', { rounds: new Array<Round>(256).fill({ broadcast: true }) }],
  ['a round in which nothing is sent', { rounds: [{ broadcast: true }, {}] }],
  ['bodies of which no two can be shown', { rounds: [{ broadcast: true, maxBytes: 60_000 }] }],
])('a protocol with %s is refused where it is given', (_, change) => {
  expect(() => rounds([{ protocol: { ...coin, ...change } }])).toThrow(
    expect.objectContaining({ code: 'PLUGIN_INVALID' }) as Error,
  );
});

it('any other is taken, with the largest of everything', () => {
  const all = new Array<Round>(255).fill({ private: true, maxBytes: 24_576 });
  expect(() =>
    rounds([{ protocol: { ...coin, name: 'a.b-1', version: 65_535, rounds: all } }]),
  ).not.toThrow();
});
