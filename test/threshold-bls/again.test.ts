/** A command that is stopped while its ceremony goes on, and is run again; and what stays of a generation that ends badly. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Handle } from '../../plugins/threshold-bls/ceremonies.ts';
import { fromUtf8, type Bytes } from '../../src/bytes.ts';
import type { FrameOf } from '../../src/rounds/frame.ts';
import { openMemory } from '../../src/store/memory.ts';
import { pluginState } from '../../src/store/tables.ts';
import { Scene } from '../support/scene.ts';
import { Circle, type Parcel } from './support/circle.ts';
import { Group } from './support/group.ts';

const TIMEOUT_MS = 120_000;
const DAY_MS = 86_400_000;
const LAST_ROUND = 4;

describe('a command that is stopped while its ceremony goes on', () => {
  let scene: Scene;
  afterEach(() => scene.close());

  it('gives the result when it is run again, and begins anew after that', { timeout: TIMEOUT_MS }, async () => {
    scene = await Scene.start();
    const group = await Group.start(scene, [openMemory(), openMemory(), openMemory()]);
    const [stopped, ...rest] = group.parties;
    if (stopped === undefined) throw new Error('there is nobody');

    /** The first party's command is stopped as soon as it waits; the others' run to the end, then it is run again. */
    async function interrupted(name: string, input: object): Promise<object[]> {
      const stop = new AbortController();
      const call = { contact: undefined, input: { ...input }, signal: stop.signal };
      const first = stopped?.running.bot.act('threshold-bls', name, {
        ...call,
        tell: () => {
          stop.abort();
        },
      });
      await expect(first).rejects.toThrow();
      const others = await Promise.all(rest.map((party) => party.act(name, input)));
      await expect.poll(async () => (await stopped?.runs())?.every(({ phase }) => phase === 'done')).toBe(true);
      return [(await stopped?.act(name, input)) ?? {}, ...others];
    }

    const common = { group: group.lines(), wait: 60 };
    const made = (await interrupted('keygen', { ...common, threshold: 1, parties: 3 })) as Handle[];
    const publicKey = made[0]?.publicKey ?? '';
    expect(made.map((handle) => handle.publicKey)).toEqual([publicKey, publicKey, publicKey]);
    const refreshed = (await interrupted('refresh', { ...common, publicKey })) as Handle[];
    expect(refreshed.map((handle) => handle.publicKey)).toEqual([publicKey, publicKey, publicKey]);
    const signed = await interrupted('sign', { ...common, publicKey, message: '00' });
    expect(new Set(signed.map((end) => (end as { signature: string }).signature)).size).toBe(1);
    // Each has been told of all by now.
    await group.refresh(publicKey);
    expect((await stopped.shares(publicKey)).map(({ share }) => share.epoch)).toEqual([2]);
    expect(await group.keygen()).not.toBe(publicKey);
  }); // prettier-ignore
});

