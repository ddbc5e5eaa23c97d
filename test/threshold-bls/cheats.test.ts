/** Parties that cheat, and a server that does, on the real runtime with real signatures. */
import { afterEach, describe, expect, it } from 'vitest';
import { fromUtf8, own, toHex, type Bytes } from '../../src/bytes.ts';
import type { Entry, Frame, Protocol, Setting, Step } from '../../src/rounds/index.ts';
import { entries } from '../../plugins/threshold-bls/ceremonies.ts';
import type { Signed } from '../../plugins/threshold-bls/sign.ts';
import { keygen, refresh } from '../../plugins/threshold-bls/keygen.ts';
import {
  commit,
  encodePoint,
  G2,
  hashParts,
  PUBLIC_KEY_SIZE,
} from '../../plugins/threshold-bls/math/curve.ts';
import { messagePoint, verify } from '../../plugins/threshold-bls/math/signing.ts';
import { sign } from '../../plugins/threshold-bls/sign.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { Circle, type Parcel } from './support/circle.ts';
import { hex } from './support/group.ts';

const MESSAGE = fromUtf8('pay 3');
const TIMEOUT_MS = 60_000;
/** Who cheats, by its place. */
const CHEAT = 2;
type AnyStep = Step<unknown, unknown>;
type Bend = (step: AnyStep, setting: Setting<unknown>) => AnyStep;

let circle: Circle | undefined;

afterEach(async () => {
  await circle?.stop();
  circle = undefined;
});

/** The plugin's protocols, of which one makes other steps than it should. */
function bent(name: string, bend: Bend): Entry[] {
  return entries().map((entry) => {
    const protocol: Protocol = entry.protocol;
    if (protocol.name !== name) return entry;
    return {
      ...entry,
      protocol: {
        ...protocol,
        start: (setting, input) => bend(protocol.start(setting, input), setting),
        step: (setting, state, messages) => bend(protocol.step(setting, state, messages), setting),
      },
    };
  });
}

/** Three, of which the last cheats in this protocol. */
async function withCheat(name: string, bend: Bend): Promise<Circle> {
  circle = await Circle.start(3, (at) => (at === CHEAT ? bent(name, bend) : entries()));
  return circle;
}

async function three(): Promise<Circle> {
  circle = await Circle.start(3);
  return circle;
}

/** The honest ones have ended it and name the cheat, and nobody else names anybody else. */
async function expectNamed(of: Circle, topic: string, reason: RegExp): Promise<void> {
  for (const at of [0, 1]) {
    const { state, blame } = await of.view(at, topic);
    expect({ state, named: blame.map(({ party }) => party) }).toEqual({ state: 'aborted', named: [of.indexOf(CHEAT)] }); // prettier-ignore
    expect(blame[0]?.reason).toMatch(reason);
  }
}

async function expectNobodyNamed(of: Circle, topic: string, reason: RegExp): Promise<void> {
  for (const { state, blame, end } of await of.views(topic)) {
    expect({ state, blame }).toEqual({ state: 'aborted', blame: [] });
    expect(end?.reason).toMatch(reason);
  }
}

async function untilOver(of: Circle, bend?: (parcel: Parcel) => readonly Parcel[]): Promise<void> {
  for (let minutes = 0; minutes < 12; minutes++) {
    await of.exchange(bend);
    await of.clock.advance(60_000);
  }
  await of.exchange(bend);
}

/** The opening with another point in its place, and the hash that promises it. */
function openingWith(at: number, point: Bytes, isRefresh: boolean): Bend {
  let opening: Bytes | undefined;
  return (step, { id, self, round }) => {
    if (step.kind !== 'next') return step;
    if (round === 1) {
      const { dealing = step.state } = step.state as { dealing?: unknown };
      const made = own((dealing as { opening: Bytes }).opening);
      made.set(point, at * PUBLIC_KEY_SIZE);
      expect(made.length > 2 * PUBLIC_KEY_SIZE).toBe(!isRefresh);
      opening = made;
      return {
        ...step,
        broadcast: hashParts('countersign bls opening v1', [id, Uint8Array.of(self), made]),
      };
    }
    return round === 2 && opening !== undefined ? { ...step, broadcast: opening } : step;
  };
}

