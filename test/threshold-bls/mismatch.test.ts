/** A party that was restored from a backup of before a refresh: both sides hear at once why nothing comes of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SignParams } from '../../plugins/threshold-bls/sign.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import type { CeremonyView } from '../../src/rounds/index.ts';
import { Circle, type Snapshot } from './support/circle.ts';

const MESSAGE = fromUtf8('pay 3');
const TIMEOUT_MS = 60_000;
/** The one that was restored, by its place. */
const OLD = 0;

let circle: Circle | undefined;
let publicKey: string;
/** All before a refresh, and after it. */
let before: Snapshot;
let after: Snapshot;

beforeEach(async () => {
  circle = await Circle.start(3);
  const of = circle;
  publicKey = await of.key();
  before = await of.snapshot();
  await of.open(async (at) => of.refreshRequest(await of.share(at, publicKey)));
  await of.exchange();
  after = await of.snapshot();
  await of.stop();
  const restored = [before, after, after].flatMap((all, at) => all.slice(at, at + 1));
  circle = await Circle.start(3, undefined, restored);
}, TIMEOUT_MS);

afterEach(async () => {
  await circle?.stop();
  circle = undefined;
});

function here(): Circle {
  if (circle === undefined) throw new Error('there is nobody');
  return circle;
}

function indexOf(at: number): string {
  return String(here().indexOf(at));
}

async function openSign(at: number, which: readonly number[]): Promise<string> {
  const share = await here().share(at, publicKey);
  return here().open(() => here().signRequest(share, which, MESSAGE), [at]);
}

async function expectTold({ state, end, blame }: CeremonyView, by: number): Promise<void> {
  const epochs = await Promise.all(
    [by, OLD].map(async (at) => ({ index: here().indexOf(at), epoch: (await here().share(at, publicKey)).epoch })), // prettier-ignore
  );
  expect(epochs.map(({ epoch }) => epoch)).toEqual([1, 0]);
  expect([state, blame]).toEqual(['aborted', []]);
  for (const { index, epoch } of epochs)
    expect(end?.reason).toMatch(
      new RegExp(`party ${String(index)} (says that its share )?is of (epoch )?${String(epoch)}\\b`),
    );
  expect(end?.reason).toMatch(
    new RegExp(`; if so, a newer backup of party ${String(here().indexOf(OLD))} may help$`),
  );
}

describe('a share of before a refresh', () => {
  it.each([
    ['the one that has it', [OLD, 1]],
    ['the other', [1, OLD]],
  ])('ends a signing at both at once, when %s asks first', { timeout: TIMEOUT_MS }, async (_, order) => {
    const now = here().clock.now();
    const topics = new Map<number, string>();
    for (const at of order) {
      topics.set(at, await openSign(at, [OLD, 1]));
      await here().exchange();
    }
    await here().exchange();
    await expectTold(await here().view(OLD, topics.get(OLD) ?? ''), 1);
    await expectTold(await here().view(1, topics.get(1) ?? ''), 1);
    expect(here().clock.now()).toBe(now);
  });

  it('is no part of what the others sign', { timeout: TIMEOUT_MS }, async () => {
    const now = here().clock.now();
    const topics = [];
    for (const at of [OLD, 1, 2]) topics.push(await openSign(at, [OLD, 1, 2]));
    await here().exchange();
    const views = await Promise.all(topics.map((topic, at) => here().view(at, topic)));
    expect(views.map(({ state }) => state)).toEqual(['aborted', 'done', 'done']);
    expect(views[0]?.end?.reason).toMatch(/a newer backup of party \d may help/);
    expect(here().clock.now()).toBe(now);
  });

  it('ends a refresh at once', { timeout: TIMEOUT_MS }, async () => {
    const topic = await here().open(
      async () => here().refreshRequest(await here().share(OLD, publicKey)),
      [OLD],
    );
    await here().exchange();
    expect((await here().view(OLD, topic)).end?.reason).toMatch(/a newer backup of party \d may help/);
  });

  it('is one of two refreshes where the epoch is the same', { timeout: TIMEOUT_MS }, async () => {
    const request = here().signRequest(await here().share(2, publicKey), [1, 2], MESSAGE);
    const params = { ...(request.params as SignParams), sharing: new Uint8Array(32) };
    const topic = await here().open(() => ({ ...request, params }), [2]);
    await here().exchange();
    const [from, to] = [indexOf(2), indexOf(1)];
    expect((await here().view(2, topic)).end?.reason).toBe(
      `party ${from} says that its share is of epoch 1 as that of party ${to}, but of another refresh; if so, backups of one refresh may help`,
    );
  });

  it('is nothing that is known of another party: it is told as what that one says', { timeout: TIMEOUT_MS }, async () => {
    const share = await here().share(2, publicKey);
    await here().open(() => here().signRequest(share, [1, 2], MESSAGE, 7), [2]);
    const topic = await openSign(1, [1, 2]);
    await here().exchange();
    for (let seconds = 0; seconds < 10; seconds++) {
      await here().clock.advance(1_000);
      await here().exchange();
    }
    const [from, own] = [indexOf(2), indexOf(1)];
    const { state, end, blame } = await here().view(1, topic);
    expect([state, blame]).toEqual(['aborted', []]);
    expect(end?.reason).toBe(
      `party ${from} says that its share is of epoch 7, that of party ${own} is of 1; if so, a newer backup of party ${own} may help`,
    );
  }); // prettier-ignore

  it('is no reason to refuse where both have the newer one', { timeout: TIMEOUT_MS }, async () => {
    const topic = await openSign(1, [1, 2]);
    await here().exchange();
    expect((await here().view(1, topic)).state).toBe('gathering');
    expect((await here().member(2).rounds.list()).filter(({ topic: each }) => each === topic)).toEqual([]);
  });
});
