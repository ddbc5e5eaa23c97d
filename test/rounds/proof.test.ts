/** Who lies is named to whoever waits for the end, also where the proof comes behind it. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { own, type Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import {
  decodeFrame,
  encodeFrame,
  partySet,
  type Entry,
  type Frame,
  type Protocol,
} from '../../src/rounds/index.ts';
import { signedBytes } from '../../src/rounds/frame.ts';
import { LABEL } from '../../src/rounds/runtime.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import type { RoundsMember } from '../support/rounds-member.ts';
import { exchange, threeMembers } from '../support/rounds-member.ts';

const coin: Entry = { protocol: coinToss as unknown as Protocol };

let clock: ManualClock;
let members: RoundsMember[];
let topic: string;
/** Ends that have not arrived yet. */
let ends: OutboxRow[];

/** Three toss a coin; the third tells the second another tale in round 1, and all ends are held up. */
beforeEach(async () => {
  clock = new ManualClock();
  ends = [];
  members = await threeMembers(clock, [coin]);
  const parties = partySet(members.map(({ party }) => party));
  const request = { protocol: coinToss.name, params: undefined, input: undefined, parties };
  for (const { rounds } of members) topic = await rounds.open(request);
  const [, second, third] = three();
  const tales: Frame[] = [];
  await exchange(members, (from, row) => {
    const frame = frameIn(row);
    const isTale = from === third && frame.kind === 'message' && row.recipient === second.peer.aci;
    if (isTale) tales.push(frame);
    return isTale;
  });
  const [tale] = tales;
  if (tale?.kind !== 'message') throw new Error('nothing was told');
  const body: Bytes = own(tale.body.map((byte) => byte ^ 1));
  const signature = own(third.host.trust.own.sign(LABEL, signedBytes({ ...tale, body })));
  await second.receive(third, encodeFrame({ ...tale, body, signature }));
  const rows = await exchange(members, (_, row) => frameIn(row).kind === 'abort');
  ends = rows.filter((row) => frameIn(row).kind === 'abort');
});

afterEach(async () => {
  await Promise.all(members.map((member) => member.stop()));
});

it('names a cheat where the proof comes a moment after the end', async () => {
  const [first, second, third] = three();
  expect(await first.rounds.show(topic)).toMatchObject({ state: 'aborted', blame: [] });
  const waiting = first.rounds.ended(topic);
  await clock.advance(500);
  const theirs = ends.filter(({ recipient }) => recipient === first.peer.aci);
  expect(theirs).not.toEqual([]);
  for (const row of theirs) await first.receive(second, payloadOf(row));
  await clock.advance(250);
  const index = partySet(members.map(({ party }) => party)).find(({ aci }) => aci === third.peer.aci)?.index;
  expect((await waiting).blame).toEqual([
    { party: index, reason: expect.stringContaining('two different') as string },
  ]);
});

it('waits two seconds for it', async () => {
  const [first] = three();
  const over = vi.fn();
  const waiting = first.rounds.ended(topic);
  waiting.then(over, over);
  for (let ms = 0; ms < 1_500; ms += 250) await clock.advance(250);
  expect(over).not.toHaveBeenCalled();
  for (let ms = 0; ms < 1_000; ms += 250) await clock.advance(250);
  expect(await waiting).toMatchObject({ state: 'aborted', blame: [] });
});

function three(): readonly [RoundsMember, RoundsMember, RoundsMember] {
  const [first, second, third] = members;
  if (first === undefined || second === undefined || third === undefined) throw new Error('there are three');
  return [first, second, third];
}

function frameIn(row: OutboxRow): Frame {
  return decodeFrame(payloadOf(row));
}

function payloadOf({ content }: OutboxRow): Bytes {
  const decoded = decodeContent(content);
  if (decoded.kind !== 'app') throw new Error('only frames are sent');
  return decoded.payload;
}
