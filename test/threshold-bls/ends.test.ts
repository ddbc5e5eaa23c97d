/** What an operator is told of a ceremony that has ended without output, and what becomes of the share that it has left. */
import { afterEach, expect, it } from 'vitest';
import { acts } from '../../plugins/threshold-bls/ceremonies.ts';
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

it('a refresh ends nothing that is open with the new share', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const publicKey = await circle.key();
  const topic = await circle.open(async (at) => circle.refreshRequest(await circle.share(at, publicKey)));
  await circle.exchange(dropConfirms);
  const shares = await circle.shares(0, publicKey);
  expect(shares.map(({ share }) => share.epoch)).toEqual([1, 0]);
  const topics: string[] = [];
  for (const { share } of shares)
    topics.push(await circle.open(() => circle.signRequest(share, [0, 1], fromUtf8('pay')), [0]));
  await circle.clock.advance(20_000);
  await circle.exchange();
  expect((await circle.view(0, topic)).state).toBe('done');
  const views = await Promise.all(topics.map((id) => circle.view(0, id)));
  expect(views.map(({ state }) => state)).toEqual(['gathering', 'aborted']);
}); // prettier-ignore

it('who never came is named, and not who gave up a moment before', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const request = circle.keygenRequest();
  const topic = await circle.open((at) => ({ ...request, waitMs: at === 0 ? 9_000 : 20_000 }), [0, 1]);
  await circle.exchange();
  for (let seconds = 0; seconds < 25; seconds++) {
    await circle.clock.advance(1_000);
    await circle.exchange();
  }
  const reason = `the time is over; nothing came from party ${String(circle.indexOf(2))}`;
  for (const at of [0, 1]) expect(await circle.view(at, topic)).toMatchObject({ state: 'aborted', end: { reason } });
}); // prettier-ignore

it('a result that its command has not seen is said to be of before', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const input = { group: circle.group(), parties: 3, threshold: 1, wait: WAIT_S };
  const unseen = circle.act(0, 'keygen', input).catch(() => undefined);
  const topic = await circle.open(() => circle.keygenRequest(), [1, 2]);
  await circle.exchange();
  const told: object[] = [];
  await circle.act(0, 'keygen', input, (event) => void told.push(event));
  expect(told).toContainEqual({ step: 'untold', ceremony: topic, at: circle.clock.now() });
  await circle.clock.advance(1_000);
  await unseen;
}); // prettier-ignore

it('a signing that is asked for while a refresh settles begins with the new share alone', { timeout: TIMEOUT_MS }, async () => {
  circle = await Circle.start(3);
  const publicKey = await circle.key();
  const old = await circle.share(0, publicKey);
  const topic = await circle.open(async (at) => circle.refreshRequest(await circle.share(at, publicKey)));
  await circle.exchange(dropConfirms);
  const { host, rounds } = circle.member(0);
  let attempts = 0;
  /** All is staged; before it is committed the last confirmation comes. */
  const update: typeof host.update = (work) =>
    host.update(async (tx) => {
      const result = await work(tx);
      if (attempts++ === 0) {
        await circle.clock.advance(20_000);
        await circle.exchange();
      }
      return result;
    });
  const input = { publicKey, group: circle.group([0, 1]), message: '00', wait: WAIT_S };
  const call = { contact: undefined, input, tell: () => undefined, signal: new AbortController().signal };
  void Promise.resolve(acts({ ...host, update }, rounds)['sign']?.(call)).catch(() => undefined);
  await expect.poll(() => attempts).toBe(2);
  expect((await circle.view(0, topic)).state).toBe('done');
  expect(await rowsWith(old)).toEqual([]);
  const open = (await rounds.list()).filter(({ state }) => state === 'gathering');
  expect(open).toHaveLength(1);
}); // prettier-ignore

it('a message is hex of a mebibyte at most', async () => {
  circle = await Circle.start(2);
  const publicKey = 'ab'.repeat(96);
  const input = { publicKey, group: circle.group(), wait: WAIT_S };
  for (const message of ['0', 'zz', '00'.repeat(1_048_577), '0'.repeat(20_000_001)])
    await expect(circle.act(0, 'sign', { ...input, message })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(circle.act(0, 'sign', { ...input, message: '00'.repeat(1_048_576) })).rejects.toMatchObject({
    code: 'KEY_UNKNOWN',
  });
});

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
  // Nothing of it stays once it is forgotten.
  const asked = async (): Promise<string[]> =>
    ((await circle.snapshot())[0]?.rows ?? []).map(([key]) => key).filter((key) => key.includes('/asked/'));
  expect(await asked()).toHaveLength(1);
  await circle.clock.advance(2 * 86_400_000);
  expect(await asked()).toEqual([]);
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
