import { createHash, randomUUID } from 'node:crypto';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromUtf8, own, toHex, type Bytes } from '../../src/bytes.ts';
import { parseAci } from '../../src/address.ts';
import { systemPlatform } from '../../src/platform.ts';
import {
  partySet,
  type Blame,
  type PartySet,
  type Protocol,
  type Received,
  type Setting,
  type Shown,
} from '../../src/rounds/index.ts';
import {
  encodePoints,
  publicKeyOf,
  sharingOf,
  type KeyShare,
} from '../../plugins/threshold-bls/key-share.ts';
import { keygen, refresh } from '../../plugins/threshold-bls/keygen.ts';
import { sign, type Signed } from '../../plugins/threshold-bls/sign.ts';
import { encodePoint } from '../../plugins/threshold-bls/math/curve.ts';
import { messagePoint, verify } from '../../plugins/threshold-bls/math/signing.ts';

const { random } = systemPlatform();
const MESSAGE = fromUtf8('pay 3 to nobody');

/** Bends what a party sends; undefined leaves it out. */
type Cheat = (sent: { round: number; from: number; to: number; body: Bytes }) => Bytes | undefined;

interface End<Output> {
  readonly output?: Output;
  readonly reason?: string;
  readonly blame: readonly Blame[];
}

interface Plan<Params, Input> {
  readonly params: Params;
  readonly input: (index: number) => Input;
  readonly parties: PartySet;
  readonly present?: readonly number[];
  readonly message?: Bytes;
  readonly epoch?: number;
  readonly cheat?: Cheat;
}

function party(n: number): PartySet {
  return partySet(
    Array.from({ length: n }, () => ({
      aci: parseAci(randomUUID()),
      deviceId: 2,
      identityKey: own(PrivateKey.generate().getPublicKey().serialize()),
    })),
  );
}

/** Stands for a signature: who sent what to whom, known to all. */
function seal({ round, sender, recipient, body }: Omit<Shown, 'signature'>): Bytes {
  const text = `${String(round)} ${String(sender)} ${String(recipient)} ${toHex(body)}`;
  return new Uint8Array(createHash('sha512').update(text).digest());
}

/** Runs the machines of all parties side by side; every state and parameter goes through its codec. */
function run<Params, Input, State, Output>(
  protocol: Protocol<Params, Input, State, Output>,
  plan: Plan<Params, Input>,
): Map<number, End<Output>> {
  const { parties } = plan;
  const cheat: Cheat = plan.cheat ?? (({ body }) => body);
  const present: readonly number[] = plan.present ?? parties.map(({ index }) => index);
  const params = protocol.params.decode(own(protocol.params.encode(plan.params)));
  const id = random.bytes(32);
  const settings = new Map<number, Setting<Params>>();
  for (const self of present) {
    const isSigned = (shown: Shown): boolean => Buffer.compare(seal(shown), shown.signature) === 0;
    const rest = { message: plan.message ?? new Uint8Array(0), epoch: plan.epoch ?? 0, round: 1, random };
    settings.set(self, { id, self, parties, present, params, isSigned, ...rest });
  }
  const ends = new Map<number, End<Output>>();
  const states = new Map<number, Bytes>();
  const blamed = new Map<number, Blame[]>();
  let inboxes = new Map<number, Map<number, Received>>();
  for (let round = 1; ends.size < present.length && round < 10; round++) {
    const next = new Map<number, Map<number, Received>>(
      present.map((index) => [index, new Map<number, Received>()]),
    );
    for (const [self, setting] of settings) {
      if (ends.has(self)) continue;
      const state = states.get(self);
      const input = protocol.input.decode(own(protocol.input.encode(plan.input(self))));
      const step =
        state === undefined
          ? protocol.start(setting, input)
          : protocol.step(
              setting,
              protocol.state.decode(state),
              inboxes.get(self) ?? new Map<number, Received>(),
            );
      const blame = [...(blamed.get(self) ?? []), ...('blame' in step ? (step.blame ?? []) : [])];
      blamed.set(self, blame);
      if (step.kind === 'done') ends.set(self, { output: step.output, blame });
      else if (step.kind === 'abort') ends.set(self, { reason: step.reason, blame });
      else if (step.kind === 'wait') ends.set(self, { reason: 'waits', blame });
      else {
        states.set(self, own(protocol.state.encode(step.state)));
        for (const to of present) {
          const all = step.broadcast && cheat({ round, from: self, to: 0, body: step.broadcast });
          const mine = step.private?.get(to);
          const one = mine && cheat({ round, from: self, to, body: mine });
          const received: Received = {
            ...(all && { broadcast: all }),
            ...(one && { private: one, signature: seal({ round, sender: self, recipient: to, body: one }) }),
          };
          if (all !== undefined || one !== undefined) next.get(to)?.set(self, received);
        }
      }
    }
    inboxes = next;
  }
  return ends;
}