describe('a generation that does not end well', () => {
  let circle: Circle;
  let verdict: FrameOf<'message'> | undefined;
  let messages = 0;
  afterEach(() => circle.stop());

  async function keyRows(at: number): Promise<string[]> {
    const found: string[] = [];
    for await (const [key] of pluginState.scan(circle.member(at).peer.store, ['parties']))
      if (key.startsWith('share/')) found.push(key);
    return found;
  }

  async function hasNote(at: number): Promise<boolean> {
    return (await circle.member(at).host.update(({ state }) => state.get('backup-note'))) !== undefined;
  }

  /** Another verdict in the place of one that the last has told. */
  function secondTale(topic: string, told: FrameOf<'message'>): FrameOf<'message'> {
    const { id, round, sender, recipient } = told;
    const body: Bytes = new Uint8Array(33);
    return { kind: 'message', topic, ...circle.signed(2, { id, round, sender, recipient, body }) };
  }

  /** The last keeps its last confirmation from the second. @returns the verdict that it tells */
  async function exchangeWithheld(): Promise<FrameOf<'message'>> {
    await circle.exchange((parcel) => {
      const { from, to, frame } = parcel;
      if (from !== 2 || !('round' in frame) || frame.round !== LAST_ROUND) return [parcel];
      if (frame.kind === 'message') verdict = frame;
      return frame.kind === 'confirm' && to === 1 ? [] : [parcel];
    });
    if (verdict === undefined) throw new Error('nothing was told');
    return verdict;
  }

  /** By the first two, without the last. */
  async function expectSigned(publicKey: string): Promise<void> {
    const shares = [await circle.shares(0, publicKey), await circle.shares(1, publicKey)];
    expect(shares.map(([newest]) => newest?.isUsable)).toEqual([true, true]);
    const message = fromUtf8(`pay ${String(++messages)}`);
    const topic = await circle.open(
      async (at) => circle.signRequest(await circle.share(at, publicKey), [0, 1], message),
      [0, 1],
    );
    await circle.exchange();
    for (const at of [0, 1]) expect((await circle.view(at, topic)).state).toBe('done');
  }

  it('leaves a share where it was held alone, when somebody is proven wrong', { timeout: TIMEOUT_MS }, async () => {
    circle = await Circle.start(3);
    const topic = await circle.open(() => circle.keygenRequest());
    // The last tells the second another verdict than the first.
    const bend = (parcel: Parcel): Parcel[] => {
      const { from, to, frame } = parcel;
      if (from !== 2 || to !== 1 || frame.kind !== 'message' || frame.round !== LAST_ROUND) return [parcel];
      return [{ from, to, frame: secondTale(topic, frame) }];
    };
    await circle.exchange(bend);
    expect((await circle.views(topic)).map(({ state }) => state)).toEqual(['aborted', 'aborted', 'aborted']);
    const named = (await circle.views(topic)).map(({ blame }) => blame.length);
    expect(named[0]).toBe(1);
    // The second never came to hold one; nor does a backup say that there is one.
    expect([await keyRows(1), await hasNote(1)]).toEqual([[], false]);
    // The first had confirmed its own before it saw the proof.
    expect(await keyRows(0)).toHaveLength(1);
    const [line, ...others] = await circle.keys(0);
    expect([line?.settled, others]).toEqual([false, []]);
    await circle.act(0, 'forget', { publicKey: line?.publicKey });
    expect([await keyRows(0), await hasNote(0)]).toEqual([[], false]);
  }); // prettier-ignore

  it('keeps a share that was confirmed, though a cheat is proven after another is done', { timeout: TIMEOUT_MS }, async () => {
    circle = await Circle.start(3);
    const topic = await circle.open(() => circle.keygenRequest());
    const told = await exchangeWithheld();
    expect((await circle.views(topic)).map(({ state }) => state)).toEqual(['done', 'running', 'done']);
    await circle.deliver({ from: 2, to: 1, frame: secondTale(topic, told) });
    expect(await circle.view(1, topic)).toMatchObject({ state: 'aborted', blame: [{ party: circle.indexOf(2) }] });
    await circle.exchange();
    const [key] = await circle.keys(0);
    const publicKey = key?.publicKey ?? '';
    expect(key?.settled).toBe(true);
    expect(await circle.keys(1)).toMatchObject([{ publicKey, settled: false }]);
    expect(await hasNote(1)).toBe(true);
    // Any t + 1 sign with it: nobody has to ask the cheat.
    await expectSigned(publicKey);
  }); // prettier-ignore

  it('keeps a share that has signed, though a cheat shows later that it told two tales', { timeout: TIMEOUT_MS }, async () => {
    circle = await Circle.start(3);
    const topic = await circle.open(() => circle.keygenRequest());
    const told = await exchangeWithheld();
    const publicKey = (await circle.keys(0))[0]?.publicKey ?? '';
    await circle.clock.advance(DAY_MS + 60_000);
    await exchangeWithheld();
    expect(await circle.view(1, topic)).toMatchObject({ state: 'aborted', blame: [] });
    await expectSigned(publicKey);
    const evidence = [told, secondTale(topic, told)];
    await circle.deliver({ from: 2, to: 1, frame: { kind: 'abort', topic, id: told.id, reason: 'x', evidence } });
    expect((await circle.view(1, topic)).blame).toMatchObject([{ party: circle.indexOf(2) }]);
    expect(await circle.keys(1)).toMatchObject([{ publicKey, settled: false }]);
    await expectSigned(publicKey);
  }); // prettier-ignore

  it('keeps the new share of a refresh that was confirmed, though a cheat is proven', { timeout: TIMEOUT_MS }, async () => {
    circle = await Circle.start(3);
    const publicKey = await circle.key();
    const topic = await circle.open(async (at) => circle.refreshRequest(await circle.share(at, publicKey)));
    const told = await exchangeWithheld();
    await circle.deliver({ from: 2, to: 1, frame: secondTale(topic, told) });
    expect(await circle.view(1, topic)).toMatchObject({ state: 'aborted', blame: [{ party: circle.indexOf(2) }] });
    const epochs = async (at: number): Promise<number[]> =>
      (await circle.shares(at, publicKey)).map(({ share }) => share.epoch);
    expect([await epochs(0), await epochs(1)]).toEqual([[1], [1, 0]]);
    await expectSigned(publicKey);
  }); // prettier-ignore

  it('leaves the share where the last confirmation was lost, of use once the time is over', { timeout: TIMEOUT_MS }, async () => {
    circle = await Circle.start(3);
    const topic = await circle.open(() => circle.keygenRequest());
    const drop = (parcel: Parcel): Parcel[] =>
      parcel.to === 0 && parcel.frame.kind === 'confirm' && parcel.frame.round === LAST_ROUND ? [] : [parcel];
    await circle.exchange(drop);
    expect((await circle.views(topic)).map(({ state }) => state)).toEqual(['running', 'done', 'done']);
    const publicKey = await circle.member(1).host.update(({ volatile }) => volatile.get(`key-of/${topic}`));
    const key = Buffer.from(publicKey ?? []).toString('hex');
    expect((await circle.shares(0, key)).map(({ isUsable }) => isUsable)).toEqual([false]);
    expect((await circle.shares(1, key)).map(({ isUsable }) => isUsable)).toEqual([true]);
    await circle.clock.advance(DAY_MS + 60_000);
    await circle.exchange(drop);
    expect((await circle.view(0, topic)).state).toBe('aborted');
    expect((await circle.shares(0, key)).map(({ isUsable }) => isUsable)).toEqual([true]);
    // What is only for the ceremony goes with it.
    await circle.clock.advance(DAY_MS + 60_000);
    expect(await circle.member(1).rounds.show(topic)).toBeUndefined();
    expect(await circle.member(1).host.update(({ volatile }) => volatile.get(`key-of/${topic}`))).toBeUndefined();
    expect(await circle.shares(0, key)).toHaveLength(1);
  }); // prettier-ignore
});
