import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { partySet, type Entry, type PartySet, type Protocol } from '../../src/rounds/index.ts';
import { abortCeremony, listCeremonies, showCeremony } from '../../src/rounds/operator.ts';
import { pluginVolatile } from '../../src/store/tables.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import type { RoundsMember } from '../support/rounds-member.ts';
import { exchange, threeMembers } from '../support/rounds-member.ts';

const coin: Entry = { protocol: coinToss as unknown as Protocol };

describe('what an operator sees of ceremonies', () => {
  let clock: ManualClock;
  let members: RoundsMember[];
  let parties: PartySet;
  let stamps = 0;

  beforeEach(async () => {
    clock = new ManualClock();
    members = await threeMembers(clock, [coin]);
    parties = partySet(members.map(({ party }) => party));
  });

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  function open(at: number, message = 'heads wins'): Promise<string> {
    const request = { protocol: coinToss.name, params: undefined, input: undefined, parties };
    return member(at).rounds.open({ ...request, message: fromUtf8(message) });
  }

  function member(at: number): RoundsMember {
    const found = members[at];
    if (found === undefined) throw new Error('there are three');
    return found;
  }

  function abort(at: number, id: string, reason = 'the stake is wrong'): ReturnType<typeof abortCeremony> {
    const { store } = member(at).peer;
    return abortCeremony({ store, now: () => clock.now(), stamp: () => clock.now() + ++stamps }, id, reason);
  }

  it('are listed with who is waited for, from the rows alone', async () => {
    const { store } = member(0).peer;
    expect(await listCeremonies(store)).toEqual({ ceremonies: [] });
    const id = await open(0);
    await open(1);
    await exchange(members);
    const third = parties.find(({ aci }) => aci === member(2).peer.aci);
    const line = {
      id,
      protocol: `${coinToss.name}/1`,
      round: 0,
      waitingFor: [{ index: third?.index, aci: third?.aci }],
      state: 'gathering',
      plugin: 'parties',
      deadlineAt: clock.now() + 600_000,
    };
    expect(await listCeremonies(store)).toEqual({ ceremonies: [line] });
    expect(await showCeremony(store, id.slice(0, 6))).toMatchObject({
      ...line,
      ceremonyId: null,
      blame: [],
      end: null,
      output: null,
    });
  });

  it('show whose message a round lacks, and the output at the end', async () => {
    const id = await open(0);
    await open(1);
    await open(2);
    const silent = member(2);
    await exchange(members, (from, row) => from === silent && row.timestamp % 3 !== 0);
    for (const at of [0, 1]) {
      const { waitingFor } = (await member(at).rounds.show(id)) ?? {};
      expect((await showCeremony(member(at).peer.store, id)).waitingFor).toEqual(waitingFor);
    }
    for (let i = 0; i < 20; i++) {
      await clock.advance(20_000);
      await exchange(members);
    }
    const shown = await showCeremony(member(0).peer.store, id);
    expect(shown).toMatchObject({ state: 'done', waitingFor: [], end: { reason: 'done' } });
    expect(Buffer.from(shown.output ?? '', 'base64')).toHaveLength(32);
    expect((await showCeremony(member(0).peer.store, shown.ceremonyId ?? '')).id).toBe(id);
  });

  it('are ended by rows alone, and all others hear why', async () => {
    const id = await open(0);
    await open(1);
    await exchange(members);
    expect(await abort(0, id)).toMatchObject({ state: 'aborted', end: { reason: 'the stake is wrong' } });
    await exchange(members);
    expect(await member(1).rounds.show(id)).toMatchObject({
      state: 'aborted',
      end: { reason: 'the stake is wrong', by: parties.find(({ aci }) => aci === member(0).peer.aci)?.index },
    });
    await expect(abort(0, id)).rejects.toMatchObject({ code: 'CEREMONY_ENDED' });
    // The plugin goes on with its rows, and forgets the ceremony in its time.
    await clock.advance(25 * 3_600_000);
    expect(await member(0).rounds.list()).toEqual([]);
  });

  it('are named by the beginning of an id, as long as that is one only', async () => {
    for (let i = 0; i < 17; i++) await open(0, `toss ${String(i)}`);
    const { store } = member(0).peer;
    const { ceremonies } = await listCeremonies(store);
    const firsts = ceremonies.map(({ id }) => id.slice(0, 1));
    const twice = firsts.find((first, i) => firsts.indexOf(first) !== i) ?? '';
    await expect(showCeremony(store, twice)).rejects.toMatchObject({
      code: 'ROW_UNKNOWN',
      next: 'Give more of it.',
    });
    await expect(abort(0, twice)).rejects.toMatchObject({ code: 'ROW_UNKNOWN' });
    await expect(showCeremony(store, 'f'.repeat(64))).rejects.toMatchObject({ code: 'ROW_UNKNOWN' });
    for (const id of ['', 'toss', '../'])
      await expect(showCeremony(store, id)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(abort(0, ceremonies[0]?.id ?? '', 'x'.repeat(201))).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('are found beside the rows of other plugins', async () => {
    const { store } = member(0).peer;
    const batch = store.batch();
    for (const plugin of ['a', 'parties-', 'parties0', 'zebra'])
      pluginVolatile.put(batch, plugin, 'nonce/1', fromUtf8('{}'));
    await batch.commit();
    const id = await open(0);
    expect((await listCeremonies(store)).ceremonies.map((line) => line.id)).toEqual([id]);
  });
});