describe('in a generation', () => {
  it.each([
    ['bad share', 31],
    ['share of another opening than the one that all have confirmed', 32],
  ])('names the dealer of a %s, by the share that it has signed', { timeout: TIMEOUT_MS }, async (_, at) => {
    const of = await withCheat(keygen.name, (step, { round }) => {
      if (round !== 3 || step.kind !== 'next' || step.private === undefined) return step;
      const [[to, body] = [0, new Uint8Array(0)]] = [...step.private];
      const bad = own(body);
      bad[at] = (bad[at] ?? 0) ^ 1;
      return { ...step, private: new Map([...step.private, [to, bad]]) };
    });
    const topic = await of.open(() => of.keygenRequest());
    await of.exchange();
    await expectNamed(of, topic, /does not fit its commitments/);
  });

  it('accuses nobody of a share that did not arrive', { timeout: TIMEOUT_MS }, async () => {
    const of = await three();
    const topic = await of.open(() => of.keygenRequest());
    const isShare = ({ kind, ...frame }: Frame): boolean => kind === 'message' && 'recipient' in frame && frame.recipient !== 0; // prettier-ignore
    await untilOver(of, (parcel) => (parcel.from === 1 && parcel.to === 0 && isShare(parcel.frame) ? [] : [parcel])); // prettier-ignore
    await expectNobodyNamed(of, topic, /the time is over/);
  });

  it('names who commits to the identity', { timeout: TIMEOUT_MS }, async () => {
    const identity = encodePoint(G2.ZERO);
    const of = await withCheat(keygen.name, openingWith(1, identity, false));
    const topic = await of.open(() => of.keygenRequest());
    await of.exchange();
    await expectNamed(of, topic, /commitments that do not hold/);
  });

  it('names who signs two broadcasts for one place, by the two', { timeout: TIMEOUT_MS }, async () => {
    const of = await three();
    const topic = await of.open(() => of.keygenRequest());
    await of.exchange((parcel) => {
      const { from, to, frame } = parcel;
      if (from !== CHEAT || to !== 1 || frame.kind !== 'message' || frame.round !== 1) return [parcel];
      const other = of.signed(CHEAT, { ...frame, body: new Uint8Array(32) });
      return [{ ...parcel, frame: { kind: 'message', topic, ...other } }];
    });
    await expectNamed(of, topic, /two different messages/);
  });

  it(
    'names nobody where one only says that it has seen something else',
    { timeout: TIMEOUT_MS },
    async () => {
      const of = await three();
      const topic = await of.open(() => of.keygenRequest());
      await of.exchange((parcel) => {
        const { from, frame } = parcel;
        if (from !== CHEAT || frame.kind !== 'confirm') return [parcel];
        const seen = frame.seen.map((each) => ({ ...each, hash: new Uint8Array(32) }));
        return [{ ...parcel, frame: { ...frame, seen } }];
      });
      await expectNobodyNamed(of, topic, /not seen the same/);
    },
  );

  it('takes frames in any order, twice, turned back and from before', { timeout: TIMEOUT_MS }, async () => {
    const of = await three();
    const random = new SeededRandom('any order');
    const seen: Parcel[] = [];
    const late: Parcel[] = [];
    const bend = (parcel: Parcel): Parcel[] => {
      const { from, to, frame } = parcel;
      seen.push(parcel);
      if (random.fraction() < 0.3) late.push(parcel);
      const old = seen[random.below(seen.length)];
      const now = late.includes(parcel) ? [] : [parcel, parcel];
      const held = late.splice(0, random.below(late.length + 1)).filter((each) => each !== parcel);
      if (late.length === 0 && now.length === 0) late.push(parcel);
      return [...now, { from: to, to: from, frame }, ...held, ...(old === undefined ? [] : [old])];
    };
    for (let again = 0; again < 2; again++) {
      // The second time all of the first ceremony comes too: it has the same topic.
      const topic = await of.open(() => of.keygenRequest());
      for (let i = 0; i < 10; i++) {
        await of.exchange(bend);
        for (const parcel of late.splice(0)) await of.deliver(parcel);
        await of.clock.advance(20_000);
      }
      const views = await of.views(topic);
      expect(views.map(({ state, blame }) => [state, blame])).toEqual(Array(3).fill(['done', []]));
    }
  });
});

