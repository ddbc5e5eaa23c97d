/** What an operator is told of a ceremony that has ended without output, and what becomes of the share that it has left. */
import { afterEach, expect, it } from 'vitest';
import type { KeyShare } from '../../plugins/threshold-bls/key-share.ts';
import { fromUtf8, toHex } from '../../src/bytes.ts';
import { abortCeremony } from '../../src/rounds/operator.ts';
import { Circle, type Parcel } from './support/circle.ts';

const TIMEOUT_MS = 60_000;
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

/** Keys of the first's rows in which this share is to be found, as bytes or in hex. */
async function rowsWith({ share }: KeyShare): Promise<string[]> {
  const [snapshot] = await circle.snapshot();
  const hex = share.toString(16).padStart(64, '0');
  const found = (snapshot?.rows ?? []).filter(
    ([, value]) => toHex(value).includes(hex) || Buffer.from(value).includes(hex),
  );
  return found.map(([key]) => key);
}

async function isUsable(publicKey: string): Promise<boolean | undefined> {
  return (await circle.shares(0, publicKey))[0]?.isUsable;
}

it('a share is of use once its ceremony was ended through its rows', { timeout: TIMEOUT_MS }, async () => {
  const { topic, publicKey } = await held();
  expect(await isUsable(publicKey)).toBe(false);
  await expect(circle.act(0, 'sign', { publicKey, group: circle.group([0, 1]), message: '00' })).rejects.toMatchObject({
    code: 'CEREMONY_UNCONFIRMED',
  });
  await abortRows(topic);
  expect(await isUsable(publicKey)).toBe(true);
  // Nor does it stop being so where another generation of the same parties is under way.
  await circle.open(() => circle.keygenRequest(), [0]);
  expect(await isUsable(publicKey)).toBe(true);
}); // prettier-ignore

it('a share is of use in a store that was restored after that', { timeout: TIMEOUT_MS }, async () => {
  const { topic, publicKey } = await held();
  await abortRows(topic);
  const rows = (await circle.snapshot()).map(({ peer, rows: all }) => {
    return { peer, rows: all.filter(([key]) => !key.startsWith('volatile/')) };
  });
  await circle.stop();
  circle = await Circle.start(3, undefined, rows);
  expect(await circle.member(0).rounds.list()).toEqual([]);
  expect(await isUsable(publicKey)).toBe(true);
}); // prettier-ignore

it('a refresh ends what is open with the shares of before it', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const [publicKey, other] = [await circle.key(), await circle.key(2)];
  const old = await circle.share(0, publicKey);
  const signing = await circle.open(() => circle.signRequest(old, [0, 1], fromUtf8('pay')), [0]);
  const ofOther = await circle.open(async () => circle.signRequest(await circle.share(0, other), [0, 1, 2], fromUtf8('pay')), [0]);
  expect(await rowsWith(old)).not.toEqual([]);
  await circle.open(async (at) => circle.refreshRequest(await circle.share(at, publicKey)));
  await circle.exchange();
  expect(await circle.view(0, signing)).toMatchObject({ state: 'aborted', end: { reason: 'the shares of this key are new' } });
  expect((await circle.view(0, ofOther)).state).toBe('gathering');
  expect(await rowsWith(old)).toEqual([]);
  // Who has kept the old one, or restored it, gets no signature from it.
  await circle.open(() => circle.signRequest(old, [0, 1], fromUtf8('pay')), [1]);
  await circle.exchange();
  expect((await circle.view(0, signing)).state).toBe('aborted');
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
