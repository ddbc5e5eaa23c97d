/** Rows of shares: which ones stay when another comes. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { entries } from '../../plugins/threshold-bls/ceremonies.ts';
import { publicKeyOf, sharingOf, toHex } from '../../plugins/threshold-bls/key-share.ts';
import { holdShare, settleShare, sharesOf, type Made } from '../../plugins/threshold-bls/shares.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { testParties } from '../../src/testing/parties.ts';
import { RoundsMember } from '../support/rounds-member.ts';
import { shareOf } from './support/sharings.ts';

type Name = 'first' | 'second';

let member: RoundsMember;

beforeEach(async () => {
  member = await RoundsMember.start(new ManualClock(), entries());
});

afterEach(() => member.stop());

/** Both are of one epoch. */
function made(name: Name, topic = 'a refresh'): Made {
  return { share: shareOf(name), parties: testParties(3).set, topic };
}

function hold(...what: Parameters<typeof made>): Promise<void> {
  return member.host.update(({ state }) => holdShare(state, made(...what)));
}

async function kept(): Promise<(Name | undefined)[]> {
  const held = await member.host.update((tx) => sharesOf(tx, toHex(publicKeyOf(shareOf('first')))));
  const names = (['first', 'second'] as const).map(
    (name) => [toHex(sharingOf(shareOf(name))), name] as const,
  );
  return held.map(({ share }) => new Map(names).get(toHex(sharingOf(share)))).sort();
}

it('gives up the share of an attempt before at the same refresh', async () => {
  await hold('first');
  await hold('second');
  expect(await kept()).toEqual(['second']);
});

it('keeps the share of another refresh, to which the others may belong', async () => {
  await hold('first', 'another refresh');
  await hold('second');
  expect(await kept()).toEqual(['first', 'second']);
});

it('keeps a share that all have confirmed', async () => {
  await member.host.update(({ state }) => settleShare(state, made('first')));
  await hold('second');
  expect(await kept()).toEqual(['first', 'second']);
});