describe('in a refresh', () => {
  it('names who deals anything but zero', { timeout: TIMEOUT_MS }, async () => {
    const of = await withCheat(refresh.name, openingWith(0, encodePoint(commit(5n)), true));
    const publicKey = await of.key();
    const topic = await of.open(async (at) => of.refreshRequest(await of.share(at, publicKey)));
    await of.exchange();
    await expectNamed(of, topic, /commitments that do not hold/);
    // The old shares are there as before.
    for (const at of [0, 1, 2]) expect((await of.shares(at, publicKey)).map(({ share }) => share.epoch)).toEqual([0]); // prettier-ignore
  });

  it('makes old shares worthless: one does not sign with new ones', { timeout: TIMEOUT_MS }, async () => {
    const of = await three();
    const publicKey = await of.key();
    const old = await of.share(0, publicKey);
    await of.open(async (at) => of.refreshRequest(await of.share(at, publicKey)));
    await of.exchange();
    const fresh = await of.share(1, publicKey);
    expect([old.epoch, fresh.epoch, (await of.share(0, publicKey)).epoch]).toEqual([0, 1, 1]);
    // As it is: they do not meet, and hear why.
    const topics = [
      await of.open(() => of.signRequest(old, [0, 1], MESSAGE), [0]),
      await of.open(() => of.signRequest(fresh, [0, 1], MESSAGE), [1]),
    ];
    await untilOver(of);
    for (const [at, topic] of topics.entries())
      expect(await of.view(at, topic)).toMatchObject({ state: 'aborted', end: { reason: expect.stringMatching(/a newer backup of party \d may help$/) as string } }); // prettier-ignore
    // With the old share in the place of the new one: our own machine does not sign.
    const topic = await of.open(
      (at) => {
        const request = of.signRequest(fresh, [0, 1], MESSAGE);
        return at === 0 ? { ...request, input: old } : request;
      },
      [0, 1],
    );
    await of.exchange();
    expect((await of.view(0, topic)).end?.reason).toBe('our share is not of this key and epoch');
    expect((await of.view(1, topic)).state).toBe('aborted');
  });
});

describe('in a signing', () => {
  it.each([
    ['a partial signature of something else', encodePoint(messagePoint(fromUtf8('another')))],
    ['the identity', Uint8Array.from({ length: 48 }, (_, i) => (i === 0 ? 0xc0 : 0))],
  ])('names who sends %s, and does without', { timeout: TIMEOUT_MS }, async (_, body) => {
    const of = await withCheat(sign.name, (step) => (step.kind === 'next' ? { ...step, broadcast: own(body) } : step)); // prettier-ignore
    const publicKey = await of.key();
    const topic = await of.open(async (at) => of.signRequest(await of.share(at, publicKey), [0, 1, 2], MESSAGE)); // prettier-ignore
    await of.exchange();
    for (const at of [0, 1]) {
      const { state, output, blame } = await of.view(at, topic);
      expect(state).toBe('done');
      const { signature, signers } = output as Signed;
      expect(signers).toEqual([of.indexOf(0), of.indexOf(1)].sort((a, b) => a - b));
      expect(verify(hex(publicKey), signature, MESSAGE)).toBe(true);
      for (const { party } of blame) expect(party).toBe(of.indexOf(CHEAT));
    }
    const { output } = await of.view(CHEAT, topic);
    if (output !== undefined) expect(toHex((output as Signed).signature)).toHaveLength(96);
  });

  it('ends with the name where too few are left', { timeout: TIMEOUT_MS }, async () => {
    const of = await withCheat(sign.name, (step) => (step.kind === 'next' ? { ...step, broadcast: new Uint8Array(48) } : step)); // prettier-ignore
    const publicKey = await of.key(1);
    const request = async (at: number): Promise<ReturnType<typeof of.keygenRequest>> => of.signRequest(await of.share(at, publicKey), [0, CHEAT], MESSAGE); // prettier-ignore
    const topic = await of.open(request, [0, CHEAT]);
    await of.exchange();
    const { state, blame } = await of.view(0, topic);
    expect([state, blame.map(({ party }) => party)]).toEqual(['aborted', [of.indexOf(CHEAT)]]);
  });
});
