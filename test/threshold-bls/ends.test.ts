/** What an operator is told of a ceremony that has ended without output, and what becomes of the share that it has left. */
import { afterEach, expect, it } from 'vitest';
import { abortCeremony } from '../../src/rounds/operator.ts';
import { Circle, type Parcel } from './support/circle.ts';

const TIMEOUT_MS = 60_000;
const DAY_MS = 86_400_000;
const LAST_ROUND = 4;
const WAIT_S = 60;

let circle: Circle;

afterEach(() => circle.stop());

/** The first never hears that all have confirmed. */
function dropConfirms(parcel: Parcel): Parcel[] {
  const { to, frame } = parcel;
  return to === 0 && frame.kind === 'confirm' && frame.round === LAST_ROUND ? [] : [parcel];
}

/** A generation of which the first has its share, and waits; the others are done. */
async function held(): Promise<{ topic: string; publicKey: string }> {
  circle = await Circle.start(3);
  const topic = await circle.open(() => circle.keygenRequest());
  await circle.exchange(dropConfirms);
  expect((await circle.views(topic)).map(({ state }) => state)).toEqual(['running', 'done', 'done']);
  return { topic, publicKey: (await circle.keys(1))[0]?.publicKey ?? '' };
}

/** As `countersign rounds abort` at the first. */
async function abortRows(topic: string): Promise<void> {
  const { store } = circle.member(0).peer;
  const parts = { store, now: () => circle.clock.now(), stamp: () => circle.clock.now() };
  expect((await abortCeremony(parts, topic, 'enough')).state).toBe('aborted');
}

/** What the first, or another, is told when its command ends, after `--wait` at the latest. */
async function told(
  at: number,
  name: string,
  input: object,
  bend?: (parcel: Parcel) => readonly Parcel[],
): Promise<unknown> {
  const ended = circle.act(at, name, input).catch((error: unknown) => error);
  for (let seconds = 0; seconds < WAIT_S + 5; seconds++) {
    await circle.exchange(bend);
    await circle.clock.advance(1_000);
  }
  return ended;
}

async function isUsable(publicKey: string): Promise<boolean | undefined> {
  return (await circle.shares(0, publicKey))[0]?.isUsable;
}

it('a share is of use soon after its ceremony was ended through its rows', { timeout: TIMEOUT_MS }, async () => {
  const { topic, publicKey } = await held();
  await abortRows(topic);
  expect(await isUsable(publicKey)).toBe(false);
  await circle.clock.advance(61_000);
  expect(await isUsable(publicKey)).toBe(true);
}); // prettier-ignore

it('so it is where the bot did not run then', { timeout: TIMEOUT_MS }, async () => {
  const { topic, publicKey } = await held();
  await circle.member(0).stop();
  await abortRows(topic);
  await circle.arm();
  await circle.clock.advance(1_000);
  expect(await isUsable(publicKey)).toBe(true);
}); // prettier-ignore

it('so it is where it did not run for a day', { timeout: TIMEOUT_MS }, async () => {
  const { topic, publicKey } = await held();
  await circle.member(0).stop();
  await abortRows(topic);
  await circle.clock.advance(2 * DAY_MS);
  await circle.arm();
  await circle.clock.advance(1_000);
  expect(await circle.member(0).rounds.show(topic)).toBeUndefined();
  expect(await isUsable(publicKey)).toBe(true);
}); // prettier-ignore

it('the operator is told of a share that is kept though the ceremony has ended', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const input = { group: circle.group(), parties: 3, threshold: 1, wait: WAIT_S };
  const ended = circle.act(0, 'keygen', input).catch((error: unknown) => error);
  const topic = await circle.open(() => circle.keygenRequest(), [1, 2]);
  await circle.exchange(dropConfirms);
  await circle.member(0).rounds.abort(topic, 'enough');
  await circle.clock.advance(1_000);
  expect(await ended).toMatchObject({
    code: 'CEREMONY_ENDED',
    message: 'the ceremony has ended: enough',
    next: expect.stringContaining('countersign bls keys') as string,
  });
  // One that has made none says nothing of one, though there is one of before.
  const again = circle.act(0, 'keygen', input).catch((error: unknown) => error);
  await circle.exchange();
  await circle.member(0).rounds.abort(topic, 'not again');
  await circle.clock.advance(1_000);
  expect(await again).toMatchObject({ next: 'See what has ended it, and start it again at every party.' });
}); // prettier-ignore

it('the operator is told at which party another has ended it', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const input = { group: circle.group(), parties: 3, threshold: 1, wait: WAIT_S };
  const topic = await circle.open(() => circle.keygenRequest(), [1]);
  await circle.exchange();
  await circle.member(1).rounds.abort(topic, 'not today');
  await circle.exchange();
  expect(await told(0, 'keygen', input)).toMatchObject({
    code: 'CEREMONY_ENDED',
    message: 'the ceremony has ended: not today',
    next: expect.stringContaining(`first at party ${String(circle.indexOf(1))}`) as string,
  });
}); // prettier-ignore

it('of two shares that were offered, the one that was waited for last says why nothing came', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const publicKey = await circle.key();
  await circle.open(async (at) => circle.refreshRequest(await circle.share(at, publicKey)));
  // The first comes to hold no new share, the second has both.
  const withhold = (parcel: Parcel): Parcel[] => {
    const { to, frame } = parcel;
    return to === 0 && frame.kind === 'message' && frame.round === LAST_ROUND ? [] : [parcel];
  };
  await circle.exchange(withhold);
  const epochs = async (at: number): Promise<number[]> =>
    (await circle.shares(at, publicKey)).map(({ share }) => share.epoch);
  expect([await epochs(0), await epochs(1)]).toEqual([[0], [1, 0]]);

  const input = { publicKey, group: circle.group([0, 1]), message: '00', wait: WAIT_S };
  // The new share was refused at once. With the old one they could have signed.
  expect(await told(1, 'sign', input, withhold)).toMatchObject({
    code: 'CEREMONY_ENDED',
    message: `the ceremony has ended: the time is over; nothing came from party ${String(circle.indexOf(0))}`,
  });
}); // prettier-ignore
