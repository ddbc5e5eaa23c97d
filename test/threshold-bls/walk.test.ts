/**
 * Crash walk on the runtime: a generation, a refresh and a signing among three, with the end of one of them at each of its
 * commits: just before, just after, or with a store that takes no more. It starts again on what was durable; then the
 * ceremony ends as if nothing had happened, no place has got two messages, and every two of them sign.
 *
 * CRASH_WALK=full takes each kind of end at each commit; otherwise they take turns.
 */
import { describe, expect, it } from 'vitest';
import { fromUtf8, toHex, type Bytes } from '../../src/bytes.ts';
import { publicKeyOf, sharingOf } from '../../plugins/threshold-bls/key-share.ts';
import { combine, encodeSignature, messagePoint, signPartially, verify } from '../../plugins/threshold-bls/math/signing.ts'; // prettier-ignore
import { FAULT_KINDS, type Fault } from '../support/store-faults.ts';
import { Circle, type Snapshot } from './support/circle.ts';
import { twoTales } from './support/group.ts';

const COUNT = 3;
const FULL = process.env['CRASH_WALK'] === 'full';
const TIMEOUT_MS = FULL ? 900_000 : 240_000;
const MESSAGE = fromUtf8('pay 3');
type What = 'keygen' | 'refresh' | 'sign';

interface Before {
  readonly snapshot: Snapshot;
  readonly publicKey: string;
}

async function keyed(): Promise<Before> {
  const circle = await Circle.start(COUNT);
  const publicKey = await circle.key();
  const snapshot = await circle.snapshot();
  await circle.stop();
  return { snapshot, publicKey };
}

/** @returns what was not as it should be, whether the fault has struck, and the commits of the party that it was for */
async function play(
  what: What,
  { snapshot, publicKey }: Before,
  fault?: Fault,
): Promise<{ broken: string[]; struck: boolean; commits: number }> {
  const circle = await Circle.start(COUNT, undefined, snapshot);
  const store = await circle.arm(fault);
  const broken: string[] = [];
  try {
    const topic = await circle.open(async (at) =>
      what === 'keygen'
        ? circle.keygenRequest()
        : what === 'refresh'
          ? circle.refreshRequest(await circle.share(at, publicKey))
          : circle.signRequest(await circle.share(at, publicKey), [0, 1, 2], MESSAGE),
    );
    for (let asked = 0; asked < 8; asked++) {
      await circle.exchange();
      if ((await circle.views(topic)).every(({ state }) => state === 'done')) break;
      await circle.clock.advance(20_000);
    }
    const views = await circle.views(topic);
    for (const { state, end, blame } of views)
      if (state !== 'done' || blame.length > 0) broken.push(`${state}: ${String(end?.reason)}`);
    for (const left of circle.left) broken.push(...twoTales(left));
    if (what === 'sign') {
      const signatures = new Set(
        views.map(({ output }) => toHex((output as { signature: Bytes }).signature)),
      );
      if (signatures.size !== 1) broken.push('they have different signatures');
    } else broken.push(...(await unsound(circle, what, topic, publicKey)));
  } catch (error) {
    broken.push(String(error));
  }
  const struck = circle.deaths > 0;
  await circle.stop();
  return { broken, struck, commits: store.commits };
}

/** What is wrong with the shares that they have now. */
async function unsound(circle: Circle, what: What, topic: string, before: string): Promise<string[]> {
  const made = await circle.member(0).host.update(({ volatile }) => volatile.get(`key-of/${topic}`));
  const publicKey = what === 'keygen' ? toHex(made ?? new Uint8Array(0)) : before;
  const all = await Promise.all([0, 1, 2].map((at) => circle.shares(at, publicKey)));
  const shares = all.flatMap(([newest]) => (newest === undefined ? [] : [newest.share]));
  const found: string[] = [];
  if (all.some(({ length }) => length !== 1)) found.push('an old share is still there');
  if (shares.some(({ epoch }) => epoch !== (what === 'refresh' ? 1 : 0))) found.push('a share is of a wrong epoch');
  if (new Set(shares.map((share) => toHex(sharingOf(share)))).size !== 1) found.push('the shares do not go together');
  const point = messagePoint(MESSAGE);
  for (const pair of [[0, 1], [0, 2], [1, 2]]) {
    const partials = pair
      .flatMap((at) => shares[at] ?? [])
      .map(({ index, share }) => ({ index, signature: signPartially(point, share) }));
    const [first] = shares;
    const isValid = first !== undefined && verify(publicKeyOf(first), encodeSignature(combine(partials)), MESSAGE);
    if (!isValid) found.push(`the pair ${pair.join()} does not sign`);
  }
  return found;
} // prettier-ignore

describe.each(['keygen', 'refresh', 'sign'] as const)('a crash in a %s', (what) => {
  it('at any commit changes nothing of how it ends', { timeout: TIMEOUT_MS }, async () => {
    const before = await keyed();
    const { commits, broken } = await play(what, before);
    expect(broken).toEqual([]);
    expect(commits).toBeGreaterThan(what === 'sign' ? 4 : 20);
    const failures: string[] = [];
    let [walked, struck] = [0, 0];
    for (let at = 1; at <= commits; at++) {
      for (const [turn, kind] of FAULT_KINDS.entries()) {
        if (!FULL && at % FAULT_KINDS.length !== turn) continue;
        const end = await play(what, before, { at, kind });
        walked++;
        if (end.struck) struck++;
        failures.push(...end.broken.map((text) => `${kind} at ${String(at)}: ${text}`));
      }
    }
    expect(failures).toEqual([]);
    expect(struck).toBeGreaterThanOrEqual(walked - 2 * FAULT_KINDS.length);
  });
});