function generate(threshold: number, parties: PartySet, cheat?: Cheat): Map<number, End<KeyShare>> {
  return run(keygen, { params: { threshold }, input: () => undefined, parties, ...(cheat && { cheat }) });
}

function shareOf(ends: ReadonlyMap<number, End<KeyShare>>, index: number): KeyShare {
  const share = ends.get(index)?.output;
  if (share === undefined) throw new Error(`party ${String(index)} has no share`);
  return share;
}

function signWith(
  parties: PartySet,
  shares: (index: number) => KeyShare,
  present: readonly number[],
  options: { cheat?: Cheat; epoch?: number } = {},
): Map<number, End<Signed>> {
  const { threshold, epoch, ...share } = shares(present[0] ?? 1);
  const params = { threshold, publicKey: publicKeyOf(share), sharing: sharingOf(share) };
  return run(sign, { params, input: shares, parties, present, message: MESSAGE, epoch, ...options });
}

function flip(body: Bytes, at = body.length - 1): Bytes {
  const bent = new Uint8Array(body);
  bent[at] = (bent[at] ?? 0) ^ 1;
  return bent;
}

function named(ends: ReadonlyMap<number, End<unknown>>): number[][] {
  return [...ends.values()].map(({ blame }) => [...new Set(blame.map(({ party }) => party))]);
}

describe('key generation', () => {
  it('gives each of three parties a share, and any two sign the same signature', () => {
    const parties = party(3);
    const made = generate(1, parties);
    const shares = (index: number): KeyShare => shareOf(made, index);
    const keys = parties.map(({ index }) => toHex(publicKeyOf(shares(index))));
    expect(new Set(keys).size).toBe(1);
    const signatures = [[1, 2], [1, 3], [2, 3]].flatMap((pair) =>
      [...signWith(parties, shares, pair).values()].map(({ output }) => output?.signature),
    ); // prettier-ignore
    expect(new Set(signatures.map((signature) => toHex(signature ?? new Uint8Array(0)))).size).toBe(1);
    expect(verify(publicKeyOf(shares(1)), signatures[0] ?? new Uint8Array(0), MESSAGE)).toBe(true);
  });

  it.each([
    [0, 3],
    [3, 3],
    [64, 65],
    [1.5, 3],
  ])('refuses a threshold of %d for %d parties before anything is sent', (threshold, n) => {
    const parties = Array.from({ length: n }, (_, i) => ({ index: i + 1 })) as unknown as PartySet;
    const signers = parties.map(({ index }) => index);
    expect(keygen.check?.({ threshold }, { parties, signers })).toMatch(/threshold|parties/);
  });

  it('wants all parties', () => {
    expect(keygen.check?.({ threshold: 1 }, { parties: party(3), signers: [1, 2] })).toBe(
      'all parties are needed',
    );
  });

  it.each([0, 200, -1])('names who opens something else than it has committed to (byte %d)', (at) => {
    const ends = generate(1, party(3), ({ round, from, body }) =>
      round === 2 && from === 2 ? flip(body, at < 0 ? body.length - 1 : at) : body,
    );
    expect(named(ends)).toEqual([[2], [2], [2]]);
    expect([...ends.values()].every(({ output }) => output === undefined)).toBe(true);
  });

  it('names a dealer whose share does not fit, by the share that the dealer signed', () => {
    const ends = generate(1, party(3), ({ round, from, to, body }) =>
      round === 3 && from === 3 && to === 1 ? flip(body, 31) : body,
    );
    expect(named(ends)).toEqual([[3], [3], [3]]);
  });

  it('names who accuses a dealer falsely', () => {
    const accusation = new Uint8Array(2 + 64 + 64);
    accusation.set([1, 3]);
    const ends = generate(1, party(3), ({ round, from, body }) =>
      round === 4 && from === 1 ? accusation : body,
    );
    expect(named(ends)).toEqual([[1], [1], [1]]);
  });

  it('names who confirms another result', () => {
    const ends = generate(1, party(3), ({ round, from, body }) =>
      round === 4 && from === 2 ? flip(body) : body,
    );
    expect(named(ends)).toEqual([[2], [2], [2]]);
  });
});

