/** What an operator sees of keys, and forgets of those that came to nothing. */
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { keyCommands } from '../../plugins/threshold-bls/key-commands.ts';
import type { KeyLine } from '../../plugins/threshold-bls/keys.ts';
import { readLine } from '../../src/cli/prompt.ts';
import type { SubcommandCall } from '../../src/index.ts';
import { systemPlatform } from '../../src/platform.ts';
import { Circle, type Parcel } from './support/circle.ts';

const TIMEOUT_MS = 60_000;
const DAY_MS = 86_400_000;
const LAST_ROUND = 4;

let circle: Circle;

afterEach(() => circle.stop());

/** A generation of which the first party never hears that all have confirmed. @returns the public key */
async function unsettled(): Promise<{ publicKey: string; topic: string }> {
  circle = await Circle.start(3);
  const topic = await circle.open(() => circle.keygenRequest());
  await circle.exchange(dropLast);
  expect((await circle.views(topic)).map(({ state }) => state)).toEqual(['running', 'done', 'done']);
  return { publicKey: (await circle.keys(1))[0]?.publicKey ?? '', topic };
}

function dropLast(parcel: Parcel): Parcel[] {
  const { to, frame } = parcel;
  return to === 0 && frame.kind === 'confirm' && frame.round === LAST_ROUND ? [] : [parcel];
}

async function note(at: number): Promise<boolean> {
  return (await circle.member(at).host.update(({ state }) => state.get('backup-note'))) !== undefined;
}

describe('the keys of a party', () => {
  it('are listed with their newest epoch, and with older shares that are still there', { timeout: TIMEOUT_MS }, async () => {
    circle = await Circle.start(3);
    expect(await circle.keys(0)).toEqual([]);
    const publicKeys = [await circle.key(), await circle.key(2)];
    const [first = ''] = publicKeys;
    const topic = await circle.open(async (at) => circle.refreshRequest(await circle.share(at, first)));
    await circle.exchange(dropLast);
    const lines = await circle.keys(0);
    expect(lines.map(({ publicKey }) => publicKey).sort()).toEqual(publicKeys.sort());
    expect(lines.find(({ publicKey }) => publicKey === first)).toEqual({
      publicKey: first,
      threshold: 1,
      parties: 3,
      index: circle.indexOf(0),
      epoch: 1,
      settled: false,
      ceremony: topic,
      shares: [
        { epoch: 1, settled: false },
        { epoch: 0, settled: true },
      ],
    });
    const other = (await circle.act(1, 'keys', { publicKey: first })) as { keys: KeyLine[] };
    expect(other.keys.map(({ shares }) => shares)).toEqual([[{ epoch: 1, settled: true }]]);
    await expect(circle.act(0, 'keys', { publicKey: 'ab'.repeat(96) })).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
    await expect(circle.act(0, 'keys', { publicKey: 'AB' })).rejects.toMatchObject({ code: 'USAGE' });
    // The others may have no other share than this.
    await circle.member(0).rounds.abort(topic);
    for (const publicKey of publicKeys) {
      const why = publicKey === first ? /is of a refresh/ : /all parties have confirmed/;
      const message = expect.stringMatching(why) as string;
      await expect(circle.act(0, 'forget', { publicKey })).rejects.toMatchObject({ code: 'USAGE', message });
    }
    expect(await circle.keys(0)).toEqual(lines);
  }); // prettier-ignore
});

describe('the share of a generation that came to nothing', () => {
  it('is forgotten once the ceremony has ended, and not before', { timeout: TIMEOUT_MS }, async () => {
    const { publicKey, topic } = await unsettled();
    await expect(circle.act(0, 'forget', { publicKey })).rejects.toMatchObject({
      code: 'USAGE',
      next: `End it first: countersign rounds abort ${topic.slice(0, 12)}`,
    });
    expect((await circle.keys(0)).map(({ settled }) => settled)).toEqual([false]);
    expect(await note(0)).toBe(true);
    await circle.member(0).rounds.abort(topic);
    expect(await circle.act(0, 'forget', { publicKey })).toEqual({ publicKey });
    expect(await circle.keys(0)).toEqual([]);
    expect(await note(0)).toBe(false);
    await expect(circle.act(0, 'forget', { publicKey })).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
    // Nor does it come back with the end of the ceremony.
    await circle.clock.advance(2 * DAY_MS);
    expect(await circle.keys(0)).toEqual([]);
    await expect(circle.act(1, 'forget', { publicKey })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it.each([
    ['y\n', true],
    ['Yes\n', true],
    ['\n', false],
    ['', false],
  ])('is asked for: %j', { timeout: TIMEOUT_MS }, async (answer, isGone) => {
    const { publicKey, topic } = await unsettled();
    await circle.member(0).rounds.abort(topic);
    const { printed, isFailed } = await forget({ publicKey }, answer);
    expect(printed).toEqual([{ publicKey, forgotten: isGone }]);
    expect(isFailed).toBe(!isGone);
    expect(await circle.keys(0)).toHaveLength(isGone ? 0 : 1);
  });

  it('is not forgotten where nobody can be asked', { timeout: TIMEOUT_MS }, async () => {
    const { publicKey, topic } = await unsettled();
    await circle.member(0).rounds.abort(topic);
    await expect(forget({ publicKey })).rejects.toMatchObject({ code: 'USAGE', next: 'Give --yes.' });
    expect((await forget({ publicKey, yes: true })).printed).toEqual([{ publicKey, forgotten: true }]);
  });
});

/** `bls forget` at the first party. @param answer what is typed; absent: there is no terminal */
async function forget(
  options: SubcommandCall['options'],
  answer?: string,
): Promise<{ printed: object[]; isFailed: boolean }> {
  const printed: object[] = [];
  let isFailed = false;
  const { signal } = new AbortController();
  const stdin = new PassThrough();
  stdin.end(answer ?? '');
  const call: SubcommandCall = {
    ...{ arguments: [], options, lists: {}, platform: systemPlatform(), cwd: '/', dataFolder: undefined },
    ...{ signal, stdin, canPrompt: answer !== undefined },
    readLine: () => readLine({ stdin, signal }),
    print: (value) => void printed.push(value),
    fail: () => {
      isFailed = true;
    },
    note: () => undefined,
    takeStdout: () => () => Promise.resolve(),
    act: (name, { input = {} }) => circle.act(0, name, input),
    openStore: () => Promise.reject(new Error('not here')),
  };
  await keyCommands.find(({ name }) => name === 'bls forget')?.run(call);
  return { printed, isFailed };
}