describe('signing', () => {
  const parties = party(4);
  const made = generate(1, parties);
  const shares = (index: number): KeyShare => shareOf(made, index);

  it('names a wrong partial signature and goes on without it', () => {
    const ends = signWith(parties, shares, [1, 2, 4], {
      cheat: ({ from, body }) => (from === 2 ? encodePoint(messagePoint(fromUtf8('another'))) : body),
    });
    const { output, blame } = ends.get(1) ?? { blame: [] };
    expect(output?.signers).toEqual([1, 4]);
    expect(blame.map(({ party }) => party)).toEqual([2]);
    expect(verify(publicKeyOf(shares(1)), output?.signature ?? new Uint8Array(0), MESSAGE)).toBe(true);
  });

  it('waits while too few hold', () => {
    const ends = signWith(parties, shares, [1, 2], {
      cheat: ({ from, body }) => (from === 2 ? flip(body) : body),
    });
    expect(ends.get(1)).toMatchObject({ reason: 'waits', blame: [{ party: 2 }] });
  });

  it('refuses too few signers, and a share of another epoch', () => {
    const params = { threshold: 1, publicKey: publicKeyOf(shares(1)), sharing: sharingOf(shares(1)) };
    expect(sign.check?.(params, { parties, signers: [1] })).toBe('2 signers are needed');
    const ends = signWith(parties, shares, [1, 2], { epoch: 1 });
    expect(ends.get(1)?.reason).toBe('our share is not of this key and epoch');
  });
});

describe('refresh', () => {
  it('leaves the key and makes new shares, with which old ones do not go together', () => {
    const parties = party(3);
    const made = generate(1, parties);
    const old = (index: number): KeyShare => shareOf(made, index);
    const params = { threshold: 1, commitments: encodePoints(old(1).commitments) };
    const ends = run(refresh, { params, input: old, parties });
    const fresh = (index: number): KeyShare => shareOf(ends, index);
    expect(fresh(2)).toMatchObject({ epoch: 1, index: 2 });
    expect(toHex(publicKeyOf(fresh(3)))).toBe(toHex(publicKeyOf(old(3))));
    expect(fresh(1).share).not.toBe(old(1).share);
    const { output } = signWith(parties, fresh, [2, 3]).get(2) ?? {};
    expect(verify(publicKeyOf(old(1)), output?.signature ?? new Uint8Array(0), MESSAGE)).toBe(true);
    const mixed = signWith(parties, (index) => (index === 1 ? old(1) : fresh(index)), [1, 2]);
    expect(mixed.get(1)?.output).toBeUndefined();
  });

  it('names who deals anything but zero', () => {
    const parties = party(3);
    const made = generate(1, parties);
    const params = { threshold: 1, commitments: encodePoints(shareOf(made, 1).commitments) };
    const other = generate(1, parties);
    const ends = run(refresh, {
      params,
      input: (index) => shareOf(made, index),
      parties,
      cheat: ({ round, from, body }) => {
        if (round !== 2 || from !== 1) return body;
        const bent = new Uint8Array(body);
        bent.set(publicKeyOf(shareOf(other, 1)));
        return bent;
      },
    });
    expect(named(ends)).toEqual([[1], [1], [1]]);
  });
});
